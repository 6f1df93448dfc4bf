/** Lets in one at a time per key, in the order in which they asked; whoever leaves wakes exactly one other. */
export class Turns {
  /** The queue behind each key that is taken; undefined while nobody waits. */
  readonly #queues = new Map<string, Queue | undefined>()

  /** Undefined: come in. Otherwise it is the caller's turn when the promise resolves. Either way, {@link leave} is owed. */
  enter(key: string): Promise<void> | undefined {
    if (!this.#queues.has(key)) {
      this.#queues.set(key, undefined)
      return undefined
    }
    return new Promise((proceed) => {
      const waiting: Waiting = { proceed, next: undefined }
      const queue = this.#queues.get(key)
      if (queue === undefined) this.#queues.set(key, { first: waiting, last: waiting })
      else queue.last = queue.last.next = waiting
    })
  }

  leave(key: string): void {
    const queue = this.#queues.get(key)
    if (queue === undefined) {
      this.#queues.delete(key)
      return
    }
    const { proceed, next } = queue.first
    if (next === undefined) this.#queues.set(key, undefined)
    else queue.first = next
    proceed()
  }
}

interface Waiting {
  readonly proceed: () => void
  next: Waiting | undefined
}

interface Queue {
  first: Waiting
  last: Waiting
}
