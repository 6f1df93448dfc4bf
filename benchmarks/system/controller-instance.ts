// One process of the controller benchmark: `node controller-instance.ts MODE API ARGS...`. Prints one line of JSON.
import { randomUUID } from 'node:crypto'
import { connectKube, createKubeconfig, renderKubeconfig } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { createInformer } from '@fairlead/kube/cache'
import { parseKey, runController } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'

import type { ApiAddress } from './api-load.ts'

export type Mode = 'reconcile' | 'fill' | 'cache' | 'peer-cache'

export interface ReconcileResult {
  perSecond: number[]
}

export interface CacheResult {
  bytesPerPod: number
  syncMs: number
  residentMiB: number
}

const group = 'bench.example.com'
const [mode = '', address = '', ...numbers] = process.argv.slice(2)
const { port, token, ca } = JSON.parse(address) as ApiAddress
const kubeconfig = createKubeconfig({ name: 'a', server: `https://127.0.0.1:${port}`, token, certificateAuthority: ca })
const [count = 0, rounds = 0] = numbers.map(Number)

const client = connectKube({ kubeconfig })
console.log(JSON.stringify(await measure(mode as Mode)))
await client.close()
process.exit(0)

async function measure(asked: Mode): Promise<unknown> {
  switch (asked) {
    case 'reconcile':
      return await measureReconciles(client)
    case 'fill':
      return await fill(client)
    case 'cache':
      return await measureCache(async () => {
        const informer = createInformer(client.resource('v1/Pod'), { signal: new AbortController().signal })
        await informer.start()
        return { size: informer.list().length, informer }
      })
    case 'peer-cache':
      return await measurePeer()
  }
}

/** A custom resource, as an operator has: its status is written whenever it is not what this round wants. */
async function measureReconciles(api: KubeClient): Promise<ReconcileResult> {
  await defineWidgets(api)
  const widgets = api.object(`${group}/v1`, 'Widget')
  const names = Array.from({ length: count }, (_, index) => `widget-${index}`)
  await each(names, async (name) => {
    await widgets.create({ apiVersion: `${group}/v1`, kind: 'Widget', metadata: { name }, spec: { size: 3 } })
  })
  const stop = new AbortController()
  const informer = createInformer(widgets, { signal: stop.signal })
  const done = new Set<string>()
  let round = 0
  let finished = Promise.withResolvers<void>()
  let add = (_key: string): void => {}
  const running = runController({
    name: 'widgets',
    signal: stop.signal,
    concurrency: 32,
    sources: [
      {
        start(to) {
          add = to
          // Every write comes back as an event, and is looked at again.
          informer.on((_event, { metadata }) => to(`${metadata?.namespace}/${metadata?.name}`))
          return informer.start()
        },
      },
    ],
    async reconcile(key) {
      const { namespace, name } = parseKey(key)
      const widget = informer.get(namespace, name) as { status?: { round?: number } } | undefined
      if (round === 0 || widget === undefined || widget.status?.round === round || done.has(key)) return
      await widgets.patch(name, { type: 'merge', body: { status: { round } } }, { namespace, subresource: 'status' })
      done.add(key)
      if (done.size === count) finished.resolve()
    },
  })
  const perSecond: number[] = []
  // The first round is not counted: the code is compiled in it.
  for (round = 1; round <= rounds + 1; round += 1) {
    finished = Promise.withResolvers<void>()
    done.clear()
    const startedAt = performance.now()
    for (const name of names) add(`default/${name}`)
    await finished.promise
    if (round > 1) perSecond.push((count * 1000) / (performance.now() - startedAt))
  }
  stop.abort()
  await running
  return { perSecond }
}

async function defineWidgets(api: KubeClient): Promise<void> {
  const definitions = api.object('apiextensions.k8s.io/v1', 'CustomResourceDefinition')
  const schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
  const openAPIV3Schema = { type: 'object', properties: { spec: schema, status: schema } }
  const version = { name: 'v1', served: true, storage: true, subresources: { status: {} }, schema: { openAPIV3Schema } }
  const definition = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `widgets.${group}` },
    spec: { group, scope: 'Namespaced', names: { plural: 'widgets', kind: 'Widget' }, versions: [version] },
  }
  await definitions.create(definition)
  for (;;) {
    const { status } = (await definitions.get(`widgets.${group}`)) as { status?: { conditions?: { type: string }[] } }
    if (status?.conditions?.some(({ type }) => type === 'Established') === true) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item)
  }
  await Promise.all(Array.from({ length: 32 }, worker))
}

