import { renderExactJson } from '@fairlead/kube/codec'

import { closeSync, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'

export interface LineFileOptions {
  readonly path: string
  /** The file is put aside when it is larger. Default 100 MiB. */
  readonly maxBytes?: number | undefined
  /** How many files that were put aside stay, as `PATH.1` (the newest) and so on. Default 10. */
  readonly backups?: number | undefined
  /** Told when the disk refuses; what could not be written is lost. */
  readonly onError: (error: unknown) => void
}

/** A file of JSON lines, mode 0600. Lines of one turn of the event loop are one write. */
export class LineFile {
  readonly #options: LineFileOptions
  #file: number
  #size: number
  #waiting: string[] = []

  /** Throws the error of the file system when the file cannot be opened. */
  constructor(options: LineFileOptions) {
    this.#options = options
    this.#file = openSync(options.path, 'a', 0o600)
    this.#size = fstatSync(this.#file).size
  }

  append(event: object): void {
    if (this.#waiting.push(`${renderExactJson(event)}\n`) === 1) setImmediate(() => this.flush())
  }

  flush(): void {
    const bytes = Buffer.from(this.#waiting.join(''))
    this.#waiting = []
    if (bytes.length === 0) return
    try {
      const { maxBytes = 100 << 20 } = this.#options
      if (this.#size > 0 && this.#size + bytes.length > maxBytes) this.#rotate()
      for (let at = 0; at < bytes.length;) at += writeSync(this.#file, bytes, at)
      this.#size += bytes.length
    } catch (error) {
      this.#options.onError(error)
    }
  }

  close(): void {
    this.flush()
    closeSync(this.#file)
  }

  #rotate(): void {
    const { path, backups = 10 } = this.#options
    rmSync(`${path}.${backups}`, { force: true })
    for (let n = backups - 1; n >= 0; n -= 1) {
      try {
        renameSync(n === 0 ? path : `${path}.${n}`, `${path}.${n + 1}`)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      }
    }
    const next = openSync(path, 'a', 0o600)
    closeSync(this.#file)
    this.#file = next
    this.#size = 0
  }
}
