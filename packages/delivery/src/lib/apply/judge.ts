import type { ContainerStatus, Pod, Service } from '@fairlead/kube/types/core-v1'
import { countCrashes, crashKey } from './crashes.ts'
import type { Observed, Workload } from './observe.ts'

/** How far one service has come. */
export type Judgement =
  | { readonly phase: 'ready'; readonly address: string | undefined }
  | { readonly phase: 'waiting'; readonly detail: string }
  /** Its pods are ready; the cluster has not said yet where it is reachable from outside. */
  | { readonly phase: 'unaddressed'; readonly detail: string }
  /** Its pods start and end again. Whether that is final depends on the other services. */
  | { readonly phase: 'crashing'; readonly crashes: number; readonly fault: Fault }
  | { readonly phase: 'failed'; readonly fault: Fault }

/** Why a service does not become ready by waiting. */
export interface Fault {
  /** A sentence without subject: `crashed 2 times, last with exit code 1`. */
  readonly reason: string
  readonly hint: string
  /** The pod whose logs tell more. */
  readonly pod?: string | undefined
}

/** The scheduler may say "unschedulable" while a node is still joining. */
const unschedulablePatienceMs = 10_000
/** Fewer may be a service that came up before the one it needs. */
const finalCrashes = 3
const suspectCrashes = 2

/** Judges one service. Pure. `now` is in milliseconds since the epoch. */
export function judge(observed: Observed, minGeneration: number, now: number): Judgement {
  const { workload, publicService } = observed
  const generation = workload?.metadata?.generation ?? 0
  if (!workload || generation < minGeneration || (workload.status?.observedGeneration ?? 0) < generation) {
    return { phase: 'waiting', detail: `waiting for the ${workload?.kind ?? 'Deployment'} controller` }
  }
  if (isRolledOut(workload)) return judgeAddress(publicService)
  const fault = findWorkloadFault(workload)
  if (fault) return { phase: 'failed', fault }
  return judgePods(observed, now) ?? { phase: 'waiting', detail: describeProgress(workload, observed.pods) }
}

/**
 * Judges one service of which it is enough that its programs have been started: `ready` then, also when they crash, for they may wait
 * for each other. Pure.
 */
export function judgeStart(observed: Observed, minGeneration: number, now: number): Judgement {
  const judgement = judge(observed, minGeneration, now)
  if (judgement.phase === 'ready' || judgement.phase === 'failed' || !hasStarted(observed, minGeneration)) {
    return judgement
  }
  return { phase: 'ready', address: observed.publicService && addressOf(observed.publicService) }
}

/** Whether the newest revision has all its pods, and all their containers ran at least once. */
function hasStarted({ workload, pods }: Observed, minGeneration: number): boolean {
  const generation = Math.max(workload?.metadata?.generation ?? 0, minGeneration)
  const desired = workload?.spec?.replicas ?? 1
  const started = pods.filter(({ spec, status }) => {
    const containers = status?.containerStatuses ?? []
    const count = Math.max(spec?.containers.length ?? 1, 1)
    return containers.length >= count && containers.every(({ state, lastState }) => hasRun(state) || hasRun(lastState))
  })
  return (workload?.status?.observedGeneration ?? 0) >= generation && started.length >= desired
}

function hasRun(state: ContainerStatus['state']): boolean {
  return state?.running !== undefined || state?.terminated !== undefined
}

/** Whether waiting further is of no use: one service failed, or crashes while no other may be what it waits for. */
export function isHopeless(judgements: readonly Judgement[]): boolean {
  if (judgements.some(({ phase }) => phase === 'failed')) return true
  const crashing = judgements.filter((judgement) => judgement.phase === 'crashing')
  const areOthersDone = judgements.every(({ phase }) => phase !== 'waiting')
  return crashing.some(({ crashes }) => crashes >= (areOthersDone ? suspectCrashes : finalCrashes))
}

/** The conditions of `kubectl rollout status`. */
function isRolledOut({ spec, status }: Workload): boolean {
  const desired = spec?.replicas ?? 1
  const updated = status?.updatedReplicas ?? 0
  return updated >= desired && (status?.replicas ?? 0) <= updated && (status?.availableReplicas ?? 0) >= updated
}

function judgeAddress(publicService: Service | undefined): Judgement {
  if (publicService?.spec?.type !== 'LoadBalancer') return { phase: 'ready', address: undefined }
  const address = addressOf(publicService)
  return address === undefined
    ? { phase: 'unaddressed', detail: 'waiting for the address of the load balancer' }
    : { phase: 'ready', address }
}

/** URL of a LoadBalancer Service; `undefined` as long as the cluster gave it no address. */
export function addressOf({ spec, status }: Service): string | undefined {
  const [ingress] = status?.loadBalancer?.ingress ?? []
  const host = ingress?.hostname ?? ingress?.ip
  if (host === undefined) return undefined
  const port = spec?.ports?.[0]?.port ?? 80
  return `http://${host.includes(':') ? `[${host}]` : host}${port === 80 ? '' : `:${port}`}`
}

