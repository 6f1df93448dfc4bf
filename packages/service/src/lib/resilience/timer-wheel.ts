import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'

/** How late a deadline may be noticed; it never is early. */
const tickMs = 10
const slotCount = 512
/** A wheel with deadlines wakes at least this often, so that it soon notices that the last one is gone and lets the process end. */
const maxSleepTicks = 10

/**
 * Something with a deadline. Objects that have one anyway extend this, so that setting and clearing it is a few assignments:
 * a setTimeout and its clearTimeout cost 300 ns, and most deadlines are cleared.
 */
export abstract class Timed {
  /** Of the wheel. */
  tick = 0
  previous: Timed | undefined = undefined
  next: Timed | undefined = undefined
  isSet = false
  /** Called once, at `now`. */
  abstract expire(now: number): void
}

/** A hashed timer wheel (Varghese and Lauck, 1987, scheme 6) with one timer of the clock behind it. */
export class TimerWheel {
  readonly #clock: Clock
  readonly #slots: (Timed | undefined)[] = Array.from({ length: slotCount }, () => undefined)
  #count = 0
  /** Slots up to this tick have been looked at. */
  #seenTick = 0
  #wakeTick = Infinity
  #disarm: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `now` is what the clock says, which the caller knows already. */
  set(entry: Timed, deadline: number, now: number): void {
    if (this.#disarm === undefined) this.#seenTick = Math.floor(now / tickMs)
    const tick = Math.max(Math.ceil(deadline / tickMs), this.#seenTick + 1)
    const slot = tick % slotCount
    const head = this.#slots[slot]
    entry.tick = tick
    entry.isSet = true
    entry.previous = undefined
    entry.next = head
    if (head !== undefined) head.previous = entry
    this.#slots[slot] = entry
    this.#count += 1
    if (tick < this.#wakeTick) this.#arm(Math.min(tick, Math.floor(now / tickMs) + maxSleepTicks), now)
  }

  clear(entry: Timed): void {
    if (!entry.isSet) return
    entry.isSet = false
    this.#count -= 1
    const { previous, next } = entry
    if (previous === undefined) this.#slots[entry.tick % slotCount] = next
    else previous.next = next
    if (next !== undefined) next.previous = previous
    entry.previous = undefined
    entry.next = undefined
  }

  #arm(tick: number, now: number): void {
    if (tick >= this.#wakeTick) return
    this.#disarm?.()
    this.#wakeTick = tick
    this.#disarm = this.#clock.setTimeout(() => this.#wake(), tick * tickMs - now)
  }

  #wake(): void {
    const now = this.#clock.now()
    const nowTick = Math.floor(now / tickMs)
    this.#disarm = undefined
    this.#wakeTick = Infinity
    const due: Timed[] = []
    const from = Math.max(this.#seenTick + 1, nowTick - slotCount + 1)
    for (let tick = from; tick <= nowTick; tick += 1) this.#collect(tick % slotCount, nowTick, due)
    this.#seenTick = nowTick
    if (this.#count > 0) this.#arm(this.#nextTick(nowTick), now)
    for (const entry of due) entry.expire(now)
  }

  #collect(slot: number, nowTick: number, due: Timed[]): void {
    for (let entry = this.#slots[slot]; entry !== undefined;) {
      const { next } = entry
      if (entry.tick <= nowTick) {
        this.clear(entry)
        due.push(entry)
      }
      entry = next
    }
  }

  #nextTick(nowTick: number): number {
    for (let tick = nowTick + 1; tick < nowTick + maxSleepTicks; tick += 1)
      if (this.#slots[tick % slotCount] !== undefined) return tick
    return nowTick + maxSleepTicks
  }
}

const wheels = new WeakMap<Clock, TimerWheel>()

/** The wheel of a clock: one for everybody, so that there is one timer. */
export function wheelOf(clock: Clock = systemClock): TimerWheel {
  let wheel = wheels.get(clock)
  if (wheel === undefined) {
    wheel = new TimerWheel(clock)
    wheels.set(clock, wheel)
  }
  return wheel
}
