import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createLogger } from '../log/logger.ts'
import { resource } from './resource.ts'
import { startResources } from './start.ts'

const options = { log: createLogger({ level: 'silent' }), env: {} }

describe('startResources', () => {
  it('starts in the order of needs and stops in reverse', async () => {
    const events: string[] = []
    const named = (name: string) => ({ stop: () => void events.push(`-${name}`) })
    const step = <T>(name: string, value: T): T => {
      events.push(`+${name}`)
      return value
    }
    const db = resource(() => step('db', { rows: 3 }), named('db'))
    const cache = resource({ db }, (needs) => step('cache', needs.db.rows * 2), named('cache'))
    const api = resource({ db, cache }, (needs) => step('api', needs.cache + needs.db.rows), named('api'))
    const running = await startResources({ api }, options)
    assert.equal(running.values.api, 9)
    assert.deepEqual(events, ['+db', '+cache', '+api'])
    await Promise.all([running.stop(), running.stop()])
    assert.deepEqual(events.slice(3), ['-api', '-cache', '-db'])
  })

  it('starts resources that do not need each other at the same time', async () => {
    const both = Promise.withResolvers<void>()
    let waiting = 0
    const meet = resource(() => {
      waiting += 1
      if (waiting === 2) both.resolve()
      return both.promise
    })
    const other = resource(() => {
      waiting += 1
      if (waiting === 2) both.resolve()
      return both.promise
    })
    await startResources({ meet, other }, options)
  })

  it('disposes of values that can be disposed of', async () => {
    const disposed: string[] = []
    const running = await startResources(
      {
        now: resource(() => ({ [Symbol.dispose]: () => void disposed.push('now') })),
        later: resource(() => ({ [Symbol.asyncDispose]: async () => void disposed.push('later') })),
        plain: resource(() => 7),
      },
      options,
    )
    await running.stop()
    assert.deepEqual(disposed.toSorted(), ['later', 'now'])
  })

  it('stops what `await using` lets go of', async () => {
    const stopped: string[] = []
    {
      await using running = await startResources(
        { db: resource(() => 'db', { stop: (name) => void stopped.push(name) }) },
        options,
      )
      assert.equal(running.values.db, 'db')
    }
    assert.deepEqual(stopped, ['db'])
  })

  it('names what failed, and releases what had started', async () => {
    const stopped: string[] = []
    const good = resource(() => 1, { stop: () => void stopped.push('good') })
    const bad = resource({ good }, () => Promise.reject(new Error('refused')))
    const after = resource({ bad }, () => 2, { stop: () => void stopped.push('after') })
    await assert.rejects(startResources({ good, after }, options), {
      code: 'FAIRLEAD_SERVICE_START',
      message: 'Cannot start resource "bad": refused',
    })
    assert.deepEqual(stopped, ['good'])
  })

  it('gives up on a start that takes too long, and releases what comes of it later', async () => {
    const late = Promise.withResolvers<string>()
    const released = Promise.withResolvers<string>()
    const slow = resource(() => late.promise, { startTimeoutMs: 20, stop: (value) => released.resolve(value) })
    await assert.rejects(startResources({ slow }, options), { message: /not done after 20 ms/ })
    late.resolve('late')
    assert.equal(await released.promise, 'late')
  })

  it('stops the start when it is told to', async () => {
    const controller = new AbortController()
    const slow = resource(() => new Promise(() => {}))
    const starting = startResources({ slow }, { ...options, signal: controller.signal })
    controller.abort(new Error('changed my mind'))
    await assert.rejects(starting, { message: 'Cannot start resource "slow": changed my mind' })
  })

  it('tries every stop and names those that failed', async () => {
    const stopped: string[] = []
    const running = await startResources(
      {
        a: resource(() => 1, { stop: () => void stopped.push('a') }),
        b: resource(() => 2, { stop: () => Promise.reject(new Error('stuck')) }),
        c: resource(() => 3, { stop: () => new Promise(() => {}), stopTimeoutMs: 20 }),
      },
      options,
    )
    await assert.rejects(running.stop(), { code: 'FAIRLEAD_SERVICE_STOP', message: /"c" .*20 ms.*"b" \(stuck\)/ })
    assert.deepEqual(stopped, ['a'])
  })
})
