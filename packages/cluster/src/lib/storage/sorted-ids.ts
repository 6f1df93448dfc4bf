/** A block is split when it is longer: a change moves no more than this, however many ids there are. */
const blockLength = 1024

/** Different ids in order, in blocks: adding or removing one costs the same among a hundred thousand as among a thousand. */
export class SortedIds {
  /** None is empty. */
  readonly #blocks: string[][] = []

  /** Adds an id that is not there. */
  add(id: string): void {
    const at = Math.min(this.#blockOf(id), this.#blocks.length - 1)
    const block = this.#blocks[at]
    if (block === undefined) {
      this.#blocks.push([id])
      return
    }
    const last = block.at(-1)
    if (last !== undefined && last < id) block.push(id)
    else block.splice(lowerBound(block, id), 0, id)
    if (block.length <= blockLength) return
    // Ids that come in order fill a block and leave it full: half of it moved each time would be half of the memory.
    const keep = at === this.#blocks.length - 1 ? blockLength : blockLength / 2
    this.#blocks.splice(at + 1, 0, block.splice(keep))
  }

  /** Removes an id that is there. */
  remove(id: string): void {
    const at = this.#blockOf(id)
    const block = this.#blocks[at]
    if (block === undefined) return
    const index = lowerBound(block, id)
    if (block[index] !== id) return
    block.splice(index, 1)
    if (block.length === 0) this.#blocks.splice(at, 1)
  }

  /** The ids from the first that is not before `start`. */
  *from(start: string): Generator<string> {
    let index: number | undefined
    for (let at = this.#blockOf(start); at < this.#blocks.length; at += 1) {
      const block = this.#blocks[at] ?? []
      index = index === undefined ? lowerBound(block, start) : 0
      for (; index < block.length; index += 1) yield block[index] ?? ''
    }
  }

  /** The first block that may hold `id`: whose last id is not before it. */
  #blockOf(id: string): number {
    let low = 0
    let high = this.#blocks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#blocks[middle]?.at(-1) ?? '') < id) low = middle + 1
      else high = middle
    }
    return low
  }
}

function lowerBound(ids: readonly string[], id: string): number {
  let low = 0
  let high = ids.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ids[middle] ?? '') < id) low = middle + 1
    else high = middle
  }
  return low
}