async function fill(api: KubeClient): Promise<{ filled: number }> {
  const pods = api.resource('v1/Pod')
  await each(
    Array.from({ length: count }, (_, index) => index),
    async (index) => {
      const { status, ...pod } = podOf(index)
      const { metadata } = await pods.create(pod)
      await pods.patch(metadata?.name ?? '', { type: 'strategic', body: { status } }, { subresource: 'status' })
    },
  )
  return { filled: count }
}

/** One of 100 per ReplicaSet: what is equal among them is what is equal in a cluster. */
function podOf(index: number): Pod {
  const set = index % 100
  const name = `service-${set}`
  const ready = new Date(1.7e12 + index * 1000).toISOString().replace(/\.\d+/, '')
  const ip = `10.1.${index >> 8}.${index & 255}`
  return {
    metadata: {
      name: `${name}-7d9f8b6c5d-${(index * 7919).toString(36).padStart(5, '0')}`,
      namespace: 'default',
      labels: { app: name, 'pod-template-hash': '7d9f8b6c5d', 'app.kubernetes.io/part-of': 'shop', version: '1.2.3' },
      annotations: { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '9090' },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `${name}-7d9f8b6c5d`,
          uid: `7b8c9d0e-0000-4000-8000-${String(set).padStart(12, '0')}`,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      nodeName: `node-${index % 50}`,
      containers: [
        {
          name: 'app',
          image: `registry.example.com/shop/${name}:1.2.3`,
          ports: [{ name: 'http', containerPort: 8080 }],
          env: Array.from({ length: 12 }, (_, key) => ({ name: `SETTING_${key}`, value: `value ${key} of ${name}` })),
          resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { memory: '128Mi' } },
          livenessProbe: { httpGet: { path: '/livez', port: 8080 }, periodSeconds: 10 },
          readinessProbe: { httpGet: { path: '/readyz', port: 8080 }, periodSeconds: 5 },
          volumeMounts: [{ name: 'config', mountPath: '/etc/config', readOnly: true }],
        },
      ],
      volumes: [{ name: 'config', configMap: { name } }],
    },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      hostIP: `192.168.0.${index % 50}`,
      startTime: ready,
      conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled', 'PodReadyToStartContainers'].map(
        (type) => {
          return { type, status: 'True', lastTransitionTime: ready }
        },
      ),
      containerStatuses: [
        {
          name: 'app',
          ready: true,
          started: true,
          restartCount: 0,
          image: `registry.example.com/shop/${name}:1.2.3`,
          imageID: `registry.example.com/shop/${name}@sha256:${'5e'.repeat(32)}`,
          containerID: `containerd://${randomUUID().replaceAll('-', '')}${randomUUID().replaceAll('-', '')}`,
          state: { running: { startedAt: ready } },
        },
      ],
    },
  }
}

async function measureCache(open: () => Promise<{ size: number }>): Promise<CacheResult> {
  const before = heapBytes()
  const startedAt = performance.now()
  const opened = await open()
  const syncMs = performance.now() - startedAt
  const residentMiB = process.memoryUsage.rss() / 2 ** 20
  if (opened.size !== count) throw new Error(`The cache has ${opened.size} pods, expected ${count}`)
  await new Promise((resolve) => setTimeout(resolve, 200))
  return { bytesPerPod: (heapBytes() - before) / opened.size, syncMs, residentMiB }
}

async function measurePeer(): Promise<CacheResult> {
  const { CoreV1Api, KubeConfig, makeInformer } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  config.loadFromString(renderKubeconfig(kubeconfig))
  const core = config.makeApiClient(CoreV1Api)
  return await measureCache(async () => {
    const informer = makeInformer(config, '/api/v1/pods', () => core.listPodForAllNamespaces())
    await informer.start()
    return { size: informer.list().length, informer }
  })
}

function heapBytes(): number {
  globalThis.gc?.()
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}
