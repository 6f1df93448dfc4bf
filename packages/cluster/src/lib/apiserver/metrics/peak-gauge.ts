/** How many of something there are, and how many there were at most within the last second. */
export class PeakGauge {
  #now = 0
  #second = 0
  /** Within the second that runs, and the one before it. */
  #peak = 0
  #before = 0

  add(nowMs: number): void {
    this.#turn(nowMs)
    this.#now += 1
    if (this.#now > this.#peak) this.#peak = this.#now
  }

  remove(): void {
    this.#now -= 1
  }

  read(nowMs: number): number {
    this.#turn(nowMs)
    return Math.max(this.#peak, this.#before)
  }

  #turn(nowMs: number): void {
    const second = Math.floor(nowMs / 1000)
    if (second === this.#second) return
    this.#before = second === this.#second + 1 ? this.#peak : this.#now
    this.#peak = this.#now
    this.#second = second
  }
}
