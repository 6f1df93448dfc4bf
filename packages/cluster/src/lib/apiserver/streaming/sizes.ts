/** Sizes of a client's terminal, kept until somebody listens. */
export class TerminalSizes {
  #rest = ''
  #last: readonly [number, number] | undefined
  #listener: ((columns: number, rows: number) => Promise<void>) | undefined

  /** Takes JSON objects `{"Width": 80, "Height": 24}` one after another, in pieces as they come; others are passed over. */
  push(text: string): void {
    this.#rest = (this.#rest + text).slice(-4096)
    for (let end = this.#rest.indexOf('}'); end >= 0; end = this.#rest.indexOf('}')) {
      const size = parseSize(this.#rest.slice(0, end + 1))
      this.#rest = this.#rest.slice(end + 1)
      if (size !== undefined) this.#tell(size)
    }
  }

  async listen(listener: (columns: number, rows: number) => Promise<void>): Promise<void> {
    this.#listener = listener
    if (this.#last !== undefined) await listener(...this.#last)
  }

  #tell(size: readonly [number, number]): void {
    this.#last = size
    void this.#listener?.(...size)
  }
}

function parseSize(text: string): readonly [number, number] | undefined {
  try {
    const { Width: columns, Height: rows } = JSON.parse(text) as { Width?: unknown; Height?: unknown }
    return isSize(columns) && isSize(rows) ? [columns, rows] : undefined
  } catch {
    return undefined
  }
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 65_536
}
