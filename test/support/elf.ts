/** Tiny shared libraries for Linux, made byte by byte, which the system's loader refuses for a chosen reason, or which crash when loaded. */

const MACHINES: Record<string, number> = { x64: 62, arm64: 183 }

/** Instructions that run when the library is loaded. */
const CODE: Record<string, Record<'crash' | 'hang', number[]>> = {
  // xor eax, eax; mov [rax], eax — jmp to itself
  x64: { crash: [0x31, 0xc0, 0x89, 0x00], hang: [0xeb, 0xfe] },
  // mov x0, #0; str w0, [x0] — b to itself
  arm64: { crash: [0x00, 0x00, 0x80, 0xd2, 0x00, 0x00, 0x00, 0xb9], hang: [0x00, 0x00, 0x00, 0x14] },
}

const DT = { needed: 1, hash: 4, strtab: 5, symtab: 6, strsz: 10, syment: 11, init: 12 } as const
const DT_VERSYM = 0x6ffffff0
const DT_VERNEED = 0x6ffffffe
const DT_VERNEEDNUM = 0x6fffffff
const HEADER = 64
const PROGRAM_HEADER = 56

interface Wants {
  /** A library that it is linked with. */
  library?: string
  /** A version of a symbol that it wants of that library. */
  version?: string
  /** What it does when it is loaded. */
  onLoad?: 'crash' | 'hang'
}

/** One segment holds it all; addresses are offsets in the file. */
export function sharedLibrary({ library, version, onLoad }: Wants, cpu: string = process.arch): Buffer {
  const names = Buffer.from(`\0${library ?? ''}\0${version ?? ''}\0`)
  const nameOf = { library: 1, version: 2 + (library ?? '').length }
  const code = Buffer.from(onLoad === undefined ? [] : CODE[cpu]![onLoad])
  const parts: Buffer[] = []
  let end = HEADER + 3 * PROGRAM_HEADER
  const place = (part: Buffer) => {
    const at = end
    const padded = Buffer.concat([part, Buffer.alloc(-part.length & 15)])
    parts.push(padded)
    end += padded.length
    return at
  }

  const entries: [tag: number, value: number][] = [
    [DT.strtab, place(names)],
    [DT.strsz, names.length],
    [DT.symtab, place(Buffer.alloc(24))], // the symbol that every table begins with, and no other
    [DT.syment, 24],
    [DT.hash, place(words(1, 1, 0, 0))],
  ]
  if (library !== undefined) entries.push([DT.needed, nameOf.library])
  if (version !== undefined) {
    // Elf64_Verneed with one Elf64_Vernaux.
    const need = words(1 | (1 << 16), nameOf.library, 16, 0)
    const wanted = words(hash(version), 2 << 16, nameOf.version, 0)
    entries.push([DT_VERSYM, place(Buffer.alloc(2))])
    entries.push([DT_VERNEED, place(Buffer.concat([need, wanted]))], [DT_VERNEEDNUM, 1])
  }
  if (onLoad !== undefined) entries.push([DT.init, place(code)])
  const dynamic = Buffer.concat([...entries, [0, 0] as const].map(([tag, value]) => longs(tag, value)))
  const dynamicAt = place(dynamic)

  const header = Buffer.alloc(HEADER)
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]) // ELF, 64 bits, little-endian
  header.writeUInt16LE(3, 16) // a shared library
  header.writeUInt16LE(MACHINES[cpu]!, 18)
  header.writeUInt32LE(1, 20)
  header.writeUInt32LE(HEADER, 32) // where the program headers are
  header.writeUInt16LE(HEADER, 52)
  header.writeUInt16LE(PROGRAM_HEADER, 54)
  header.writeUInt16LE(3, 56)
  header.writeUInt16LE(64, 58)
  return Buffer.concat([
    header,
    segment(1, 7, 0, end, 0x1000),
    segment(2, 6, dynamicAt, dynamic.length, 8),
    segment(0x6474e551, 6, 0, 0, 16), // no stack that can be executed
    ...parts,
  ])
}

function segment(type: number, flags: number, at: number, size: number, align: number): Buffer {
  return Buffer.concat([words(type, flags), longs(at, at, at, size, size, align)])
}

function words(...values: number[]): Buffer {
  return Buffer.from(Uint32Array.from(values).buffer)
}

function longs(...values: number[]): Buffer {
  return Buffer.from(BigUint64Array.from(values, BigInt).buffer)
}

/** The hash function of ELF's symbol tables (System V ABI). */
function hash(name: string): number {
  let value = 0
  for (const byte of Buffer.from(name)) {
    value = ((value << 4) + byte) >>> 0
    const high = value & 0xf0000000
    value = (value ^ (high >>> 24)) & ~high
  }
  return value >>> 0
}
