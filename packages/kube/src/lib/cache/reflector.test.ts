import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createKubeClient } from '../client/client.ts'
import { KubeError } from '../client/kube-error.ts'
import type { KubeResource, ResourceClient, ResourceList, WatchOptions } from '../client/resource.ts'
import type { WatchEvent } from '../client/watch.ts'
import { createManualClock, settle } from '../controller/testing.ts'
import { createInformer } from './informer.ts'
import type { InformerOptions } from './informer.ts'
import { createInformers } from './informers.ts'

const pod = (name: string, resourceVersion: string): KubeResource => {
  return { metadata: { namespace: 'shop', name, resourceVersion, uid: name } }
}
const initialEnd: KubeResource = {
  metadata: { resourceVersion: '5', annotations: { 'k8s.io/initial-events-end': 'true' } },
}

type Step = WatchEvent<KubeResource> | Error | 'silence'

/** A collection whose watches are written down beforehand; one that is silent ends by its signal, as does one too many. */
function collection(watches: Step[][], lists: ResourceList<KubeResource>[] = []) {
  const asked: string[] = []
  const resource: Pick<ResourceClient<KubeResource>, 'list' | 'watch'> = {
    async list({ resourceVersion = 'now', limit, continue: token } = {}) {
      asked.push(['list', resourceVersion, limit, token].filter((part) => part !== undefined).join(' '))
      return lists.shift() ?? assert.fail('no more lists')
    },
    async *watch({ resourceVersion = '', sendInitialEvents, signal }: WatchOptions = {}) {
      asked.push(`watch ${sendInitialEvents === true ? 'all' : resourceVersion}`)
      for (const step of watches.shift() ?? (['silence'] as const)) {
        if (step instanceof Error) throw step
        if (step !== 'silence') yield step
        else {
          await new Promise((_resolve, reject) => {
            const fail = (): void => reject(new Error('aborted'))
            signal?.addEventListener('abort', fail)
            if (signal?.aborted === true) fail()
          })
        }
      }
    },
  }
  return { resource: resource as ResourceClient<KubeResource>, asked }
}

function open(watches: Step[][], options: Partial<InformerOptions> = {}, lists?: ResourceList<KubeResource>[]) {
  const { resource, asked } = collection(watches, lists)
  const stop = new AbortController()
  const clock = createManualClock()
  const errors: unknown[] = []
  const log: string[] = []
  const informer = createInformer(resource, {
    signal: stop.signal,
    clock,
    onError: (error) => errors.push(error),
    ...options,
  })
  informer.on((event, { metadata }) => log.push(`${event} ${metadata?.name}@${metadata?.resourceVersion}`))
  return { informer, asked, log, errors, clock, stop }
}

describe('createInformer with a streaming list', () => {
  it('is complete at the mark of the initial events, and goes on with the same watch', async () => {
    const { informer, asked, log, stop } = open([
      [
        { type: 'ADDED', object: pod('a', '1') },
        { type: 'ADDED', object: pod('b', '2') },
        { type: 'MODIFIED', object: pod('a', '3') },
        { type: 'DELETED', object: pod('b', '4') },
        { type: 'BOOKMARK', object: initialEnd },
        { type: 'ADDED', object: pod('c', '6') },
        'silence',
      ],
    ])
    await informer.start()
    await settle()
    assert.deepEqual(log, ['add a@3', 'add c@6'])
    assert.equal(informer.resourceVersion, '6')
    assert.deepEqual(asked, ['watch all'])
    stop.abort()
  })

  it('keeps what it had until the state is whole again after a gap', async () => {
    const { informer, asked, log, clock, stop } = open([
      [
        { type: 'ADDED', object: pod('a', '1') },
        { type: 'ADDED', object: pod('b', '2') },
        { type: 'BOOKMARK', object: initialEnd },
        new KubeError({ code: 410, reason: 'Expired' }, 410),
      ],
      [{ type: 'ADDED', object: pod('a', '1') }, new Error('reset')],
      [{ type: 'ADDED', object: pod('a', '1') }, { type: 'BOOKMARK', object: initialEnd }, 'silence'],
    ])
    await informer.start()
    log.length = 0
    await clock.advance(150)
    assert.deepEqual([informer.list().length, log], [2, []])
    await clock.advance(1000)
    assert.deepEqual(log, ['delete b@2'])
    assert.deepEqual(asked, ['watch all', 'watch all', 'watch all'])
    stop.abort()
  })

  it('lists when the server tells the state but never its end', async () => {
    const lists = [{ items: [pod('a', '1')], metadata: { resourceVersion: '5' } }]
    const { informer, asked, errors, clock, stop } = open(
      [[{ type: 'ADDED', object: pod('a', '1') }, 'silence']],
      {},
      lists,
    )
    const started = informer.start()
    await clock.advance(10_000)
    await started
    assert.deepEqual([asked, errors], [['watch all', 'list 0', 'watch 5'], []])
    stop.abort()
  })
})

