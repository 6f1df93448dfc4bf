import assert from 'node:assert/strict'
import { describe, it, mock } from 'node:test'
import { systemClock } from '@fairlead/kube/controller'
import type { Clock } from '@fairlead/kube/controller'

import { createCoalescingClock } from './coalescing-clock.ts'

/** A clock that counts what is waited for. */
function counted(): { clock: Clock; readonly waits: number } {
  let waits = 0
  const schedule: Clock['schedule'] = (delayMs, callback) => {
    waits += 1
    return systemClock.schedule(delayMs, callback)
  }
  return {
    clock: { now: () => systemClock.now(), schedule },
    get waits() {
      return waits
    },
  }
}

describe('createCoalescingClock', () => {
  it('ends waits together that are due at nearly the same time', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_020 })
    const below = counted()
    const clock = createCoalescingClock(below.clock)
    const told: string[] = []
    for (const delay of [1000, 1010, 990, 1029])
      clock.schedule(delay, () => told.push(`${delay} at ${clock.now() - 1_000_000}`))
    clock.schedule(1040, () => told.push('later'))
    assert.equal(below.waits, 2)
    t.mock.timers.tick(980)
    assert.deepEqual(told, ['1000 at 1000', '1010 at 1000', '990 at 1000', '1029 at 1000'])
    t.mock.timers.tick(100)
    assert.equal(told.at(-1), 'later')
  })

  it('keeps short waits to the millisecond', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
    const callback = mock.fn()
    createCoalescingClock(systemClock).schedule(33, callback)
    t.mock.timers.tick(32)
    assert.equal(callback.mock.callCount(), 0)
    t.mock.timers.tick(1)
    assert.equal(callback.mock.callCount(), 1)
  })

  it('calls nobody who has changed his mind, and the others', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
    const clock = createCoalescingClock(systemClock)
    const callback = mock.fn()
    const cancel = clock.schedule(1000, callback)
    clock.schedule(1000, callback)
    cancel()
    cancel()
    t.mock.timers.tick(2000)
    assert.equal(callback.mock.callCount(), 1)
  })

  it('leaves no timer behind that nobody waits for', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
    const cancelled = mock.fn()
    const clock = createCoalescingClock({ now: () => 0, schedule: () => cancelled })
    const [first, second] = [clock.schedule(1000, () => {}), clock.schedule(1000, () => {})]
    first()
    assert.equal(cancelled.mock.callCount(), 0)
    second()
    assert.equal(cancelled.mock.callCount(), 1)
  })

  it('ends waits when the time of the day jumps', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    let now = 10_000_000
    const schedule: Clock['schedule'] = (delayMs, callback) => systemClock.schedule(delayMs, callback)
    const clock = createCoalescingClock({ now: () => now, schedule })
    const callback = mock.fn()
    for (const jump of [0, -3_600_000, 7_200_000]) {
      now += jump
      clock.schedule(1000, callback)
    }
    t.mock.timers.tick(1000)
    assert.equal(callback.mock.callCount(), 3)
  })
})
