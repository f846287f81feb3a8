import type { ProgressCallback, ProgressInfo } from '../../index.d.ts'

/** Not more often than the eye can follow. */
const INTERVAL = 50

/** The events of one file, as transformers.js has them: initiate, download, progress …, done. */
export class FileProgress {
  readonly #tell: (info: ProgressInfo) => void
  readonly #name: string
  readonly #file: string
  readonly #total: number
  #told = Number.NEGATIVE_INFINITY
  #hasBegun = false

  constructor(callback: ProgressCallback | undefined, name: string, file: string, total: number) {
    this.#tell = callback ?? (() => {})
    this.#name = name
    this.#file = file
    this.#total = total
  }

  initiate(): void {
    this.#tell({ status: 'initiate', name: this.#name, file: this.#file })
  }

  /** Bytes are about to come; some may be there from before. */
  download(loaded: number): void {
    if (!this.#hasBegun) this.#tell({ status: 'download', name: this.#name, file: this.#file })
    this.#hasBegun = true
    this.#told = Number.NEGATIVE_INFINITY
    this.progress(loaded)
  }

  progress(loaded: number): void {
    const now = performance.now()
    if (loaded < this.#total && now - this.#told < INTERVAL) return
    this.#told = now
    const progress = this.#total === 0 ? 100 : (100 * loaded) / this.#total
    this.#tell({ status: 'progress', name: this.#name, file: this.#file, progress, loaded, total: this.#total })
  }

  done(): void {
    this.#tell({ status: 'done', name: this.#name, file: this.#file })
  }
}
