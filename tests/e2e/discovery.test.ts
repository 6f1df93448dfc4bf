// A client finds the pods of a Service by its EndpointSlices while a Deployment scales and rolls: the API server over TLS and the
// controllers are real, the test plays the node agent, whose pods are services in this process on loopback addresses of their own.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createApiServer, openStore } from '@fairlead/cluster/apiserver'
import { createKubeClient } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { Pod } from '@fairlead/kube/types/core-v1'
import { service, start } from '@fairlead/service'
import type { App } from '@fairlead/service'
import { client } from '@fairlead/service/client'
import type { ClientHealth } from '@fairlead/service/client'
import { createLogger } from '@fairlead/service/log'
// The controllers are part of a cluster and have no entry of their own.
import { runControllers } from '../../packages/cluster/src/lib/controllers/run-controllers.ts'
import { missing } from './support/machine.ts'

const skip = missing(['openssl']) ?? (process.platform === 'linux' ? false : 'needs all of 127.0.0.0/8')
const namespace = 'shop'

describe('discovery by EndpointSlices', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-discovery-'))
  const stack = new AsyncDisposableStack()
  let env: Record<string, string>
  let kube: KubeClient
  let agent: PodAgent

  before(async () => {
    stack.defer(() => rmSync(folder, { recursive: true }))
    const tls = makeCertificate(folder)
    const store = stack.use(await openStore({ dir: '', durability: 'memory' }))
    const user = { user: 'system:serviceaccount:shop:web', groups: ['system:masters'] }
    const server = stack.use(createApiServer({ store, tokens: new Map([['planted-token', user]]) }))
    kube = createKubeClient({ transport: server.transport({ user: 'admin', groups: ['system:masters'] }) })
    const { port } = await server.listen({ tls })
    for (const [file, text] of Object.entries({ namespace, token: 'planted-token\n' }))
      writeFileSync(join(folder, file), text)
    env = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port), SERVICE_ACCOUNT_DIR: folder }

    const stop = new AbortController()
    const running = runControllers({ client: kube, caCertificate: 'PEM', signal: stop.signal })
    agent = new PodAgent(kube, await freePort(), stop.signal)
    const watching = agent.run()
    stack.defer(async () => {
      stop.abort()
      await Promise.all([running, watching])
      await agent.stop()
    })
    await kube.resource('v1/Namespace').create({ metadata: { name: namespace } })
    await kube.resource('v1/Service').create(
      {
        metadata: { name: 'orders' },
        spec: { selector: { app: 'orders' }, ports: [{ name: 'http', port: 80, targetPort: agent.port }] },
      },
      { namespace },
    )
    await kube.resource('apps/v1/Deployment').create(deployment(3), { namespace })
    await agent.settled(3, 'v1')
  })
  after(async () => await stack.disposeAsync())

  it('loses no call while its pods scale and roll', { timeout: 300_000 }, async () => {
    using orders = client('k8s://shop/orders:http', {
      timeoutMs: 30_000,
      balance: { kubernetes: { env }, slowStartMs: 0 },
    })
    const known = (count: number) => (): boolean => orders.health().endpoints?.known === count
    const stop = new AbortController()
    const results: (Answer | Error)[] = []
    const load = Promise.all(Array.from({ length: 4 }, () => callUntil(stop.signal, orders, results)))
    const moreCalls = async (): Promise<void> => {
      const enough = results.length + 200
      await until('more calls', () => results.length >= enough)
    }
    try {
      await until('three pods', known(3))
      await moreCalls()
      await kube
        .resource('apps/v1/Deployment')
        .patch('orders', { type: 'merge', body: { spec: { replicas: 6 } } }, { namespace })
      await until('six pods', known(6))
      await moreCalls()
      await kube
        .resource('apps/v1/Deployment')
        .patch('orders', { type: 'merge', body: deployment(6, 'v2') }, { namespace })
      await agent.settled(6, 'v2')
      await until('six pods after the roll', known(6))
      await moreCalls()
      await kube
        .resource('apps/v1/Deployment')
        .patch('orders', { type: 'merge', body: { spec: { replicas: 2 } } }, { namespace })
      await agent.settled(2, 'v2')
      await until('two pods', known(2))
      await moreCalls()
    } finally {
      stop.abort()
    }
    await load
    const failed = results.filter((result) => result instanceof Error)
    assert.deepEqual(failed, [])
    const answered = new Set(results.map((result) => (result as Answer).pod))
    assert.ok(results.length >= 800, `${results.length} calls`)
    assert.ok(answered.size >= 9, `${answered.size} pods answered`)
    assert.equal((orders.health() satisfies ClientHealth).status, 'up')
  })

  it('finds a port by its number, and says what it may not do', async () => {
    using byNumber = client('k8s://orders:80', { balance: { kubernetes: { env } } })
    assert.equal((await byNumber.get<Answer>('/')).version, 'v2')
    using stranger = client('k8s://shop/orders:http', {
      balance: { kubernetes: { env, token: 'planted-stranger' } },
      preset: 'plain',
    })
    await assert.rejects(stranger.get('/'), { reason: 'unreachable', message: /the API server answered 401/ })
  })
})