function findWorkloadFault({ status }: Workload): Fault | undefined {
  const condition = (type: string, value: string): string | undefined => {
    const found = status?.conditions?.find((candidate) => candidate.type === type && candidate.status === value)
    return found && (found.message ?? found.reason ?? '')
  }
  const refused = condition('ReplicaFailure', 'True')
  if (refused !== undefined) {
    return { reason: `its pods are refused: ${refused}`, hint: 'Correct what the cluster refuses, then apply again' }
  }
  const stalled = status?.conditions?.find(
    ({ type, reason }) => type === 'Progressing' && reason === 'ProgressDeadlineExceeded',
  )
  return stalled && { reason: 'made no progress within its progress deadline', hint: 'Look at the events of its pods' }
}

function judgePods({ pods, earlierCrashes }: Observed, now: number): Judgement | undefined {
  const judgements = pods
    .map((pod) => judgePod(pod, now, earlierCrashes))
    .filter((judgement) => judgement !== undefined)
  return judgements.find(({ phase }) => phase === 'failed') ?? judgements[0]
}

function judgePod(pod: Pod, now: number, earlierCrashes: Observed['earlierCrashes']): Judgement | undefined {
  const unschedulable = findUnschedulable(pod, now)
  if (unschedulable) return { phase: 'failed', fault: unschedulable }
  for (const status of [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]) {
    const fault = findStartFault(status)
    if (fault) return { phase: 'failed', fault: { ...fault, pod: pod.metadata?.name } }
    const crashes = countCrashes(status) - (earlierCrashes?.get(crashKey(pod, status)) ?? 0)
    if (crashes >= suspectCrashes) {
      return { phase: 'crashing', crashes, fault: { ...describeCrash(status, crashes), pod: pod.metadata?.name } }
    }
  }
  return undefined
}

function findUnschedulable({ status }: Pod, now: number): Fault | undefined {
  const scheduled = status?.conditions?.find(({ type }) => type === 'PodScheduled')
  if (scheduled?.status !== 'False' || scheduled.reason !== 'Unschedulable') return undefined
  if (now - Date.parse(scheduled.lastTransitionTime ?? '') < unschedulablePatienceMs) return undefined
  return {
    reason: `no node can take its pod: ${scheduled.message ?? 'no reason was given'}`,
    hint: 'Lower "resources.requests" or "replicas" of the service, or give the cluster more room',
  }
}

/** Waiting reasons of a container that repeat until somebody changes something. */
const startFaults: Readonly<Record<string, { reason: string; hint: string }>> = {
  ErrImagePull: { reason: 'its image cannot be pulled', hint: 'Push the image to where the cluster can pull it' },
  ImagePullBackOff: { reason: 'its image cannot be pulled', hint: 'Push the image to where the cluster can pull it' },
  ErrImageNeverPull: { reason: 'its image is not on the node', hint: 'Build the image again' },
  InvalidImageName: { reason: 'the name of its image is not valid', hint: 'Correct the image reference' },
  CreateContainerConfigError: {
    reason: 'its container cannot be configured',
    hint: 'Create the Secret or ConfigMap that "env" or "volumes" names, or correct the name',
  },
  CreateContainerError: {
    reason: 'its container cannot be created',
    hint: 'Run fairlead doctor to check this machine',
  },
  RunContainerError: { reason: 'its container cannot be run', hint: 'Run fairlead doctor to check this machine' },
}

function findStartFault({ state, image }: ContainerStatus): Fault | undefined {
  const fault = startFaults[state?.waiting?.reason ?? '']
  if (!fault) return undefined
  const message = state?.waiting?.message ?? `image "${image}"`
  return { reason: `${fault.reason}: ${message}`, hint: fault.hint }
}

function describeCrash({ state, lastState }: ContainerStatus, crashes: number): Fault {
  const last = state?.terminated ?? lastState?.terminated
  if (last?.reason === 'OOMKilled') {
    return {
      reason: `was killed ${crashes} times because it needed more memory than its limit`,
      hint: 'Raise "resources.limits.memory" of the service',
    }
  }
  const how = last === undefined ? '' : `, last with exit code ${last.exitCode}`
  return {
    reason: `crashed ${crashes} times${how}`,
    hint: 'Correct the program or its "env", then run the same command again',
  }
}

function describeProgress({ spec, status }: Workload, pods: readonly Pod[]): string {
  const desired = spec?.replicas ?? 1
  const updated = status?.updatedReplicas ?? 0
  if (updated >= desired && (status?.replicas ?? 0) > updated && (status?.availableReplicas ?? 0) >= desired) {
    return 'stopping pods of the version before'
  }
  return `${Math.min(status?.availableReplicas ?? 0, desired)} of ${desired} pods ready${describePod(pods)}`
}

function describePod(pods: readonly Pod[]): string {
  const pod = pods.find(
    ({ status }) => !status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True'),
  )
  if (!pod) return ''
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled')
  if (scheduled?.status !== 'True') return `, ${scheduled?.message ?? 'waiting for the scheduler'}`
  const [container] = pod.status?.containerStatuses ?? []
  const waiting = container?.state?.waiting
  if (waiting)
    return waiting.reason === undefined || waiting.reason === 'ContainerCreating'
      ? ', creating containers'
      : `, ${waiting.reason}`
  return container?.state?.running ? ', waiting for its readiness probe' : ', starting'
}
