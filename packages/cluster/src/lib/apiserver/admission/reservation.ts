/** What was taken for a write that may still fail. */
export class Reservation {
  #cancels: (() => void)[] | undefined

  /** `cancel` gives something back. */
  add(cancel: () => void): void {
    ;(this.#cancels ??= []).push(cancel)
  }

  cancel(): void {
    for (const cancel of this.#cancels ?? []) cancel()
    this.#cancels = undefined
  }
}
