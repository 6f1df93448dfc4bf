import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { KubeError } from '../client/kube-error.ts'
import type { KubeResource, ResourceClient, ResourceList } from '../client/resource.ts'
import type { WatchEvent } from '../client/watch.ts'
import { createManualClock, settle } from '../controller/testing.ts'
import { createInformer } from './informer.ts'

type Step = WatchEvent<KubeResource> | Error

/** A collection whose lists and watches are written down beforehand. */
function scripted(lists: (ResourceList<KubeResource> | Error)[], watches: Step[][]) {
  const asked: string[] = []
  const resource: Pick<ResourceClient<KubeResource>, 'list' | 'watch'> = {
    async list(options) {
      asked.push(`list ${options?.resourceVersion ?? 'now'}`)
      const list = lists.shift()
      if (list === undefined || list instanceof Error) {
        throw list ?? new Error('no more lists')
      }
      return list
    },
    async *watch(options) {
      if (options?.sendInitialEvents === true) {
        throw new KubeError({ code: 422, reason: 'Invalid' }, 422)
      }
      asked.push(`watch ${options?.resourceVersion}`)
      const steps = watches.shift()
      if (steps === undefined) {
        await new Promise((_resolve, reject) => {
          options?.signal?.addEventListener('abort', () => reject(new Error('aborted')))
        })
      }
      for (const step of steps ?? []) {
        if (step instanceof Error) {
          throw step
        }
        yield step
      }
    },
  }
  // The informer lists and watches, nothing else.
  return { resource: resource as ResourceClient<KubeResource>, asked }
}

const pod = (name: string, resourceVersion: string, labels: Record<string, string> = {}, uid = name): KubeResource => {
  return { metadata: { namespace: 'shop', name, resourceVersion, labels, uid } }
}

function record(): { log: string[]; handler: (event: string, object: KubeResource, old?: KubeResource) => void } {
  const log: string[] = []
  return {
    log,
    handler: (event, { metadata }, old) => {
      const from = old === undefined ? '' : ` from ${old.metadata?.resourceVersion}`
      log.push(`${event} ${metadata?.name}@${metadata?.resourceVersion}${from}`)
    },
  }
}

describe('createInformer', () => {
  it('lists, follows changes, and keeps its indexes in step', async () => {
    const { resource, asked } = scripted(
      [{ items: [pod('a', '1', { app: 'x' }), pod('b', '2', { app: 'x' })], metadata: { resourceVersion: '5' } }],
      [
        [
          { type: 'ADDED', object: pod('c', '6', { app: 'y' }) },
          { type: 'MODIFIED', object: pod('a', '7', { app: 'y' }) },
          { type: 'DELETED', object: pod('b', '8') },
          { type: 'BOOKMARK', object: { metadata: { resourceVersion: '9' } } },
        ],
      ],
    )
    const stop = new AbortController()
    const informer = createInformer(resource, { signal: stop.signal })
    const { log, handler } = record()
    informer.index('app', ({ metadata }) => [metadata?.labels?.['app'] ?? ''])
    informer.on(handler)
    await informer.start()
    assert.equal(informer.isSynced, true)
    await settle()
    assert.deepEqual(log, ['add a@1', 'add b@2', 'add c@6', 'update a@7 from 1', 'delete b@8'])
    assert.deepEqual(
      informer.list('shop').map(({ metadata }) => metadata?.name),
      ['a', 'c'],
    )
    assert.deepEqual(
      informer
        .byIndex('app', 'y')
        .map(({ metadata }) => metadata?.name)
        .toSorted((a = '', b = '') => a.localeCompare(b)),
      ['a', 'c'],
    )
    assert.deepEqual(informer.byIndex('app', 'x'), [])
    assert.deepEqual(asked, ['list 0', 'watch 5', 'watch 9'])
    const late = record()
    informer.on(late.handler)
    assert.deepEqual(late.log, ['add a@7', 'add c@6'])
    stop.abort()
  })

  it('lists again when the version is gone, telling only the difference', async () => {
    const gone = new KubeError({ code: 410, reason: 'Expired' }, 410)
    const { resource, asked } = scripted(
      [
        { items: [pod('a', '1'), pod('b', '2'), pod('c', '3')], metadata: { resourceVersion: '5' } },
        { items: [pod('a', '1'), pod('b', '8'), pod('c', '9', {}, 'another')], metadata: { resourceVersion: '9' } },
      ],
      [[gone]],
    )
    const stop = new AbortController()
    const clock = createManualClock()
    const errors: unknown[] = []
    const informer = createInformer(resource, { signal: stop.signal, clock, onError: (error) => errors.push(error) })
    await informer.start()
    const { log, handler } = record()
    informer.on(handler)
    log.length = 0
    await clock.advance(200)
    assert.deepEqual(log, ['update b@8 from 2', 'delete c@3', 'add c@9'])
    assert.deepEqual(asked, ['list 0', 'watch 5', 'list now', 'watch 9'])
    assert.deepEqual(errors, [])
    stop.abort()
  })

  it('retries failures with growing delays and resumes from the last version', async () => {
    const failure = new Error('connection refused')
    const { resource, asked } = scripted(
      [failure, failure, { items: [], metadata: { resourceVersion: '5' } }],
      [[{ type: 'ADDED', object: pod('a', '6') }, failure], [failure]],
    )
    const stop = new AbortController()
    const clock = createManualClock()
    const errors: unknown[] = []
    const informer = createInformer(resource, { signal: stop.signal, clock, onError: (error) => errors.push(error) })
    const started = informer.start()
    await clock.advance(50)
    assert.deepEqual(asked, ['list 0'])
    await clock.advance(100)
    assert.deepEqual(asked, ['list 0', 'list 0'])
    await clock.advance(1000)
    await started
    assert.deepEqual(asked, ['list 0', 'list 0', 'list 0', 'watch 5', 'watch 6', 'watch 6'])
    assert.deepEqual(errors, [failure, failure, failure, failure])
    stop.abort()
  })

  it('hands out frozen objects', async () => {
    const { resource } = scripted([{ items: [pod('a', '1')], metadata: {} }], [])
    const stop = new AbortController()
    const informer = createInformer(resource, { signal: stop.signal })
    await informer.start()
    const found = informer.get('shop', 'a')
    assert.ok(found?.metadata?.labels !== undefined)
    const { labels } = found.metadata
    assert.throws(() => Object.assign(labels, { x: 'y' }), TypeError)
    stop.abort()
  })

  it('gives up start() when its signal aborts first', async () => {
    const stop = new AbortController()
    const { resource } = scripted([new Error('down')], [])
    const informer = createInformer(resource, { signal: stop.signal })
    const started = informer.start()
    stop.abort(new Error('stopped'))
    await assert.rejects(started, /stopped/)
  })
})
