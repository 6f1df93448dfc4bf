import { readFile } from 'node:fs/promises'
import { arch, cpus, platform, release, totalmem } from 'node:os'
import { isAlreadyExists, isNotFound } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { renderTime } from '@fairlead/kube/controller'
import type { Clock } from '@fairlead/kube/controller'
import type { ContainerImage, Node, NodeCondition, NodeStatus } from '@fairlead/kube/types/core-v1'

import { readDisk } from './eviction/left.ts'
import { pressureConditions } from './eviction/pressure.ts'
import type { Pressure } from './eviction/pressure.ts'
import { renderAllocatable, renderCapacity } from './node-amounts.ts'
import type { NodePromise } from './node-amounts.ts'
import { describeHandlers } from './runtime-handlers.ts'

/** What a node says of itself. */
export interface NodeFacts {
  readonly nodeName: string
  readonly address: string
  /** Such as `runc://1.1.5`. */
  readonly runtimeVersion: string
  /** Whether pods are isolated, or plain processes. */
  readonly kind: 'containers' | 'processes'
  /** Why they are processes. */
  readonly reason?: string | undefined
  readonly zone?: string | undefined
  /** The folder of the node: what it has of the disk is what that has. */
  readonly dir: string
  readonly promise: NodePromise
}

const KUBELET_VERSION = 'v1.36.0'
const LEASE_SECONDS = 40
export const RENEW_MS = 10_000

/** Makes the Node object, or brings an older one up to date. */
export async function registerNode(client: KubeClient, facts: NodeFacts, clock: Clock): Promise<Node> {
  const nodes = client.resource('v1/Node')
  const { metadata, status } = await renderNode(facts, clock.now())
  const known = await nodes.get(facts.nodeName).catch((error: unknown) => {
    if (!isNotFound(error)) throw error
    return undefined
  })
  if (!known) await nodes.create({ apiVersion: 'v1', kind: 'Node', metadata, spec: {} }).catch(ignoreExisting)
  else await nodes.patch(facts.nodeName, { type: 'merge', body: { metadata } })
  return nodes.patch(facts.nodeName, { type: 'strategic', body: { status } }, { subresource: 'status' })
}

/** Tells that the node lives: renews its Lease in `kube-node-lease`, which others watch instead of the Node. */
export async function renewLease(client: KubeClient, node: Node, clock: Clock): Promise<void> {
  const leases = client.resource('coordination.k8s.io/v1/Lease')
  const name = node.metadata?.name ?? ''
  const namespace = 'kube-node-lease'
  const spec = { holderIdentity: name, leaseDurationSeconds: LEASE_SECONDS, renewTime: renderMicroTime(clock.now()) }
  try {
    await leases.patch(name, { type: 'merge', body: { spec } }, { namespace })
  } catch (error) {
    if (!isNotFound(error)) throw error
    const owner = { apiVersion: 'v1', kind: 'Node', name, uid: node.metadata?.uid ?? '' }
    const metadata = { name, namespace, ownerReferences: [owner] }
    await leases.create({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec }).catch(ignoreExisting)
  }
}

/** What a node tells of itself again and again. */
export interface NodeReport {
  readonly pressure: Pressure
  readonly images: readonly ContainerImage[]
}

/** Tells what the node is short of and which images it has, and that it has looked. */
export async function reportStatus(
  client: KubeClient,
  facts: NodeFacts,
  { pressure, images }: NodeReport,
  clock: Clock,
): Promise<void> {
  const now = renderTime(clock.now())
  const nodes = client.resource('v1/Node')
  const before = (await nodes.get(facts.nodeName)).status?.conditions ?? []
  // Others may have thought the node gone; who tells this is there.
  const ready = renderReady('True', 'KubeletReady', readyMessage(facts), clock.now())
  const conditions = [...pressureConditions(pressure), ready].map((condition) => {
    const old = before.find(({ type }) => type === condition.type)
    const since = old?.status === condition.status ? (old.lastTransitionTime ?? now) : now
    return { ...condition, lastHeartbeatTime: now, lastTransitionTime: since }
  })
  const body = { status: { conditions, images } }
  await nodes.patch(facts.nodeName, { type: 'strategic', body }, { subresource: 'status' })
}

