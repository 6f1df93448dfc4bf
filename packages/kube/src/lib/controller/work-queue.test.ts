import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createManualClock } from './testing.ts'
import { createWorkQueue } from './work-queue.ts'

describe('createWorkQueue', () => {
  it('hands out a key once however often it was added, in order', async () => {
    const queue = createWorkQueue()
    for (const key of ['a', 'b', 'a']) {
      queue.add(key)
    }
    assert.equal(queue.length, 2)
    assert.deepEqual([await queue.next(), await queue.next()], ['a', 'b'])
    assert.equal(queue.length, 0)
  })

  it('keeps a key that is being worked on from a second worker until it is done', async () => {
    const queue = createWorkQueue()
    queue.add('a')
    await queue.next()
    queue.add('a')
    assert.equal(queue.length, 0)
    queue.done('a')
    assert.equal(await queue.next(), 'a')
    queue.done('a')
    assert.equal(queue.length, 0)
  })

  it('wakes a waiting worker at once', async () => {
    const queue = createWorkQueue()
    const next = queue.next()
    queue.add('a')
    assert.equal(await next, 'a')
  })

  it('lets the earliest of several delays count', async () => {
    const clock = createManualClock()
    const queue = createWorkQueue({ clock })
    queue.addAfter('a', 100)
    queue.addAfter('a', 10)
    queue.addAfter('a', 50)
    await clock.advance(9)
    assert.equal(queue.length, 0)
    await clock.advance(1)
    assert.equal(queue.length, 1)
    await queue.next()
    queue.done('a')
    await clock.advance(200)
    assert.equal(queue.length, 0)
  })

  it('backs off from 5 ms, doubling up to 60 s, until forgotten', async () => {
    const clock = createManualClock()
    const queue = createWorkQueue({ clock })
    const delays: number[] = []
    for (let attempt = 0; attempt < 16; attempt += 1) {
      const from = clock.now()
      queue.retry('a')
      while (queue.length === 0) {
        await clock.advance(clock.now() - from < 100 ? 5 : 1000)
      }
      delays.push(clock.now() - from)
      await queue.next()
      queue.done('a')
    }
    assert.deepEqual(delays.slice(0, 4), [5, 10, 20, 40])
    assert.ok((delays.at(-1) ?? 0) >= 60_000 && (delays.at(-1) ?? 0) <= 62_000)
    queue.forget('a')
    queue.retry('a')
    await clock.advance(5)
    assert.equal(queue.length, 1)
  })

  it('releases its workers when closed', async () => {
    const queue = createWorkQueue()
    const next = queue.next()
    queue.close()
    queue.add('a')
    assert.equal(await next, undefined)
    assert.equal(await queue.next(), undefined)
  })
})

describe('createWorkQueue with a rate of retries', () => {
  it('lets a burst of 100 go and spreads the rest', async () => {
    const clock = createManualClock()
    const queue = createWorkQueue({ clock, retriesPerSecond: 10 })
    for (let count = 0; count < 120; count += 1) queue.retry(`key ${count}`)
    await clock.advance(5)
    assert.equal(queue.length, 100)
    await clock.advance(995)
    assert.equal(queue.length, 110)
    await clock.advance(1000)
    assert.equal(queue.length, 120)
    queue.close()
  })
})
