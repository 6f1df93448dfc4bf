import type { ContainerImage, Node } from '@fairlead/kube/types/core-v1'

import { Evictor } from './eviction/evictor.ts'
import { readLeft } from './eviction/left.ts'
import type { Pressure } from './eviction/pressure.ts'
import { defaultEvictionSettings } from './eviction/settings.ts'
import type { ImageKeeper } from './image-gc/image-keeper.ts'
import { rotateLog } from './log-rotation.ts'
import type { NodeContext } from './node-context.ts'
import { createImageLister } from './node-images.ts'
import type { NodeOptions } from './node-options.ts'
import type { NodePods } from './node-pods.ts'
import { messageOf } from './pod-life.ts'
import { RENEW_MS, renewLease, reportStatus } from './registration.ts'
import type { NodeFacts, NodeReport } from './registration.ts'
import { Rounds } from './rounds.ts'
import { DiskMeter } from './usage/disk-meter.ts'
import { readCgroupUsage } from './usage/read-usage.ts'
import { UsageMeter, machine } from './usage/usage-meter.ts'
import type { MeteredContainer, Readings } from './usage/usage-meter.ts'

export interface NodeUpkeepParts {
  readonly options: NodeOptions
  readonly context: NodeContext
  readonly facts: NodeFacts
  readonly pods: NodePods
  readonly imageKeeper: ImageKeeper
}

const ROTATE_MS = 10_000
/** How often it is measured what containers use, as kubelets do. */
const MEASURE_MS = 10_000
const PRUNE_MS = 3_600_000
/** How often it is looked whether images have to go, as kubelets do. */
const IMAGE_GC_MS = 300_000
const TOKEN_MS = 60_000
/** How often it is looked at what is left, as kubelets do. */
const GUARD_MS = 10_000
/** A node whose state does not change says so again after this long. */
const HEARTBEAT_MS = 300_000
/** Layers stay for so long after their last use. */
const UNUSED_LAYER_MS = 24 * 3_600_000

/** What a node does again and again, whatever becomes of its pods: lease, status, usage, eviction, logs, tokens, layers. */
export class NodeUpkeep {
  readonly #parts: NodeUpkeepParts
  readonly #rounds: Rounds
  readonly #meter: UsageMeter
  readonly #evictor: Evictor
  readonly #listImages: () => Promise<readonly ContainerImage[]>
  readonly #leaveKeeper: () => void
  #node: Node | undefined
  #hasGcFailed = false
  #told: { readonly text: string; readonly at: number } = { text: '', at: 0 }

