import type { AddressPool } from './addresses.ts'
import { networkClosed } from '../errors.ts'
import type { LaneGuard } from './lane-guard.ts'
import { createLanes, laneAt, removeLanes } from './lanes.ts'
import type { Lane } from './lanes.ts'
import type { NetworkPlan } from './plan.ts'

/** How many namespaces one round of tools makes: more would keep the first of a burst waiting. */
const batchSize = 8

/** Lanes that no pod has yet, made ahead of demand, and those that pods have left, taken away in rounds. */
export interface LanePool {
  /** A lane for a pod: one that is ready, or the next that is made. Rejects when the tools fail. */
  take(): Promise<Lane>
  /** Makes lanes until enough are ready; returns at once. A failure goes to `onError` and to those who wait. */
  fill(): void
  /** Takes lanes away and frees their addresses; those that come while a round is under way share the next one. */
  discard(lanes: readonly Lane[]): Promise<void>
  /** Makes no further lanes and rejects whoever waits for one. */
  close(): Promise<void>
  /** The lanes that are ready, which are the caller's from now on. */
  drain(): Lane[]
}

/** Options of {@link createLanePool}. */
export interface LanePoolOptions {
  readonly addresses: AddressPool
  /** Told of new lanes before they are used. Default: there is no guard, and pods may use addresses of others. */
  readonly guard?: LaneGuard | undefined
  /** How many lanes are kept ready. Default 3. */
  readonly ready?: number | undefined
  readonly onError?: ((error: unknown) => void) | undefined
}

export function createLanePool(plan: NetworkPlan, options: LanePoolOptions): LanePool {
  const { addresses, guard, ready: wantedReady = 3, onError } = options
  const ready: Lane[] = []
  const waiting: PromiseWithResolvers<Lane>[] = []
  const leaving: Lane[] = []
  let filling: Promise<void> | undefined
  let sweeping: Promise<void> | undefined
  let closed = false

  function fill(): void {
    filling ??= makeMissing().finally(() => {
      filling = undefined
      if (waiting.length > 0) fill()
    })
  }

  async function makeMissing(): Promise<void> {
    for (;;) {
      const missing = closed ? 0 : waiting.length + wantedReady - ready.length
      if (missing <= 0) return
      const lanes: Lane[] = []
      try {
        for (let i = 0; i < Math.min(missing, batchSize); i++) lanes.push(newLane())
        await Promise.all([guard?.admit(lanes), createLanes(plan, lanes)])
      } catch (error) {
        // Only those who wait now learn of it; the next attach tries again.
        for (const waiter of waiting.splice(0)) waiter.reject(error)
        if (lanes.length > 0) await discard(lanes)
        onError?.(error)
        return
      }
      for (const lane of lanes) handOut(lane)
    }
  }

  function newLane(): Lane {
    const lane = laneAt(plan, addresses.take())
    if (lane === undefined) throw new RangeError(`Cannot place a pod: "${plan.podCidr}" does not hold its own address`)
    return lane
  }

  function handOut(lane: Lane): void {
    const waiter = waiting.shift()
    if (waiter === undefined) ready.push(lane)
    else waiter.resolve(lane)
  }

  function discard(lanes: readonly Lane[]): Promise<void> {
    leaving.push(...lanes)
    return (sweeping ??= sweep())
  }

  async function sweep(): Promise<void> {
    try {
      while (leaving.length > 0) {
        const lanes = leaving.splice(0)
        await removeLanes(plan, lanes)
        for (const lane of lanes) addresses.release(lane.ip)
      }
    } finally {
      // Here and not in a callback: a lane that leaves in between would be waited for by nobody.
      sweeping = undefined
    }
  }

  return {
    async take() {
      const lane = ready.shift()
      if (lane !== undefined) return lane
      const waiter = Promise.withResolvers<Lane>()
      waiting.push(waiter)
      fill()
      return waiter.promise
    },
    fill,
    discard,
    async close() {
      closed = true
      await filling
      for (const waiter of waiting.splice(0)) waiter.reject(networkClosed('attach a pod to', plan.podCidr))
    },
    drain: () => ready.splice(0),
  }
}
