/** The system and processor that a binary is for, in npm's words, from its first bytes. */

const ELF = { 62: 'x64', 183: 'arm64' }
const MACH_O = { 16777223: 'x64', 16777228: 'arm64' }
const PE = { 34404: 'x64', 43620: 'arm64' }

export function binaryKind(bytes) {
  if (bytes.length >= 64) {
    if (bytes.readUInt32BE(0) === 0x7f454c46) return { os: 'linux', cpu: ELF[bytes.readUInt16LE(18)] }
    if (bytes.readUInt32LE(0) === 0xfeedfacf) return { os: 'darwin', cpu: MACH_O[bytes.readUInt32LE(4)] }
    const pe = bytes.readUInt32LE(60)
    if (
      bytes.toString('latin1', 0, 2) === 'MZ' &&
      bytes.length > pe + 6 &&
      bytes.toString('latin1', pe, pe + 4) === 'PE\0\0'
    ) {
      return { os: 'win32', cpu: PE[bytes.readUInt16LE(pe + 4)] }
    }
  }
  return { os: undefined, cpu: undefined }
}
