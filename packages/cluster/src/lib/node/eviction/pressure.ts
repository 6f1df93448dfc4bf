import type { NodeCondition } from '@fairlead/kube/types/core-v1'

import { findMet, shortageOf } from './thresholds.ts'
import type { Observations, Shortage, Threshold } from './thresholds.ts'

/** What a node is short of. */
export interface Pressure {
  readonly memory: boolean
  readonly disk: boolean
}

/** What is remembered from one look to the next. Times in milliseconds since 1970. */
export interface Watched {
  /** Since when thresholds are not kept. */
  readonly since: ReadonlyMap<Threshold, number>
  /** When the node was short of something last. */
  readonly last: ReadonlyMap<Shortage, number>
  /** Those for which pods had to go and that are not made up for. */
  readonly open: readonly Threshold[]
}

export const nothingWatched: Watched = { since: new Map(), last: new Map(), open: [] }

/** What a look has found. */
export interface Finding {
  readonly watched: Watched
  readonly pressure: Pressure
  /** Those for which something has to be done now, memory first. */
  readonly due: readonly Threshold[]
}

export interface WatchOptions {
  /** For how long a node calls itself short of something after it was (`evictionPressureTransitionPeriod`). */
  readonly transitionMs: number
  readonly now: number
}

/** Judges what was seen by what was seen before (kubelet, eviction manager). Pure. */
export function judgePressure(
  before: Watched,
  thresholds: readonly Threshold[],
  seen: Observations,
  { transitionMs, now }: WatchOptions,
): Finding {
  const still = findMet(before.open, seen, { withReclaim: true })
  const met = [...new Set([...findMet(thresholds, seen, { withReclaim: false }), ...still])]
  const since = new Map(met.map((threshold) => [threshold, before.since.get(threshold) ?? now]))
  const last = new Map([...before.last, ...met.map((threshold) => [shortageOf(threshold), now] as const)])
  const isShort = (what: Shortage): boolean => met.some((one) => shortageOf(one) === what) || isRecent(last.get(what))
  const isRecent = (at: number | undefined): boolean => at !== undefined && now - at < transitionMs
  const due = met.filter((threshold) => now - (since.get(threshold) ?? now) >= (threshold.graceMs ?? 0))
  return {
    watched: { since, last, open: due },
    pressure: { memory: isShort('memory'), disk: isShort('disk') },
    due: due.toSorted((a, b) => Number(shortageOf(b) === 'memory') - Number(shortageOf(a) === 'memory')),
  }
}

type PressureCondition = Required<Pick<NodeCondition, 'type' | 'status' | 'reason' | 'message'>>

/** The conditions of a node that tell of pressure, without their times. */
export function pressureConditions({ memory, disk }: Pressure): PressureCondition[] {
  return [
    memory
      ? tell('MemoryPressure', 'True', 'KubeletHasInsufficientMemory', 'kubelet has insufficient memory available')
      : tell('MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
    disk
      ? tell('DiskPressure', 'True', 'KubeletHasDiskPressure', 'kubelet has disk pressure')
      : tell('DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
    tell('PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
  ]
}

function tell(type: string, status: string, reason: string, message: string): PressureCondition {
  return { type, status, reason, message }
}

/** What kubelets say of their node when its pressure changes, as reasons of events. */
export function pressureEvents(before: Pressure, now: Pressure): readonly string[] {
  return [
    ...(before.memory === now.memory ? [] : [now.memory ? 'NodeHasInsufficientMemory' : 'NodeHasSufficientMemory']),
    ...(before.disk === now.disk ? [] : [now.disk ? 'NodeHasDiskPressure' : 'NodeHasNoDiskPressure']),
  ]
}