interface Answer {
  readonly pod: string
  readonly version: string
}

async function callUntil(
  signal: AbortSignal,
  orders: ReturnType<typeof client>,
  results: (Answer | Error)[],
): Promise<void> {
  while (!signal.aborted) {
    results.push(await orders.post<Answer>('/', { body: {} }).catch((error: unknown) => error as Error))
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

function deployment(replicas: number, version: string = 'v1'): object {
  const labels = { app: 'orders' }
  return {
    metadata: { name: 'orders' },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { nodeName: 'here', containers: [{ name: 'app', image: `orders:${version}` }] },
      },
      strategy: { rollingUpdate: { maxSurge: 2, maxUnavailable: 1 } },
    },
  }
}

/** Runs each pod as a service on an address of its own, and ends it as a kubelet would. */
class PodAgent {
  readonly port: number
  readonly #kube: KubeClient
  readonly #signal: AbortSignal
  readonly #apps = new Map<string, { readonly version: string; readonly app: Promise<App> }>()
  readonly #ending: Promise<void>[] = []
  #count = 1

  constructor(kube: KubeClient, port: number, signal: AbortSignal) {
    this.#kube = kube
    this.port = port
    this.#signal = signal
  }

  async run(): Promise<void> {
    const pods = this.#kube.resource('v1/Pod')
    try {
      for await (const { type, object } of pods.watch({
        allNamespaces: true,
        sendInitialEvents: true,
        signal: this.#signal,
      })) {
        if (type === 'DELETED' || type === 'BOOKMARK') continue
        const { name = '', deletionTimestamp } = object.metadata ?? {}
        if (deletionTimestamp !== undefined) this.#ending.push(this.#end(name))
        else if (!this.#apps.has(name)) await this.#begin(name, object)
      }
    } catch (error) {
      if (!this.#signal.aborted) throw error
    }
  }

  /** When that many pods run, and they are all of `version`. */
  async settled(count: number, version: string): Promise<void> {
    await until(`${count} pods of ${version}`, () => {
      const versions = [...this.#apps.values()].map((pod) => pod.version)
      return versions.length === count && versions.every((one) => one === version)
    })
  }

  async stop(): Promise<void> {
    await Promise.all(
      [...this.#apps.values()].map(async ({ app }) => (await app).stop({ signal: AbortSignal.abort() })),
    )
    await Promise.all(this.#ending)
  }

  async #begin(name: string, pod: Pod): Promise<void> {
    const version = pod.spec?.containers[0]?.image?.split(':')[1] ?? ''
    const podIP = `127.0.1.${(this.#count += 1)}`
    const definition = service({
      name: 'orders',
      http: (router) => router.get('/', () => ({ pod: name, version })).post('/', () => ({ pod: name, version })),
    })
    const log = createLogger({ level: 'silent' })
    const app = start(definition, { host: podIP, port: this.port, log, env: { DRAIN_DELAY_MS: '200' } })
    this.#apps.set(name, { version, app })
    await app
    const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime: new Date().toISOString() }]
    const status = { phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions }
    await this.#kube
      .resource('v1/Pod')
      .patch(name, { type: 'merge', body: { status } }, { namespace, subresource: 'status' })
  }

  async #end(name: string): Promise<void> {
    const running = this.#apps.get(name)
    if (running === undefined) return
    this.#apps.delete(name)
    // The pod drains while its endpoint is taken out, as on a node.
    await (await running.app).stop()
    await this.#kube
      .resource('v1/Pod')
      .delete(name, { namespace, gracePeriodSeconds: 0 })
      .catch(() => {})
  }
}

function makeCertificate(folder: string): { key: string; cert: string } {
  const [keyFile, certFile] = [join(folder, 'tls.key'), join(folder, 'ca.crt')]
  const subject = ['-subj', '/CN=kubernetes', '-addext', 'subjectAltName=IP:127.0.0.1']
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  execFileSync('openssl', ['req', '-x509', ...key, '-keyout', keyFile, '-out', certFile, ...subject], { stdio: 'pipe' })
  return { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') }
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const end = Date.now() + 60_000
  while (!isSo()) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
