/** What a turn is for: to clear something away, to start something new, or to start something again that has ended. */
export type TurnKind = 'clear' | 'first' | 'again'

/**
 * Who goes first in one turn of four. What has ended is cleared away as fast as others start, as it takes room until then; who is new
 * does not wait for those that crash again and again, and those come to their turn beside any number of new ones.
 */
const ORDERS = [
  ['clear', 'first', 'again'],
  ['first', 'again', 'clear'],
  ['clear', 'first', 'again'],
  ['again', 'first', 'clear'],
] as const satisfies readonly (readonly TurnKind[])[]

/** Lets so many do something at once; of the others those of one kind wait in their order. */
export class Turns {
  readonly #waiting: Readonly<Record<TurnKind, (() => void)[]>> = { clear: [], first: [], again: [] }
  #free: number
  #given = 0

  constructor(most: number) {
    this.#free = most
  }

  async run<T>(kind: TurnKind, work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1
    else await new Promise<void>((resolve) => this.#waiting[kind].push(resolve))
    try {
      return await work()
    } finally {
      const next = this.#next()
      // Given on: nobody who comes in between takes it.
      if (next) next()
      else this.#free += 1
    }
  }

  #next(): (() => void) | undefined {
    const order = ORDERS[this.#given % ORDERS.length] ?? ORDERS[0]
    const kind = order.find((one) => this.#waiting[one].length > 0)
    if (kind !== undefined) this.#given += 1
    return kind && this.#waiting[kind].shift()
  }
}
