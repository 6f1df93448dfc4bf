import { createHash } from 'node:crypto'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { createEventRecorder, systemClock } from '@fairlead/kube/controller'
import { openLayout } from '@fairlead/oci/layout'
import type { Layout } from '@fairlead/oci/layout'
import { pullImage } from '@fairlead/oci/registry'
import type { AdmitImage, ImagePolicy } from '@fairlead/oci/sign'
import { openRuntime } from '@fairlead/oci/runtime'
import type { ContainerRuntime } from '@fairlead/oci/runtime'

import { Clearing } from './clearing.ts'
import { createCoalescingClock } from './coalescing-clock.ts'
import { defaultEvictionSettings } from './eviction/settings.ts'
import { Turns } from './turns.ts'
import { Grants } from './grants.ts'
import { ImageKeeper } from './image-gc/image-keeper.ts'
import { pulledFile } from './image-gc/pulled-images.ts'
import { defaultImageGcSettings } from './image-gc/settings.ts'
import type { PullImage } from './images.ts'
import { createKubelet } from './kubelet.ts'
import type { Kubelet } from './kubelet.ts'
import { readHostResolvConf } from './name-files.ts'
import { openMemoryVolumes } from './memory-volumes.ts'
import type { NodeContext } from './node-context.ts'
import { runtimeDirs, runtimeMode } from './node-options.ts'
import type { NodeOptions } from './node-options.ts'
import { NodePods } from './node-pods.ts'
import { NodeUpkeep } from './node-upkeep.ts'
import { openPodRecords } from './pod-records.ts'
import { registerNode, renewLease, reportStopped } from './registration.ts'
import type { NodeFacts } from './registration.ts'
import { readServiceEnvironment } from './service-environment.ts'
import { createSources, createTokenCache } from './sources.ts'

/** A running node agent. */
export interface NodeAgent {
  readonly kubelet: Kubelet
  /** Name and version of the runtime, `runc://1.1.5` or `process://24.1.0`. */
  readonly runtimeVersion: string
  /** Whether pods are isolated, or plain processes; `reason` says why the latter when not asked for. */
  readonly kind: 'containers' | 'processes'
  readonly reason?: string | undefined
  /** Resolves when the agent has stopped. */
  readonly done: Promise<void>
  /** Stops the agent: with its pods, each given `graceMs` (default 10,000) at most, or without. */
  stop(options?: { readonly stopPods?: boolean | undefined; readonly graceMs?: number | undefined }): Promise<void>
}

const DEFAULT_GRACE_MS = 10_000

/**
 * Runs the pods that are bound to a node, as the kubelet does: registers the Node and keeps its Lease, adopts what an
 * earlier agent left running, starts, probes, restarts and stops containers, and writes pod status. Resolves when the
 * agent works; it goes on until stopped.
 */
export async function runNode(options: NodeOptions): Promise<NodeAgent> {
  const agent = await Agent.open(options)
  await agent.start()
  return agent
}

interface AgentParts {
  readonly context: NodeContext
  readonly facts: NodeFacts
  readonly pods: NodePods
  readonly upkeep: NodeUpkeep
}

class Agent implements NodeAgent {
  readonly kubelet: Kubelet
  readonly done: Promise<void>
  readonly #options: NodeOptions
  readonly #parts: AgentParts
  readonly #finished = Promise.withResolvers<void>()
  #stopped: Promise<void> | undefined

  private constructor(options: NodeOptions, parts: AgentParts) {
    this.#options = options
    this.#parts = parts
    this.done = this.#finished.promise
    const { context, pods, upkeep } = parts
    const find = pods.find.bind(pods)
    this.kubelet = createKubelet(find, () => pods.workers, context.runtime, {
      nodeName: options.nodeName,
      read: async () => upkeep.readings,
    })
  }

  static async open(options: NodeOptions): Promise<Agent> {
    const { client } = options
    const imageKeeper = options.imageKeeper ?? (await openKeeper(options))
    const { context, reason, tokens } = await openContext(options, imageKeeper)
    const facts = factsOf(options, context, reason)
    const kept = await context.records.readAll()
    const pods: NodePods = new NodePods({ client, context, tokens, kept, pressure: () => upkeep.pressure })
    const upkeep = new NodeUpkeep({ options, context, facts, pods, imageKeeper })
    return new Agent(options, { context, facts, pods, upkeep })
  }

  get runtimeVersion(): string {
    return this.#parts.facts.runtimeVersion
  }

  get kind(): ContainerRuntime['kind'] {
    return this.#parts.facts.kind
  }

  get reason(): string | undefined {
    return this.#parts.facts.reason
  }

