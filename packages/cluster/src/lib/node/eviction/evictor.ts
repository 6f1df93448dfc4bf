import type { Pod } from '@fairlead/kube/types/core-v1'

import type { PodWorker } from '../pod-worker.ts'
import type { DiskMeter } from '../usage/disk-meter.ts'
import { findOverfull, hasDiskLimits } from './disk-limits.ts'
import { observe } from './left.ts'
import type { Left } from './left.ts'
import { describeEviction, resourceOf } from './messages.ts'
import { judgePressure, nothingWatched, pressureEvents } from './pressure.ts'
import type { Pressure } from './pressure.ts'
import { isCritical, rankForEviction } from './rank.ts'
import type { PodUse } from './rank.ts'
import type { EvictionSettings } from './settings.ts'
import { findMet, shortageOf } from './thresholds.ts'
import type { Observations, Threshold } from './thresholds.ts'

/** A pod of the node, as far as it matters whether it has to go. */
export type EvictablePod = Pick<PodWorker, 'uid' | 'pod' | 'diskPlaces' | 'isAtRest' | 'evict'>

export interface EvictorParts {
  readonly settings: EvictionSettings
  readonly workers: () => readonly EvictablePod[]
  /** Bytes of memory by container of a pod. */
  readonly memoryOf: (podUid: string) => ReadonlyMap<string, number>
  readonly disk: DiskMeter
  readonly readLeft: () => Promise<Left>
  /** Frees what of the disk no pod needs. */
  readonly reclaimDisk: () => Promise<void>
  /** Tells of the node. */
  readonly event: (type: 'Normal' | 'Warning', reason: string, message: string) => void
  readonly nodeName: string
  readonly now: () => number
  readonly onError: (error: unknown) => void
}

/** What a pod has to end that goes at once. */
const IMMEDIATE_GRACE_MS = 1000
const DEFAULT_GRACE_SECONDS = 30
/** An evicted pod may take so long to be cleared away before the next has to go. */
const CLEARING_MS = 30_000

/**
 * Evicts pods that take more of the disk than they may, and one after the other where the node is short of something that
 * cannot be won back otherwise (Kubernetes, "Node-pressure Eviction").
 */
export class Evictor {
  readonly #parts: EvictorParts
  #watched = nothingWatched
  #pressure: Pressure = { memory: false, disk: false }
  /** Evicted, and not cleared away yet. */
  #going: { readonly worker: EvictablePod; readonly until: number } | undefined

  constructor(parts: EvictorParts) {
    this.#parts = parts
  }

  /** What the node was short of when it was looked at last. */
  get pressure(): Pressure {
    return this.#pressure
  }

  /** Looks how the node is, and does what has to be done. */
  async look(): Promise<void> {
    const { settings, readLeft, now } = this.#parts
    const seen = observe(await readLeft())
    const options = { transitionMs: settings.transitionMs, now: now() }
    const { watched, pressure, due } = judgePressure(this.#watched, settings.thresholds, seen, options)
    this.#watched = watched
    this.#tell(pressure)
    const [first] = due
    await this.#measure({ isForAll: first !== undefined && shortageOf(first) === 'disk' })
    if (this.#evictOverfull() || first === undefined) return
    await this.#relieve(first, seen)
  }

  #tell(pressure: Pressure): void {
    const { event, nodeName } = this.#parts
    for (const reason of pressureEvents(this.#pressure, pressure))
      event('Normal', reason, `Node ${nodeName} status is now: ${reason}`)
    this.#pressure = pressure
  }

  /** Where the disk is short of room all pods count, otherwise those that may take only so much. */
  async #measure({ isForAll }: { readonly isForAll: boolean }): Promise<void> {
    const concerned = this.#active().filter(({ pod }) => isForAll || hasDiskLimits(pod))
    await this.#parts.disk.measure(
      concerned.map((worker) => worker.diskPlaces),
      { isUrgent: isForAll },
    )
  }

  #active(): EvictablePod[] {
    return this.#parts.workers().filter(({ pod }) => !isOver(pod))
  }

  #evictOverfull(): boolean {
    let isAny = false
    for (const worker of this.#active()) {
      const use = this.#parts.disk.useOf(worker.uid)
      const why = use && !isCritical(worker.pod) ? findOverfull(worker.pod, use) : undefined
      if (why !== undefined) isAny = worker.evict(why, { graceMs: IMMEDIATE_GRACE_MS }) || isAny
    }
    return isAny
  }

  /** What nobody needs goes first, then one pod. */
  async #relieve(threshold: Threshold, seen: Observations): Promise<void> {
    const { event, settings, readLeft, reclaimDisk, onError } = this.#parts
    event('Warning', 'EvictionThresholdMet', `Attempting to reclaim ${resourceOf(threshold)}`)
    if (shortageOf(threshold) === 'disk') {
      await reclaimDisk().catch(onError)
      const left = observe(await readLeft())
      if (findMet(settings.thresholds, left, { withReclaim: true }).length === 0) return
    }
    if (this.#isOneGoing()) return
    const left = await readLeft()
    // Pods write to the disk of the node: where images lie on another one, ending pods frees nothing there.
    if (threshold.signal.startsWith('imagefs') && left.images !== undefined) return
    this.#evictOne(threshold, seen)
  }

  /** What it frees is seen when it is cleared away: the next would go for nothing. */
  #isOneGoing(): boolean {
    return this.#going !== undefined && !this.#going.worker.isAtRest && this.#parts.now() < this.#going.until
  }

  #evictOne(threshold: Threshold, seen: Observations): void {
    const uses = this.#active().map((worker) => ({ worker, ...this.#useOf(worker) }))
    for (const { pod, worker } of rankForEviction(uses, shortageOf(threshold))) {
      const message = describeEviction(threshold, seen, pod, this.#usageOf(threshold, worker))
      const graceMs = this.#graceOf(threshold, pod)
      if (!worker.evict(message, { graceMs, isForNode: true })) continue
      this.#going = { worker, until: this.#parts.now() + graceMs + CLEARING_MS }
      return
    }
  }

  #useOf({ pod, uid }: EvictablePod): PodUse {
    const { memoryOf, disk } = this.#parts
    const memoryBytes = [...memoryOf(uid).values()].reduce((sum, bytes) => sum + bytes, 0)
    return { pod, memoryBytes, diskBytes: disk.useOf(uid)?.totalBytes }
  }

  #usageOf(threshold: Threshold, { uid }: EvictablePod): ReadonlyMap<string, number> {
    const { memoryOf, disk } = this.#parts
    if (shortageOf(threshold) === 'memory') return memoryOf(uid)
    return disk.useOf(uid)?.containers ?? new Map()
  }

  #graceOf({ graceMs }: Threshold, { spec }: Pod): number {
    if (graceMs === undefined) return IMMEDIATE_GRACE_MS
    const own = (spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000
    return Math.min(own, this.#parts.settings.mostGraceMs)
  }
}

function isOver({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed'
}
