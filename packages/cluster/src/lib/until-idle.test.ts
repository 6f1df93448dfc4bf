import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { untilIdle } from './until-idle.ts'

describe('untilIdle', () => {
  it('resolves where there is nothing to do, long before it is given up', { timeout: 30_000 }, async () => {
    await untilIdle({ atMostMs: 60_000 })
  })

  it('waits while there is work in every turn', { timeout: 60_000 }, async () => {
    using work = keepBusy()
    let isOver = false
    const waiting = untilIdle({ sliceMs: 20, atMostMs: 60_000 }).then(() => (isOver = true))
    await work.turns(200)
    assert.equal(isOver, false)
    work[Symbol.dispose]()
    await waiting
  })

  it('gives up where the work has no end', { timeout: 30_000 }, async () => {
    using work = keepBusy()
    await untilIdle({ atMostMs: 50 })
    assert.ok(work.isBusy)
  })
})

/** Half a millisecond of work in each turn of the event loop. */
function keepBusy(): Disposable & { readonly isBusy: boolean; turns(count: number): Promise<void> } {
  let isBusy = true
  function turn(): void {
    const end = performance.now() + 0.5
    while (performance.now() < end);
    if (isBusy) setImmediate(turn)
  }
  turn()
  return {
    get isBusy() {
      return isBusy
    },
    async turns(count) {
      for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    },
    [Symbol.dispose]: () => {
      isBusy = false
    },
  }
}
