import type { Container, ContainerStatus, Pod } from '@fairlead/kube/types/core-v1'

import { age } from './printing.ts'

/** What `kubectl get pods` says of a pod. */
export interface PodSummary {
  /** `1/2`: containers ready of all. */
  readonly ready: string
  /** `Running`, `CrashLoopBackOff`, `Init:0/1`... */
  readonly status: string
  /** `3 (5m ago)`. */
  readonly restarts: string
}

/** Sums a pod up as upstream's printer does; `now` in milliseconds since 1970. */
export function summarisePod(pod: Pod, now: number): PodSummary {
  const status = pod.status ?? {}
  const init = summariseInit(pod)
  let reason = (status.reason ?? '') === '' ? (status.phase ?? '') : (status.reason ?? '')
  if (condition(pod, 'PodScheduled')?.reason === 'SchedulingGated') reason = 'SchedulingGated'
  let { restarts, lastRestart } = init
  let ready = init.readySidecars
  if (init.reason !== undefined) reason = init.reason
  if (init.reason === undefined || condition(pod, 'Initialized')?.status === 'True') {
    const main = summariseContainers(status.containerStatuses ?? [])
    restarts = init.sidecarRestarts + main.restarts
    lastRestart = later(init.lastSidecarRestart, main.lastRestart)
    ready += main.ready
    reason = main.reason ?? reason
    // One container may have ended while others still run.
    if (reason === 'Completed' && main.ready > 0) {
      reason = condition(pod, 'Ready')?.status === 'True' ? 'Running' : 'NotReady'
    }
  }
  if (pod.metadata?.deletionTimestamp !== undefined) {
    if (status.reason === 'NodeLost') reason = 'Unknown'
    else if (status.phase !== 'Succeeded' && status.phase !== 'Failed') reason = 'Terminating'
  }
  const total = (pod.spec?.containers ?? []).length + (pod.spec?.initContainers ?? []).filter(isSidecar).length
  return {
    ready: `${ready}/${total}`,
    status: reason,
    restarts:
      restarts > 0 && lastRestart !== undefined ? `${restarts} (${age(lastRestart, now)} ago)` : String(restarts),
  }
}

interface InitSummary {
  /** Set while initialisation is under way or failed. */
  readonly reason: string | undefined
  readonly restarts: number
  readonly lastRestart: string | undefined
  readonly sidecarRestarts: number
  readonly lastSidecarRestart: string | undefined
  readonly readySidecars: number
}

function summariseInit(pod: Pod): InitSummary {
  const containers = pod.spec?.initContainers ?? []
  const sidecars = new Set(containers.filter(isSidecar).map(({ name }) => name))
  const summary = { restarts: 0, sidecarRestarts: 0, readySidecars: 0 }
  let lastRestart: string | undefined
  let lastSidecarRestart: string | undefined
  let reason: string | undefined
  for (const [index, status] of (pod.status?.initContainerStatuses ?? []).entries()) {
    const isThisSidecar = sidecars.has(status.name)
    const finished = status.lastState?.terminated?.finishedAt
    summary.restarts += status.restartCount
    lastRestart = later(lastRestart, finished)
    if (isThisSidecar) {
      summary.sidecarRestarts += status.restartCount
      lastSidecarRestart = later(lastSidecarRestart, finished)
    }
    if (status.state?.terminated?.exitCode === 0) continue
    if (isThisSidecar && status.started === true) {
      if (status.ready) summary.readySidecars++
      continue
    }
    reason = initReason(status, index, containers.length)
    break
  }
  return { ...summary, lastRestart, lastSidecarRestart, reason }
}

function initReason({ state }: ContainerStatus, index: number, total: number): string {
  if (state?.terminated !== undefined) return `Init:${terminationReason(state.terminated)}`
  const waiting = state?.waiting?.reason ?? ''
  return waiting !== '' && waiting !== 'PodInitializing' ? `Init:${waiting}` : `Init:${index}/${total}`
}

interface ContainersSummary {
  readonly reason: string | undefined
  readonly ready: number
  readonly restarts: number
  readonly lastRestart: string | undefined
}

/** The first container that has something to say decides the reason. */
function summariseContainers(statuses: readonly ContainerStatus[]): ContainersSummary {
  let reason: string | undefined
  let lastRestart: string | undefined
  let ready = 0
  let restarts = 0
  for (const { state, lastState, restartCount, ready: isReady } of statuses.toReversed()) {
    restarts += restartCount
    lastRestart = later(lastRestart, lastState?.terminated?.finishedAt)
    if ((state?.waiting?.reason ?? '') !== '') reason = state?.waiting?.reason
    else if (state?.terminated !== undefined) reason = terminationReason(state.terminated)
    else if (isReady && state?.running !== undefined) ready++
  }
  return { reason, ready, restarts, lastRestart }
}

function terminationReason({
  reason = '',
  signal = 0,
  exitCode,
}: {
  reason?: string | undefined
  signal?: number | undefined
  exitCode: number
}): string {
  if (reason !== '') return reason
  return signal === 0 ? `ExitCode:${exitCode}` : `Signal:${signal}`
}

function condition(pod: Pod, type: string): { status: string; reason?: string | undefined } | undefined {
  return pod.status?.conditions?.find((each) => each.type === type)
}

/** A container that starts before the others and stays. */
function isSidecar({ restartPolicy }: Container): boolean {
  return restartPolicy === 'Always'
}

/** RFC 3339 in UTC sorts as text. */
function later(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return a > b ? a : b
}