describe('createInformer', () => {
  it('watches anew, from where it was, when nothing is heard', async () => {
    const event: Step = { type: 'BOOKMARK', object: { metadata: { resourceVersion: '7' } } }
    const { informer, asked, errors, clock, stop } = open(
      [[{ type: 'BOOKMARK', object: initialEnd }, event, 'silence']],
      { idleMs: 60_000 },
    )
    await informer.start()
    await clock.advance(59_999)
    assert.deepEqual(asked, ['watch all'])
    await clock.advance(1)
    assert.deepEqual([asked, errors], [['watch all', 'watch 7'], []])
    stop.abort()
  })

  it('comes back when the server says, not before', async () => {
    const busy = new KubeError({ code: 429 }, 429, { retryAfterMs: 5000 })
    const { informer, asked, clock, stop } = open([[{ type: 'BOOKMARK', object: initialEnd }, busy], ['silence']])
    await informer.start()
    await clock.advance(4999)
    assert.equal(asked.length, 1)
    await clock.advance(1)
    assert.deepEqual(asked, ['watch all', 'watch 5'])
    stop.abort()
  })

  it('relists in pages, whole when a page is gone', async () => {
    const lists: ResourceList<KubeResource>[] = [
      { items: [], metadata: { resourceVersion: '5' } },
      { items: [pod('a', '8')], metadata: { resourceVersion: '9', continue: 'two' } },
      { items: [pod('b', '8')], metadata: { resourceVersion: '9' } },
    ]
    const gone = new KubeError({ code: 410, reason: 'Expired' }, 410)
    const { informer, asked, log, clock, stop } = open([[gone], ['silence']], { watchList: false }, lists)
    await informer.start()
    await clock.advance(200)
    assert.deepEqual(log, ['add a@8', 'add b@8'])
    assert.deepEqual(asked, ['list 0', 'watch 5', 'list now 500', 'list now 500 two', 'watch 9'])
    stop.abort()
  })

  it('transforms before it keeps, and tells everything again at a resync', async () => {
    const start: Step[] = [
      { type: 'ADDED', object: pod('a', '1') },
      { type: 'BOOKMARK', object: initialEnd },
      'silence',
    ]
    const transform = (object: KubeResource): KubeResource => ({ ...object, kind: 'Seen' })
    const { informer, log, clock, stop } = open([start], { transform, resyncMs: 30_000 })
    await informer.start()
    assert.equal(informer.get('shop', 'a')?.kind, 'Seen')
    await clock.advance(60_000)
    assert.deepEqual(log, ['add a@1', 'update a@1', 'update a@1'])
    stop.abort()
    await clock.advance(60_000)
    assert.equal(log.length, 3)
  })
})

describe('createInformers', () => {
  it('makes one informer per kind and selection', () => {
    const client = createKubeClient({ transport: { send: () => Promise.reject(new Error('no server')) } })
    const informers = createInformers(client, { signal: AbortSignal.abort() })
    const pods = informers.resource('v1/Pod', { namespace: 'shop' })
    assert.equal(informers.object('v1', 'Pod', { namespace: 'shop', metadataOnly: false }), pods)
    assert.notEqual(informers.resource('v1/Pod'), pods)
    assert.notEqual(informers.resource('v1/Pod', { namespace: 'shop', metadataOnly: true }), pods)
  })
})
