import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Clock } from '@fairlead/kube/controller'

import { Clearing } from './clearing.ts'

/** A clock that runs as fast as it is looked at; `onTick` sees each second. */
function fastClock(onTick: (now: number) => void): Clock {
  let now = 0
  return {
    now: () => now,
    schedule(delayMs, callback) {
      const timer = setImmediate(() => {
        now += delayMs
        onTick(now)
        callback()
      })
      return () => clearImmediate(timer)
    },
  }
}

describe('Clearing', () => {
  it('waits for what is done, and no longer', async () => {
    const done = Promise.withResolvers<void>()
    const clock = fastClock((now) => now === 3000 && done.resolve())
    await new Clearing(clock).wait(done.promise, 1000)
    assert.equal(clock.now(), 3000)
  })

  it('gives up ten seconds after the deadline when nothing is cleared', async () => {
    const clock = fastClock(() => {})
    await new Clearing(clock).wait(new Promise(() => {}), 5000)
    assert.equal(clock.now(), 15_000)
  })

  it('waits for as long as anything is cleared', async () => {
    const clock = fastClock((now) => now % 9000 === 0 && now < 100_000 && clearing.progress())
    const clearing = new Clearing(clock)
    await clearing.wait(new Promise(() => {}), 5000)
    assert.equal(clock.now(), 99_000 + 10_000)
  })
})
