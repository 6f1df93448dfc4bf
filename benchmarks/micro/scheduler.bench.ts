// How many pods a second get their node: decided alone, and with all that is written of them (binding, event) to an API server in
// memory in the same process. 100 nodes, 10,000 pods that are there before the scheduler begins.
//   npm run bench -- scheduler [--json] [--save]
import { createKubeClient } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { createApiServer, openStore } from '@fairlead/cluster/apiserver'
import { createInformer } from '@fairlead/kube/cache'
import type { Node, Pod } from '@fairlead/kube/types/core-v1'
import { findPlace } from '../../packages/cluster/src/lib/scheduler/find-place.ts'
import type { Scene } from '../../packages/cluster/src/lib/scheduler/find-place.ts'
import { runScheduler } from '../../packages/cluster/src/lib/scheduler/run-scheduler.ts'
import { Snapshot } from '../../packages/cluster/src/lib/scheduler/snapshot.ts'
import { figureOf, report } from '../report.ts'

const nodeCount = 100
const podCount = 10_000
const rounds = 3

function nodeOf(index: number): Node {
  const name = `node-${index}`
  const labels = { 'kubernetes.io/hostname': name, 'topology.kubernetes.io/zone': `zone-${index % 3}` }
  const allocatable = { cpu: '32', memory: '64Gi', pods: '110' }
  return { metadata: { name, labels }, status: { allocatable, conditions: [{ type: 'Ready', status: 'True' }] } }
}

const plain = (): object => ({})
/** Replicas of 50 Deployments. */
const replica = (index: number): Pod['metadata'] & object => {
  const name = `app-${index % 50}`
  return {
    labels: { app: name },
    ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name, uid: name, controller: true }],
  }
}

function podOf(index: number, more: (index: number) => object): Pod {
  const resources = { requests: { cpu: '100m', memory: '128Mi' } }
  return {
    metadata: { name: `pod-${index}`, namespace: 'default', ...more(index) },
    spec: { containers: [{ name: 'app', image: 'app:1', resources }] },
  }
}

/** Pods a second that a node is found for, each placed before the next. */
function decideAll(more: (index: number) => object): number {
  const snapshot = new Snapshot()
  for (let index = 0; index < nodeCount; index++) snapshot.setNode(nodeOf(index))
  const pods = Array.from({ length: podCount }, (_, index) => Object.freeze(podOf(index, more)))
  const scene: Scene = {
    views: snapshot.views,
    namespaces: () => undefined,
    nominatedOn: (name) => snapshot.nominatedOn(name),
  }
  const begun = performance.now()
  for (const pod of pods) {
    const found = findPlace(pod, scene)
    if ('verdicts' in found) throw new Error('a node should take the pod')
    snapshot.place(pod, found.view.name)
  }
  return podCount / ((performance.now() - begun) / 1000)
}

async function fill(client: KubeClient): Promise<void> {
  for (let index = 0; index < nodeCount; index++) {
    const { metadata, status } = nodeOf(index)
    const name = metadata?.name ?? ''
    await client.resource('v1/Node').create({ metadata })
    await client.resource('v1/Node').patch(name, { type: 'merge', body: { status } }, { subresource: 'status' })
  }
  for (let first = 0; first < podCount; first += 100) {
    const batch = Array.from({ length: 100 }, (_, index) => podOf(first + index, replica))
    await Promise.all(batch.map((pod) => client.resource('v1/Pod').create(pod)))
  }
}

interface Run {
  readonly perSecond: number
  /** Of the whole process: scheduler, API server, and the watcher. */
  readonly cpuMsPerPod: number
}

/** From the start of the scheduler until a watcher has seen the last of the pods on its node. */
async function scheduleAll(): Promise<Run> {
  await using store = await openStore({ dir: '', durability: 'memory' })
  await using server = createApiServer({ store })
  const client = createKubeClient({ transport: server.transport({ user: 'admin', groups: ['system:masters'] }) })
  await fill(client)
  const stop = new AbortController()
  const { signal } = stop
  const { promise: all, resolve } = Promise.withResolvers<void>()
  const informer = createInformer(client.resource('v1/Pod'), { signal })
  await informer.start()
  let placed = 0
  informer.on((event) => {
    if (event === 'update' && ++placed === podCount) resolve()
  })
  const [begun, cpu] = [performance.now(), process.cpuUsage()]
  const running = runScheduler({ client, signal })
  await all
  const seconds = (performance.now() - begun) / 1000
  const { user, system } = process.cpuUsage(cpu)
  stop.abort()
  await running
  return { perSecond: podCount / seconds, cpuMsPerPod: (user + system) / 1000 / podCount }
}

const decided: Record<'plain' | 'replica', number[]> = { plain: [], replica: [] }
const runs: Run[] = []
for (let round = 0; round < rounds; round++) {
  decided.plain.push(decideAll(plain))
  decided.replica.push(decideAll(replica))
  runs.push(await scheduleAll())
}
report('scheduler', [
  figureOf(`pods decided over ${nodeCount} nodes`, '/s', decided.plain),
  figureOf(`replicas decided over ${nodeCount} nodes`, '/s', decided.replica),
  figureOf(
    'replicas scheduled, bound and seen on their nodes',
    '/s',
    runs.map(({ perSecond }) => perSecond),
    { atLeast: 1000 },
  ),
  figureOf(
    'CPU of the process per pod',
    'ms',
    runs.map(({ cpuMsPerPod }) => cpuMsPerPod),
    { atMost: 1 },
  ),
])
