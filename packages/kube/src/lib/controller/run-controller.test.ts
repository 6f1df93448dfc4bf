import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { KubeError } from '../client/kube-error.ts'
import type { Informer } from '../cache/informer.ts'
import type { KubeResource } from '../client/resource.ts'
import { fromInformer, runController } from './run-controller.ts'
import type { Source } from './run-controller.ts'
import { createManualClock, settle } from './testing.ts'

function manualSource(): Source & { add: (key: string) => void } {
  const source = {
    add: (_key: string): void => {},
    async start(add: (key: string) => void) {
      source.add = add
    },
  }
  return source
}

describe('runController', () => {
  it('reconciles each key, repeats what failed, and reports all but lost races', async () => {
    const stop = new AbortController()
    const clock = createManualClock()
    const source = manualSource()
    const seen: string[] = []
    const errors: unknown[] = []
    const outcomes = new Map<string, unknown[]>([
      ['bad', [new Error('first'), new KubeError({ reason: 'Conflict' }, 409)]],
    ])
    const running = runController({
      name: 'test',
      sources: [source],
      signal: stop.signal,
      clock,
      onError: (error, context) => errors.push([String(error), context]),
      async reconcile(key) {
        seen.push(key)
        const outcome = outcomes.get(key)?.shift()
        if (outcome !== undefined) {
          throw outcome
        }
      },
    })
    await settle()
    source.add('good')
    source.add('bad')
    await clock.advance(100)
    assert.deepEqual(seen, ['good', 'bad', 'bad', 'bad'])
    assert.deepEqual(errors, [['Error: first', { controller: 'test', key: 'bad' }]])
    stop.abort()
    await running
  })

  it('comes back when asked to', async () => {
    const stop = new AbortController()
    const clock = createManualClock()
    const source = manualSource()
    const times: number[] = []
    const running = runController({
      name: 'test',
      sources: [source],
      signal: stop.signal,
      clock,
      async reconcile() {
        times.push(clock.now())
        return times.length < 3 ? { requeueAfterMs: 1000 } : {}
      },
    })
    await settle()
    source.add('a')
    await clock.advance(10_000)
    assert.deepEqual(times, [0, 1000, 2000])
    stop.abort()
    await running
  })

  it('never works on one key twice at a time, and on several keys at once', async () => {
    const stop = new AbortController()
    const source = manualSource()
    const active = new Set<string>()
    let most = 0
    let runs = 0
    const running = runController({
      name: 'test',
      sources: [source],
      signal: stop.signal,
      concurrency: 3,
      async reconcile(key) {
        assert.equal(active.has(key), false)
        active.add(key)
        most = Math.max(most, active.size)
        source.add(key === 'a' && runs < 5 ? 'a' : 'b')
        runs += 1
        await settle()
        active.delete(key)
        if (runs > 8) {
          stop.abort()
        }
      },
    })
    await settle()
    source.add('a')
    source.add('b')
    source.add('c')
    await running
    assert.ok(most >= 2 && most <= 3)
  })
})

describe('fromInformer', () => {
  it('listens no longer than its controller runs', async () => {
    let listeners = 0
    const informer = {
      on() {
        listeners += 1
        return () => void (listeners -= 1)
      },
      start: async () => {},
    } as unknown as Informer<KubeResource>
    for (let term = 0; term < 3; term += 1) {
      const stop = new AbortController()
      const sources = [fromInformer(informer, () => [])]
      const running = runController({ name: 'test', sources, signal: stop.signal, reconcile: async () => {} })
      await settle()
      assert.equal(listeners, 1)
      stop.abort()
      await running
      assert.equal(listeners, 0)
    }
  })

  it('lets reconciles under way finish for as long as it may', async () => {
    const [stop, clock, source] = [new AbortController(), createManualClock(), manualSource()]
    const log: string[] = []
    const running = runController({
      name: 'test',
      sources: [source],
      signal: stop.signal,
      graceMs: 1000,
      clock,
      async reconcile(key, working) {
        log.push(`begin ${key}`)
        await new Promise<void>((resolve) => working.addEventListener('abort', () => resolve()))
        log.push(`aborted ${key}`)
      },
    })
    await settle()
    source.add('a')
    await settle()
    stop.abort()
    source.add('b')
    await clock.advance(999)
    assert.deepEqual(log, ['begin a'])
    await clock.advance(1)
    await running
    assert.deepEqual(log, ['begin a', 'aborted a'])
  })
})