  async start(): Promise<void> {
    const { client, signal, stopPods } = this.#options
    const { context, facts, pods, upkeep } = this.#parts
    signal?.addEventListener('abort', () => void this.stop({ stopPods }).catch(context.onError), { once: true })
    const node = await registerNode(client, facts, context.clock)
    await renewLease(client, node, context.clock)
    context.runtime.onExit((id) => pods.noticed(id))
    await pods.follow(node)
    upkeep.start(node)
  }

  stop({ stopPods = false, graceMs = DEFAULT_GRACE_MS }: Parameters<NodeAgent['stop']>[0] = {}): Promise<void> {
    this.#stopped ??= this.#stop(stopPods, graceMs).finally(() => this.#finished.resolve())
    return this.#stopped
  }

  async #stop(stopPods: boolean, graceMs: number): Promise<void> {
    const { client, nodeName } = this.#options
    const { context, pods, upkeep } = this.#parts
    upkeep.close()
    await pods.close({ stopPods, graceMs })
    await context.events.flush()
    if (stopPods) {
      await context.runtime.removeCgroup(context.cgroupParent)
      await context.memoryVolumes?.remove()
      await reportStopped(client, nodeName, context.clock).catch(context.onError)
    }
    await context.runtime.close()
  }
}

/** Of the images of one node; several of a machine share one. */
async function openKeeper({ images, dir, imageGc, clock = systemClock }: NodeOptions): Promise<ImageKeeper> {
  const settings = imageGc ?? defaultImageGcSettings
  return await ImageKeeper.open({ layout: await openLayout(images), file: join(dir, pulledFile), settings, clock })
}

async function openContext(
  options: NodeOptions,
  imageKeeper: ImageKeeper,
): Promise<{ context: NodeContext; reason: string | undefined; tokens: ReturnType<typeof createTokenCache> }> {
  const { client, network, dir, nodeName, nodesOfMachine = 1, clock = systemClock, onError = () => {} } = options
  const layout = await openLayout(options.images)
  const { runtime, reason } = await openRuntime(runtimeMode(options), runtimeDirs(options, layout))
  const tokens = createTokenCache(client, clock)
  const context: NodeContext = {
    nodeName,
    clock,
    probeClock: createCoalescingClock(clock),
    clearing: new Clearing(clock),
    turns: options.turns ?? createTurns(),
    runtime,
    layout,
    network,
    records: await openPodRecords(dir),
    memoryVolumes: runtime.kind === 'containers' ? await openMemoryVolumes(join(dir, 'memory')) : undefined,
    events: createEventRecorder(client, 'kubelet', { host: nodeName, onError, clock }),
    onError,
    admit: options.imagePolicy && (await loadAdmission(options.imagePolicy, layout)),
    pull: imageKeeper.keeping(options.pull ?? pullInto(layout)),
    openRegistryClient: options.openRegistryClient,
    ownRegistries: options.ownRegistries,
    pods: client.resource('v1/Pod'),
    sources: createSources(client, tokens),
    hostIp: network.gateway,
    // Nodes of one machine have equal parts of it.
    cpus: cpus().length / nodesOfMachine,
    memoryBytes: Math.floor(totalmem() / nodesOfMachine),
    clusterDns: options.clusterDns,
    clusterDomain: options.clusterDomain ?? 'cluster.local',
    hostResolvConf: await readHostResolvConf(),
    cgroupParent: `/fairlead-${createHash('sha256').update(dir).digest('hex').slice(0, 8)}`,
    seccompDir: join(dir, 'seccomp'),
    grants: new Grants(),
    serviceEnvironment: (pod) => readServiceEnvironment(client, pod),
  }
  return { context, tokens, reason: reason ?? (runtime.kind === 'processes' ? network.reason : undefined) }
}

function pullInto(layout: Layout): PullImage {
  return async (reference, asked) => void (await pullImage(reference, { layout, ...asked }))
}

/** Most of the time of each is a core's, the rest waits for the kernel. */
export function createTurns(): Turns {
  return new Turns(4 * cpus().length)
}

function factsOf(options: NodeOptions, { runtime, hostIp }: NodeContext, reason: string | undefined): NodeFacts {
  const { nodeName, dir, maxPods = 110, zone, nodesOfMachine = 1, eviction = defaultEvictionSettings } = options
  const { version: runtimeVersion, kind } = runtime
  const promise = { maxPods, nodesOfMachine, thresholds: eviction.thresholds }
  return { nodeName, address: hostIp, runtimeVersion, kind, reason, zone, dir, promise }
}

/** Loaded for a policy only: what checks signatures computes its curves first. */
async function loadAdmission(policy: ImagePolicy, layout: Layout): Promise<AdmitImage> {
  const { createAdmission } = await import('@fairlead/oci/sign')
  return createAdmission({ policy, layout })
}
