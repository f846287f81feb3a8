import type { ProgressCallback } from '../../index.d.ts'
import { isTrue } from '../hub/settings.ts'

const WIDTH = 30

interface Terminal {
  isTTY?: boolean
  columns?: number
  write(text: string): unknown
}

/** A bar for all files of a download together, on a terminal only, as wide as it allows. */
export function progressBar(terminal: Terminal): { update: ProgressCallback; end: () => void } {
  if (!terminal.isTTY || isTrue('HF_HUB_DISABLE_PROGRESS_BARS')) return { update: () => {}, end: () => {} }
  const files = new Map<string, { loaded: number; total: number }>()
  let line = ''
  return {
    update: info => {
      if (info.status !== 'progress') return
      files.set(info.file, info)
      line = describe(info.name, [...files.values()]).slice(0, (terminal.columns || 80) - 1)
      terminal.write(`\r\u001b[K${line}`)
    },
    end: () => {
      if (line !== '') terminal.write('\n')
    },
  }
}

function describe(name: string, files: { loaded: number; total: number }[]): string {
  const loaded = files.reduce((sum, file) => sum + file.loaded, 0)
  const total = files.reduce((sum, file) => sum + file.total, 0)
  const part = total === 0 ? 1 : loaded / total
  const done = Math.floor(part * WIDTH)
  const bar = '█'.repeat(done) + '░'.repeat(WIDTH - done)
  return `${name} ${bar} ${Math.floor(part * 100)}% of ${megabytes(total)} MB`
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)
}
