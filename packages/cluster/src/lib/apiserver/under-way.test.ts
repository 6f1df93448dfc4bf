import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'

import { Cancellation, Deadlines } from './under-way.ts'

describe('Cancellation', () => {
  it('aborts the signal that somebody asked for', async () => {
    const cancellation = new Cancellation()
    const { signal } = cancellation
    assert.equal(signal.aborted, false)
    const aborted = once(signal, 'abort')
    cancellation.abort()
    await aborted
    assert.equal(cancellation.signal, signal)
  })

  it('tells those who ask later', () => {
    const cancellation = new Cancellation()
    cancellation.abort()
    assert.equal(cancellation.isAborted, true)
    assert.equal(cancellation.signal.aborted, true)
  })
})

describe('Deadlines', () => {
  it('ends what waits, first come first, and nothing that was stopped', async () => {
    const deadlines = new Deadlines(5)
    const ended: string[] = []
    const { promise: last, resolve } = Promise.withResolvers<void>()
    deadlines.start(() => ended.push('a'))
    const stop = deadlines.start(() => ended.push('b'))
    deadlines.start(() => ended.push('c'))
    stop()
    deadlines.start(resolve)
    // The timer alone does not keep the process.
    using held = holdProcess()
    void held
    await last
    assert.deepEqual(ended, ['a', 'c'])
  })

  it('forgets who stops, wherever it waits, more than once and when it is over', async () => {
    const deadlines = new Deadlines(5)
    const ended: string[] = []
    const stops = ['a', 'b', 'c', 'd', 'e'].map((name) => deadlines.start(() => ended.push(name)))
    const { promise: last, resolve } = Promise.withResolvers<void>()
    deadlines.start(resolve)
    for (const at of [2, 2, 0, 4]) stops[at]?.()
    using held = holdProcess()
    void held
    await last
    for (const stop of stops) stop()
    assert.deepEqual(ended, ['b', 'd'])
    await new Promise<void>((again) => deadlines.start(again))
  })

  it('begins again when all is over', async () => {
    const deadlines = new Deadlines(1)
    using held = holdProcess()
    void held
    for (let round = 0; round < 3; round += 1) {
      deadlines.start(() => undefined)()
      await new Promise<void>((resolve) => deadlines.start(resolve))
    }
  })
})

function holdProcess(): Disposable {
  const timer = setInterval(() => undefined, 1 << 30)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}