  constructor(parts: NodeUpkeepParts) {
    const { options, context, pods, imageKeeper } = parts
    const { clock, onError, nodeName } = context
    this.#parts = parts
    this.#rounds = new Rounds(clock, onError)
    this.#listImages = createImageLister(context.layout)
    this.#meter = createMeter(options, context)
    this.#evictor = new Evictor({
      settings: options.eviction ?? defaultEvictionSettings,
      workers: () => pods.workers,
      memoryOf: (uid) => this.#memoryOf(uid),
      disk: new DiskMeter(() => clock.now()),
      readLeft: () => (options.readLeft ?? readLeft)(options.dir, options.images),
      reclaimDisk: () => this.#reclaimDisk(),
      event: (type, reason, message) => this.#event(type, reason, message),
      nodeName,
      now: () => clock.now(),
      onError,
    })
    this.#leaveKeeper = imageKeeper.join({
      inUse: () => pods.workers.flatMap((worker) => worker.images),
      pruneLayers: (images, unusedMs) => context.runtime.prune(images, unusedMs),
    })
  }

  get readings(): Readings {
    return this.#meter.readings
  }

  /** What the node is short of. */
  get pressure(): Pressure {
    return this.#evictor.pressure
  }

  start(node: Node): void {
    const { context, pods } = this.#parts
    this.#node = node
    const rounds = this.#rounds
    rounds.every(RENEW_MS, () => renewLease(this.#parts.options.client, node, context.clock))
    rounds.every(ROTATE_MS, () => this.#rotateLogs())
    void this.#measure().catch(context.onError)
    rounds.every(MEASURE_MS, () => this.#measure())
    rounds.every(PRUNE_MS, () => this.#prune())
    rounds.every(IMAGE_GC_MS, () => this.#collectImages())
    rounds.every(TOKEN_MS, async () => pods.renewTokens())
    rounds.every(GUARD_MS, () => this.#guard())
  }

  close(): void {
    this.#rounds.close()
    this.#leaveKeeper()
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    if (this.#node !== undefined) this.#parts.context.events.record(this.#node, { type, reason, message })
  }

  async #measure(): Promise<void> {
    const { context, pods } = this.#parts
    const found = await Promise.all(
      pods.workers.flatMap(({ pod, cgroupPath, runningContainers }) =>
        runningContainers.map(async ({ name, id }): Promise<MeteredContainer[]> => {
          const state = await context.runtime.state(id)
          if (state?.status !== 'running' || state.startedAt === undefined) return []
          const { namespace = '', name: podName = '', uid = '' } = pod.metadata ?? {}
          const { pid, startedAt } = state
          return [
            { id, name, pod: { namespace, name: podName, uid }, pid, startedAt, cgroupPath: `${cgroupPath}/${id}` },
          ]
        }),
      ),
    )
    await this.#meter.sample(found.flat(), context.clock.now())
  }

  #memoryOf(podUid: string): ReadonlyMap<string, number> {
    const own = this.#meter.readings.containers.filter(({ container }) => container.pod.uid === podUid)
    return new Map(own.map(({ container, latest }) => [container.name, latest.memoryBytes]))
  }

  /** Evicts who has to go, and tells how the node is. */
  async #guard(): Promise<void> {
    await this.#evictor.look()
    await this.#tellStatus({ pressure: this.pressure, images: await this.#listImages() })
  }

  async #tellStatus(report: NodeReport): Promise<void> {
    const { options, facts, context } = this.#parts
    const text = JSON.stringify(report)
    const now = context.clock.now()
    if (this.#told.text === text && now - this.#told.at < HEARTBEAT_MS) return
    await reportStatus(options.client, facts, report, context.clock)
    this.#told = { text, at: now }
  }

  async #rotateLogs(): Promise<void> {
    const { context, pods, options } = this.#parts
    for (const worker of pods.workers) {
      for (const { id, path } of worker.openLogs) {
        await rotateLog(path, () => context.runtime.reopenLog(id), options.logRotation)
      }
    }
  }

  /** What nobody needs: leftovers of pods, unpacked layers, images. */
  async #reclaimDisk(): Promise<void> {
    await this.#parts.pods.sweep()
    await this.#parts.imageKeeper.reclaim()
  }

  /** Once may be by chance; who fails again says so, as kubelets do. */
  async #collectImages(): Promise<void> {
    const { imageKeeper } = this.#parts
    const { shortfall, failure } = await imageKeeper.collect().then(
      (told) => ({ shortfall: told, failure: told }),
      (error: unknown) => ({ shortfall: undefined, failure: messageOf(error) }),
    )
    if (shortfall !== undefined) this.#event('Warning', 'FreeDiskSpaceFailed', shortfall)
    if (failure !== undefined && this.#hasGcFailed) this.#event('Warning', 'ImageGCFailed', failure)
    this.#hasGcFailed = failure !== undefined
  }

  async #prune(): Promise<void> {
    const { layout, runtime } = this.#parts.context
    const images = []
    for (const { reference } of await layout.list()) {
      const image = await layout.resolve(reference).catch(() => undefined)
      if (image) images.push(image)
    }
    await runtime.prune(images, UNUSED_LAYER_MS)
  }
}

/** One node among several has used what its pods have, not what the machine has. */
function createMeter({ nodesOfMachine = 1 }: NodeOptions, { cgroupParent }: NodeContext): UsageMeter {
  if (nodesOfMachine === 1) return new UsageMeter()
  return new UsageMeter({ ...machine, readNode: () => readCgroupUsage(cgroupParent) })
}
