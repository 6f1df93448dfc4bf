// The client of @fairlead/kube against the server, in one process and through a network that breaks.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { CoreV1Api, KubeConfig, makeInformer } from '@kubernetes/client-node'
import {
  connectKube,
  createKubeClient,
  createKubeconfig,
  isConflict,
  isNotFound,
  loadKubeconfig,
  modifyObject,
  renderKubeconfig,
} from '@fairlead/kube'
import type { KubeClient, Transport } from '@fairlead/kube'
import { createInformer } from '@fairlead/kube/cache'
import { fromInformer, keyOf, parseKey, runAsLeader, runManager, systemClock } from '@fairlead/kube/controller'

import { loadPki } from '../pki.ts'
import type { ClusterPki } from '../pki.ts'
import { deploymentNamed, podNamed, startTestServer } from './test-server.ts'
import type { TestServer } from './test-server.ts'

/** Waits until `isDone`, asking again as soon as anything may have happened. */
async function until(isDone: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!isDone()) {
    assert.ok(Date.now() < deadline, `${what} in time`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe('the client of @fairlead/kube in one process', () => {
  let world: TestServer
  let client: KubeClient
  before(async () => {
    world = await startTestServer()
    client = world.client
  })
  after(() => world[Symbol.asyncDispose]())

  it('applies: creates, shares, refuses what others own, takes over, lets go', async () => {
    const maps = client.resource('v1/ConfigMap')
    const wanted = (data: Record<string, string>) => ({ metadata: { name: 'applied' }, data })
    await maps.apply(wanted({ a: '1', b: '2' }), { fieldManager: 'one' })
    await assert.rejects(maps.apply(wanted({ a: '9' }), { fieldManager: 'two' }), isConflict)
    const forced = await maps.apply(wanted({ a: '9' }), { fieldManager: 'two', force: true })
    assert.deepEqual(forced.data, { a: '9', b: '2' })
    const less = await maps.apply(wanted({}), { fieldManager: 'one' })
    assert.deepEqual(less.data, { a: '9' })
    const whole = await client.object('v1', 'ConfigMap').get('applied')
    assert.equal(whole.metadata.name, 'applied')
  })

  it('scales, reads page by page, and deletes a collection', async () => {
    await client.resource('apps/v1/Deployment').create(deploymentNamed('web'))
    assert.equal((await client.resource('apps/v1/Deployment').scale('web', 4)).spec?.replicas, 4)
    assert.equal((await client.resource('apps/v1/Deployment').getScale('web')).spec?.replicas, 4)
    const secrets = client.resource('v1/Secret')
    for (let count = 0; count < 7; count += 1) {
      await secrets.create({ metadata: { name: `s${count}`, labels: { page: count < 5 ? 'yes' : 'no' } } })
    }
    const names: string[] = []
    for await (const { metadata } of secrets.each({ pageSize: 2, labelSelector: 'page' })) {
      names.push(metadata?.name ?? '')
    }
    assert.deepEqual(names, ['s0', 's1', 's2', 's3', 's4', 's5', 's6'])
    await secrets.deleteCollection({ labelSelector: 'page=yes' })
    const { items } = await secrets.list({ labelSelector: 'page' })
    assert.deepEqual(
      items.map(({ metadata }) => metadata?.name),
      ['s5', 's6'],
    )
    await assert.rejects(secrets.get('s0'), isNotFound)
  })

  it('writes after twenty others without losing a change', async () => {
    const maps = client.resource('v1/ConfigMap')
    await maps.create({ metadata: { name: 'counter' }, data: { count: '0' } })
    const add = () =>
      modifyObject(
        maps,
        'counter',
        (map) => {
          map.data = { count: String(Number(map.data?.['count']) + 1) }
        },
        { attempts: 50 },
      )
    await Promise.all(Array.from({ length: 20 }, add))
    assert.equal((await maps.get('counter')).data?.['count'], '20')
  })

  it('keeps an informer right whatever its reads come to', async (test) => {
    const { transport, faults } = faulty(world.transport)
    const stop = new AbortController()
    test.after(() => stop.abort())
    const broken = createKubeClient({ transport, namespace: 'default' })
    const maps = createInformer(broken.resource('v1/ConfigMap'), {
      signal: stop.signal,
      namespace: 'default',
      labelSelector: 'chaos',
      // Time passes a hundred times faster for it.
      clock: { ...systemClock, schedule: (delayMs, callback) => systemClock.schedule(delayMs / 100, callback) },
    })
    const copy = new Map<string, string | undefined>()
    maps.on((event, { metadata }, old) => {
      const name = metadata?.name ?? ''
      assert.equal(copy.has(name), event !== 'add', `${event} of ${name}`)
      if (event === 'update') assert.equal(copy.get(name), old?.metadata?.resourceVersion)
      if (event === 'delete') copy.delete(name)
      else copy.set(name, metadata?.resourceVersion)
    })
    await maps.start()
    const own = client.resource('v1/ConfigMap')
    const versions = async () => {
      const { items } = await own.list({ labelSelector: 'chaos' })
      return new Map(items.map(({ metadata }) => [metadata?.name ?? '', metadata?.resourceVersion]))
    }
    for (let round = 0; round < 150; round += 1) {
      const name = `chaos-${round % 7}`
      const known = await own.get(name).catch(() => undefined)
      if (known === undefined) await own.create({ metadata: { name, labels: { chaos: '' } } })
      else if (round % 3 === 0) await own.delete(name)
      else await own.patch(name, { type: 'merge', body: { data: { round: String(round) } } })
      await new Promise((resolve) => setImmediate(resolve))
    }
    const expected = await versions()
    const isSame = (): boolean =>
      copy.size === expected.size && [...expected].every(([name, version]) => copy.get(name) === version)
    await until(isSame, 'the same state')
    assert.ok(faults.size >= 5, `faults of ${faults.size} kinds`)
  })

  it('lets one of three candidates lead, and the next when it gives the lease back', async () => {
    const leading: string[] = []
    const ended: string[] = []
    const stops = new Map<string, AbortController>()
    const running = ['a', 'b', 'c'].map((identity) => {
      const stop = new AbortController()
      stops.set(identity, stop)
      const options = { name: 'leader', identity, retryMs: 20, leaseDurationMs: 15_000, signal: stop.signal }
      return runAsLeader(client, options, async (term) => {
        assert.equal(leading.length, ended.length, 'nobody else leads')
        leading.push(identity)
        if (!term.aborted) await once(term, 'abort')
        ended.push(identity)
      })
    })
    for (let turn = 1; turn <= 3; turn += 1) {
      await until(() => leading.length === turn, `leader ${turn}`)
      stops.get(leading[turn - 1] ?? '')?.abort()
    }
    await Promise.all(running)
    assert.deepEqual(leading.toSorted(), ['a', 'b', 'c'])
    const { spec } = await client.resource('coordination.k8s.io/v1/Lease').get('leader')
    assert.deepEqual([spec?.holderIdentity, spec?.leaseTransitions], ['', 2])
  })

  it('steps down when another has taken the lease', async () => {
    const stop = new AbortController()
    const terms: boolean[] = []
    const options = { name: 'robbed', identity: 'me', retryMs: 20, signal: stop.signal }
    const running = runAsLeader(client, options, async (term) => {
      terms.push(true)
      const leases = client.resource('coordination.k8s.io/v1/Lease')
      await leases.patch('robbed', { type: 'merge', body: { spec: { holderIdentity: 'thief' } } })
      if (!term.aborted) await once(term, 'abort')
      assert.equal(stop.signal.aborted, false)
      stop.abort()
    })
    await running
    assert.equal(terms.length, 1)
    const { spec } = await client.resource('coordination.k8s.io/v1/Lease').get('robbed')
    assert.equal(spec?.holderIdentity, 'thief')
  })

  it('runs a manager that ends what it began before it gives the lease back', async () => {
    const stop = new AbortController()
    const begun: string[] = []
    const finished: string[] = []
    const written = Promise.withResolvers<void>()
    const running = runManager(client, {
      signal: stop.signal,
      leaderElection: { name: 'manager', retryMs: 20 },
      controllers: ({ informers, client: own }) => {
        const pods = informers.resource('v1/Pod', { labelSelector: 'managed' })
        return [
          {
            name: 'pods',
            sources: [fromInformer(pods, (pod) => [keyOf(pod)])],
            async reconcile(key, working) {
              begun.push(key)
              stop.abort()
              await written.promise
              assert.equal(working.aborted, false)
              const { namespace, name } = parseKey(key)
              const body = { metadata: { annotations: { reconciled: 'yes' } } }
              await own.resource('v1/Pod').patch(name, { type: 'merge', body }, { namespace, signal: working })
              finished.push(key)
            },
          },
        ]
      },
    })
    await client
      .resource('v1/Pod')
      .create(podNamed('managed', { metadata: { name: 'managed', labels: { managed: '' } } }))
    await until(() => begun.length === 1, 'the reconcile')
    const lease = () => client.resource('coordination.k8s.io/v1/Lease').get('manager')
    assert.notEqual((await lease()).spec?.holderIdentity, '')
    written.resolve()
    await running
    assert.deepEqual(finished, ['default/managed'])
    assert.equal((await lease()).spec?.holderIdentity, '')
  })
})

/** A transport on which every third read fails in another way, and every watch after a few events. */
function faulty(inner: Transport): { transport: Transport; faults: Map<string, number> } {
  const faults = new Map<string, number>()
  let reads = 0
  let isQuiet = false
  const count = (name: string): void => void faults.set(name, (faults.get(name) ?? 0) + 1)
  const answers = [
    [429, 'TooManyRequests', { 'retry-after': '0' }],
    [500, 'InternalError', {}],
    [410, 'Expired', {}],
    [503, 'ServiceUnavailable', { 'retry-after': '0' }],
  ] as const

  async function* cut(body: AsyncIterable<Uint8Array>, at: number): AsyncGenerator<Uint8Array> {
    const expired = { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' } }
    let chunks = 0
    for await (const chunk of body) {
      chunks += 1
      // Long enough, now and then, for a whole state.
      if (chunks <= 3 + (at % 11)) yield chunk
      else if (at % 3 === 0) {
        count('cut in a line')
        yield chunk.subarray(0, chunk.length / 2)
        return
      } else if (at % 3 === 1) {
        count('expired event')
        return yield Buffer.from(`${JSON.stringify(expired)}\n`)
      } else {
        count('reset')
        throw Object.assign(new Error('reset', { cause: { code: 'ECONNRESET' } }), { code: 'FAIRLEAD_KUBE_CONNECT' })
      }
    }
  }

  const transport: Transport = {
    async send(request) {
      if (request.method !== 'GET') return inner.send(request)
      reads += 1
      isQuiet = !isQuiet
      const [status, reason, headers] = answers[(reads >> 1) % answers.length] ?? answers[0]
      if (!isQuiet && reads % 3 === 0) {
        count(reason)
        const body = [Buffer.from(JSON.stringify({ kind: 'Status', code: status, reason, message: reason }))]
        return { status, headers, body: Readable.from(body) }
      }
      const response = await inner.send(request)
      return request.path.includes('watch=true') ? { ...response, body: cut(response.body, reads) } : response
    },
  }
  return { transport, faults }
}

/** A TCP proxy that breaks when told to. */
async function openProxy(target: number) {
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1')
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('data', (chunk: Buffer) => void to.write(chunk))
      from.on('close', () => to.destroy()).on('error', () => {})
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    /** Resets every connection. */
    cut() {
      for (const socket of sockets) socket.resetAndDestroy()
      sockets.clear()
    },
    /** Leaves the connections there are open and lets nothing through any more; new ones work. */
    stall() {
      for (const socket of sockets) socket.removeAllListeners('data').resume()
    },
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
      if (server.listening) await once(server, 'close')
    },
  }
}

describe('the client of @fairlead/kube over a network', () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-client-'))
  const token = 'a-long-enough-token'
  let world: TestServer
  let pki: ClusterPki
  let port = 0
  before(async () => {
    pki = await loadPki(dir)
    const identity = { user: 'tester', groups: ['system:masters', 'system:authenticated'] }
    world = await startTestServer({ tokens: new Map([[token, identity]]) })
    ;({ port } = await world.server.listen({
      tls: { key: pki.server.key, cert: pki.server.certificate, ca: pki.ca },
    }))
  })
  after(async () => {
    await world[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true })
  })

  function connectThrough(at: number): KubeClient {
    const server = `https://127.0.0.1:${at}`
    return connectKube({ kubeconfig: createKubeconfig({ name: 'a', server, token, certificateAuthority: pki.ca }) })
  }

  it('keeps an informer right through resets and half-open connections, missing and doubling nothing', async () => {
    await using proxy = await openProxy(port)
    const client = connectThrough(proxy.port)
    const stop = new AbortController()
    const maps = createInformer(client.resource('v1/ConfigMap'), {
      signal: stop.signal,
      namespace: 'default',
      labelSelector: 'seen',
      idleMs: 300,
    })
    const log: string[] = []
    maps.on((event, { metadata }) => log.push(`${event} ${metadata?.name}`))
    await maps.start()
    const own = world.client.resource('v1/ConfigMap')
    const expected: string[] = []
    const add = async (name: string): Promise<void> => {
      await own.create({ metadata: { name, labels: { seen: '' } } })
      expected.push(`add ${name}`)
    }
    await add('before')
    await until(() => log.length === expected.length, 'what came before')
    for (let round = 0; round < 3; round += 1) {
      proxy.cut()
      await add(`cut-${round}`)
      await until(() => log.length === expected.length, 'what came after a reset')
      proxy.stall()
      await add(`half-open-${round}`)
      await own.delete(`cut-${round}`)
      expected.push(`delete cut-${round}`)
      await until(() => log.length === expected.length, 'what came while half-open')
    }
    assert.deepEqual(log, expected)
    // A read whose idle connection was reset is sent again.
    await client.resource('v1/ConfigMap').list()
    proxy.cut()
    assert.equal((await client.resource('v1/ConfigMap').list({ labelSelector: 'seen' })).items.length, 4)
    stop.abort()
    await client.close()
  })

  it('ends a watch of which nothing is heard, and a request that is not answered', async () => {
    await using proxy = await openProxy(port)
    const client = connectThrough(proxy.port)
    const events = client.resource('v1/Namespace').watch({ idleMs: 200 })
    const read = async (): Promise<void> => {
      for await (const { type } of events) assert.equal(type, 'ADDED')
    }
    await assert.rejects(read(), { code: 'FAIRLEAD_KUBE_DEADLINE', message: /nothing received for 200 ms/ })
    await client.resource('v1/Namespace').list()
    proxy.stall()
    const waiting = client.request({ method: 'GET', path: '/version', deadlineMs: 200 })
    await assert.rejects(waiting, { code: 'FAIRLEAD_KUBE_DEADLINE' })
    await client.close()
  })

  it('agrees with the Kubernetes client for JavaScript, by a kubeconfig with a plugin that renews its token', async () => {
    const plugin = join(dir, 'plugin')
    const count = join(dir, 'count')
    // Its first token is not believed: both clients have to ask it again.
    const answer = `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'$t'"}}`
    writeFileSync(
      plugin,
      `#!/bin/sh\necho x >> ${count}\nt=${token}\n[ -e ${dir}/stale ] && t=stale\nrm -f ${dir}/stale\necho '${answer}'\n`,
    )
    chmodSync(plugin, 0o755)
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: './plugin', interactiveMode: 'Never' }
    const base = createKubeconfig({ name: 'a', server: `https://127.0.0.1:${port}`, certificateAuthority: pki.ca })
    const file = join(dir, 'kubeconfig')
    writeFileSync(file, renderKubeconfig({ ...base, users: [{ name: 'a', user: { exec } }] }))

    writeFileSync(join(dir, 'stale'), '')
    const client = connectKube({ kubeconfig: loadKubeconfig({ path: file }) })
    const pods = client.resource('v1/Pod')
    for (const name of ['a', 'b']) await pods.create(podNamed(name), { namespace: 'default' })
    assert.equal(readFileSync(count, 'utf8'), 'x\nx\n', 'once refused, then kept')

    const config = new KubeConfig()
    config.loadFromString(readFileSync(file, 'utf8').replace('./plugin', plugin))
    const core = config.makeApiClient(CoreV1Api)
    const theirs = await core.listNamespacedPod({ namespace: 'default' })
    const ours = await pods.list()
    assert.equal(theirs.metadata?.resourceVersion, ours.metadata.resourceVersion)
    assert.deepEqual(
      theirs.items.map(({ metadata }) => [metadata?.name, metadata?.uid, metadata?.resourceVersion]),
      ours.items.map(({ metadata }) => [metadata?.name, metadata?.uid, metadata?.resourceVersion]),
    )

    const stop = new AbortController()
    const seen: string[] = []
    const cache = createInformer(pods, { signal: stop.signal, namespace: 'default' })
    cache.on((event, { metadata }) => seen.push(`${event} ${metadata?.name}`))
    await cache.start()
    const told: string[] = []
    const peer = makeInformer(config, '/api/v1/namespaces/default/pods', () =>
      core.listNamespacedPod({ namespace: 'default' }),
    )
    for (const event of ['add', 'update', 'delete'] as const) {
      peer.on(event, ({ metadata }) => told.push(`${event} ${metadata?.name}`))
    }
    await peer.start()
    const body = [{ op: 'add', path: '/metadata/labels/patched', value: 'by-them' }]
    await core.patchNamespacedPod({ name: 'a', namespace: 'default', body })
    await until(() => seen.length === 3 && told.length === 3, 'their patch')
    await pods.patch('b', { type: 'json', body }, { fieldManager: 'us' })
    await until(() => seen.length === 4 && told.length === 4, 'our patch')
    await pods.delete('a', { gracePeriodSeconds: 0 })
    await until(() => seen.length === 5 && told.length === 5, 'the end of a pod')
    assert.deepEqual(seen, ['add a', 'add b', 'update a', 'update b', 'delete a'])
    assert.deepEqual(told, seen)
    assert.equal(cache.get('default', 'b')?.metadata?.labels?.['patched'], 'by-them')
    stop.abort()
    await peer.stop()
    await client.close()
  })
})
