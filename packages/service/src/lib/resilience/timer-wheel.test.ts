import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createManualClock } from './clock.ts'
import { Timed, TimerWheel } from './timer-wheel.ts'

class Entry extends Timed {
  firedAt: number | undefined
  expire(now: number): void {
    assert.equal(this.firedAt, undefined, 'once')
    this.firedAt = now
  }
}

describe('TimerWheel', () => {
  it('fires never early, at most 10 ms late, and not what was cleared', async () => {
    let seed = 7
    const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647
    const clock = createManualClock(1234.5)
    const wheel = new TimerWheel(clock)
    const entries: { readonly entry: Entry; readonly deadline: number; isCleared: boolean }[] = []
    for (let step = 0; step < 300; step += 1) {
      const set = { entry: new Entry(), deadline: clock.now() + random() ** 2 * 20_000, isCleared: false }
      wheel.set(set.entry, set.deadline, clock.now())
      entries.push(set)
      const other = entries[Math.floor(random() * entries.length)]
      if (other !== undefined && random() < 0.4 && other.entry.firedAt === undefined) {
        wheel.clear(other.entry)
        other.isCleared = true
      }
      await clock.advance(random() * 100)
    }
    await clock.advance(30_000)
    for (const { entry, deadline, isCleared } of entries) {
      if (isCleared) assert.equal(entry.firedAt, undefined)
      else assert.ok(entry.firedAt !== undefined && entry.firedAt >= deadline && entry.firedAt <= deadline + 10 + 1e-6)
    }
  })

  it('fires what fell due while the process stood still', async () => {
    const clock = createManualClock()
    const wheel = new TimerWheel(clock)
    const entries = [20, 700, 5200, 99_000].map((deadline) => {
      const entry = new Entry()
      wheel.set(entry, deadline, 0)
      return entry
    })
    clock.skip(50_000)
    await clock.advance(1)
    assert.deepEqual(
      entries.map(({ firedAt }) => firedAt !== undefined),
      [true, true, true, false],
    )
  })

  it('has no timer running soon after the last deadline is cleared', async () => {
    let running = 0
    const manual = createManualClock()
    const wheel = new TimerWheel({
      now: () => manual.now(),
      setTimeout(callback, delayMs) {
        running += 1
        return manual.setTimeout(() => {
          running -= 1
          callback()
        }, delayMs)
      },
    })
    const entry = new Entry()
    wheel.set(entry, 60_000, 0)
    wheel.clear(entry)
    await manual.advance(150)
    assert.equal(running, 0)
  })
})