/** Says of a node that is being stopped that its pods cannot be reached. */
export async function reportStopped(client: KubeClient, nodeName: string, clock: Clock): Promise<void> {
  const message = 'The node agent was stopped'
  const conditions = [renderReady('False', 'KubeletStopped', message, clock.now())]
  const body = { status: { conditions } }
  await client.resource('v1/Node').patch(nodeName, { type: 'strategic', body }, { subresource: 'status' })
}

function ignoreExisting(error: unknown): void {
  if (!isAlreadyExists(error)) throw error
}

async function renderNode(
  facts: NodeFacts,
  now: number,
): Promise<{ metadata: NonNullable<Node['metadata']>; status: NodeStatus }> {
  const { nodeName, kind, reason } = facts
  const architecture = goArchitecture()
  const system = platform()
  return {
    metadata: {
      name: nodeName,
      labels: {
        'kubernetes.io/hostname': nodeName,
        'kubernetes.io/os': system,
        'kubernetes.io/arch': architecture,
        'beta.kubernetes.io/os': system,
        'beta.kubernetes.io/arch': architecture,
        'fairlead.dev/pods': kind,
        ...(facts.zone !== undefined && { 'topology.kubernetes.io/zone': facts.zone }),
      },
      annotations: reason === undefined ? {} : { 'fairlead.dev/pods-are-processes': reason },
    },
    status: await renderNodeStatus(facts, now),
  }
}

async function renderNodeStatus(facts: NodeFacts, now: number): Promise<NodeStatus> {
  const { diskTotalBytes: diskBytes } = await readDisk(facts.dir)
  const machine = { cpus: cpus().length, memoryBytes: totalmem(), diskBytes }
  const read = async (path: string): Promise<string> => (await readFile(path, 'utf8').catch(() => '')).trim()
  const osRelease = await read('/etc/os-release')
  return {
    capacity: renderCapacity(machine, facts.promise),
    allocatable: renderAllocatable(machine, facts.promise),
    addresses: [
      { type: 'InternalIP', address: facts.address },
      { type: 'Hostname', address: facts.nodeName },
    ],
    conditions: [
      ...pressureConditions({ memory: false, disk: false }).map((condition) => ({
        ...condition,
        lastHeartbeatTime: renderTime(now),
        lastTransitionTime: renderTime(now),
      })),
      renderReady('True', 'KubeletReady', readyMessage(facts), now),
    ],
    ...describeHandlers(facts.kind, facts.runtimeVersion),
    nodeInfo: {
      architecture: goArchitecture(),
      bootID: await read('/proc/sys/kernel/random/boot_id'),
      containerRuntimeVersion: facts.runtimeVersion,
      kernelVersion: release(),
      kubeletVersion: KUBELET_VERSION,
      kubeProxyVersion: '',
      machineID: await read('/etc/machine-id'),
      operatingSystem: platform(),
      osImage: /^PRETTY_NAME="?([^"\n]*)/m.exec(osRelease)?.[1] ?? platform(),
      systemUUID: await read('/etc/machine-id'),
    },
  }
}

function readyMessage({ kind, reason }: NodeFacts): string {
  if (kind === 'containers') return 'The node agent is ready; pods are isolated containers'
  return `The node agent is ready; pods are plain processes${reason === undefined ? '' : `: ${reason}`}`
}

function renderReady(status: string, reason: string, message: string, now: number): NodeCondition {
  const time = renderTime(now)
  return { type: 'Ready', status, reason, message, lastHeartbeatTime: time, lastTransitionTime: time }
}

/** Kubernetes names processors as Go does. */
function goArchitecture(): string {
  return { x64: 'amd64', arm64: 'arm64', ia32: '386', arm: 'arm' }[arch() as string] ?? arch()
}

function renderMicroTime(now: number): string {
  return new Date(now).toISOString().replace('Z', '000Z')
}
