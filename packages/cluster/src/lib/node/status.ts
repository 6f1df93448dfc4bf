import { renderTime } from '@fairlead/kube/controller'
import type {
  ContainerState,
  ContainerStatus,
  Pod,
  PodCondition,
  PodStatus,
  ResourceRequirements,
  VolumeMountStatus,
} from '@fairlead/kube/types/core-v1'

import type { ContainerUser } from '@fairlead/oci/runtime'

import { crashBackoffMs, restartAt } from './decide.ts'
import type { ContainerPhase, ContainerView, Ending, PodView } from './decide.ts'
import { containersOf, qosClassOf, uidOf } from './pod.ts'
import type { ContainerRole } from './pod.ts'
import { resizeConditions } from './resize.ts'
import type { Allocation, ResizeProgress } from './resize.ts'

/** What the agent knows of a container besides its phase. */
export interface ContainerFacts {
  readonly image: string
  readonly imageId?: string | undefined
  /** Of the container there is, or was last. */
  readonly containerId?: string | undefined
  readonly restarts: number
  /** Whom it runs as. */
  readonly user?: ContainerUser | undefined
  /** The resources it runs with. */
  readonly applied?: ResourceRequirements | undefined
  /** How the run before the present one ended. */
  readonly last?: Ending | undefined
}

/** What the agent knows of a pod besides its phase. */
export interface PodFacts {
  readonly pod: Pod
  readonly hostIp: string
  readonly podIp?: string | undefined
  readonly startTime: number
  readonly containers: ReadonlyMap<string, ContainerFacts>
  /** Why the pod ended, when not by its containers. */
  readonly reason?: string | undefined
  readonly message?: string | undefined
  /** The conditions as last told; times of change are kept from them. */
  readonly conditions?: readonly PodCondition[] | undefined
  /** What the pod was granted. */
  readonly allocation?: Allocation | undefined
  /** How far its last resize has come. */
  readonly resize?: ResizeProgress | undefined
  /** Why the node had to end it. */
  readonly disruption?: string | undefined
  /** Prefix of container ids, `runc` or `process`. */
  readonly runtime: string
}

/** Conditions this agent owns; others (scheduler, readiness gates) are left to their owners. */
type OwnedCondition = 'PodReadyToStartContainers' | 'Initialized' | 'ContainersReady' | 'Ready'

/** What upstream says of a pod that the node had to end (KEP-3329). */
const terminated = { type: 'DisruptionTarget', status: 'True', reason: 'TerminationByKubelet' }

/** Conditions that are only there while they hold. */
const passing = new Set(['PodResizePending', 'PodResizeInProgress'])

/** The status of a pod as the API shows it (core/v1 PodStatus). Pure. */
export function renderStatus(view: PodView, facts: PodFacts, now: number): PodStatus {
  const statuses = new Map(view.containers.map((one) => [one.name, renderContainer(one, view, facts)]))
  const pick = (...roles: readonly ContainerRole[]): ContainerStatus[] =>
    view.containers.filter(({ role }) => roles.includes(role)).flatMap(({ name }) => statuses.get(name) ?? [])
  const phase = phaseOf(view)
  const isOver = phase === 'Succeeded' || phase === 'Failed'
  const initial = pick('init', 'sidecar')
  const ephemeral = pick('ephemeral')
  return {
    phase,
    conditions: renderConditions(view, facts, phase, statuses, now),
    hostIP: facts.hostIp,
    hostIPs: [{ ip: facts.hostIp }],
    ...(facts.podIp ? { podIP: facts.podIp, podIPs: [{ ip: facts.podIp }] } : {}),
    startTime: renderTime(facts.startTime),
    qosClass: qosClassOf(facts.pod),
    ...(facts.allocation?.pod === undefined ? {} : renderPodResources(facts.allocation.pod)),
    containerStatuses: pick('main'),
    ...(initial.length > 0 ? { initContainerStatuses: initial } : {}),
    ...(ephemeral.length > 0 ? { ephemeralContainerStatuses: ephemeral } : {}),
    ...(isOver && facts.reason ? { reason: facts.reason } : {}),
    ...(isOver && facts.message ? { message: facts.message } : {}),
    ...(facts.pod.metadata?.generation === undefined ? {} : { observedGeneration: facts.pod.metadata.generation }),
  }
}

function renderPodResources(resources: ResourceRequirements): Pick<PodStatus, 'allocatedResources' | 'resources'> {
  return { resources, ...(resources.requests === undefined ? {} : { allocatedResources: resources.requests }) }
}

/**
 * The phase by the rules of "Pod Lifecycle": Pending until every main container has started once. A pod has ended with its
 * last container, sidecars among them: those who keep it with a finalizer, as Jobs do, and those who want its place wait for that.
 */
export function phaseOf(view: PodView): 'Pending' | 'Running' | 'Succeeded' | 'Failed' {
  if (view.finished && !view.containers.some(isUp)) return view.finished
  const main = view.containers.filter(({ role }) => role === 'main')
  if (view.deletion && !view.containers.some(isUp)) return main.every(hasSucceeded) ? 'Succeeded' : 'Failed'
  const hasStarted = ({ state }: ContainerView): boolean => ['running', 'stopping', 'exited'].includes(state.phase)
  // A main container that was up before has been counted as a crash, whatever it waits for now.
  return main.length > 0 && main.every((one) => hasStarted(one) || one.crashes > 0) ? 'Running' : 'Pending'
}

function isUp({ state }: ContainerView): boolean {
  return state.phase === 'starting' || state.phase === 'running' || state.phase === 'stopping'
}

function hasSucceeded({ state }: ContainerView): boolean {
  return state.phase === 'exited' && state.ending.exitCode === 0
}

function renderContainer(one: ContainerView, view: PodView, facts: PodFacts): ContainerStatus {
  const known = facts.containers.get(one.name)
  const state = shownState(one)
  const hasProcess = state.phase === 'running' || state.phase === 'stopping'
  const shown = renderState(one, view, facts)
  // An end that is still the present state is not also the last one.
  const last = state.phase === 'exited' && shown.terminated === undefined ? state.ending : known?.last
  return {
    name: one.name,
    image: known?.image ?? '',
    imageID: known?.imageId ?? '',
    ...(known?.containerId ? { containerID: `${facts.runtime}://${known.containerId}` } : {}),
    restartCount: known?.restarts ?? 0,
    ready:
      one.role === 'init'
        ? state.phase === 'exited' && state.ending.exitCode === 0
        : (state.phase === 'running' || state.phase === 'stopping') && state.ready === true,
    started: hasProcess && (state.started ?? true),
    state: shown,
    lastState: last ? renderEnding(last, facts.runtime) : {},
    ...renderResources(one, known?.applied, facts.allocation),
    ...renderMounts(one.name, facts.pod),
    ...renderUser(known?.user),
  }
}

/** Who the first process was when it began (KEP-3619). */
function renderUser(user: ContainerUser | undefined): Pick<ContainerStatus, 'user'> {
  return user === undefined
    ? {}
    : { user: { linux: { uid: user.uid, gid: user.gid, supplementalGroups: [...user.gids] } } }
}

/** Where volumes are in a container, and whether all that is mounted below is read-only too (KEP-3857). */
function renderMounts(name: string, pod: Pod): Pick<ContainerStatus, 'volumeMounts'> {
  const def = containersOf(pod).find(({ container }) => container.name === name)
  const volumeMounts = (def?.container.volumeMounts ?? []).map((mount): VolumeMountStatus => {
    const shown = { name: mount.name, mountPath: mount.mountPath }
    if (mount.readOnly !== true) return shown
    const isDeep = mount.recursiveReadOnly === 'Enabled' || mount.recursiveReadOnly === 'IfPossible'
    return { ...shown, readOnly: true, recursiveReadOnly: isDeep ? 'Enabled' : 'Disabled' }
  })
  return volumeMounts.length === 0 ? {} : { volumeMounts }
}

/** What was granted, and what a running container has of it. */
function renderResources(
  { name, role, state }: ContainerView,
  applied: ResourceRequirements | undefined,
  allocation: Allocation | undefined,
): Pick<ContainerStatus, 'allocatedResources' | 'resources'> {
  const granted = allocation?.containers[name]
  if (granted === undefined || role === 'ephemeral') return {}
  const isUp = state.phase === 'running' || state.phase === 'stopping'
  return {
    ...(granted.requests === undefined ? {} : { allocatedResources: granted.requests }),
    resources: isUp ? (applied ?? granted) : granted,
  }
}

/** Of a container that is about to be started again kubelets show how it ended, or why it waits, until it is made. */
function shownState({ state }: ContainerView): ContainerPhase {
  return state.phase === 'starting' ? (state.after ?? state) : state
}

function renderState(one: ContainerView, view: PodView, facts: PodFacts): ContainerState {
  const state = shownState(one)
  if (state.phase === 'running' || state.phase === 'stopping') {
    return { running: { startedAt: renderTime(state.startedAt) } }
  }
  if (state.phase === 'failed') return { waiting: { reason: state.reason, message: state.message } }
  if (state.phase === 'exited') {
    const due = view.finished || view.deletion ? undefined : restartAt({ ...one, state })
    const waitMs = crashBackoffMs(one.crashes)
    if (due === undefined || waitMs === 0) return renderEnding(state.ending, facts.runtime)
    const { metadata } = facts.pod
    const subject = `container=${one.name} pod=${metadata?.name}_${metadata?.namespace}(${uidOf(facts.pod)})`
    const message = `back-off ${renderDuration(waitMs)} restarting failed ${subject}`
    return { waiting: { reason: 'CrashLoopBackOff', message } }
  }
  // Upstream says this of all containers of a pod that has some to be run first.
  const hasInit = view.containers.some(({ role }) => role === 'init' || role === 'sidecar')
  return { waiting: { reason: hasInit ? 'PodInitializing' : 'ContainerCreating' } }
}

function renderEnding(ending: Ending, runtime: string): ContainerState {
  return {
    terminated: {
      containerID: `${runtime}://${ending.id}`,
      exitCode: ending.exitCode,
      reason: ending.reason,
      ...(ending.message ? { message: ending.message } : {}),
      startedAt: renderTime(ending.startedAt),
      finishedAt: renderTime(ending.finishedAt),
    },
  }
}

function isInitialized({ containers }: PodView): boolean {
  return containers.every(isPassed)
}

/** Whether a container holds up none that come after it. */
function isPassed({ role, state }: ContainerView): boolean {
  if (role === 'init') return state.phase === 'exited' && state.ending.exitCode === 0
  return role !== 'sidecar' || (state.phase === 'running' && state.started)
}

function renderConditions(
  view: PodView,
  facts: PodFacts,
  phase: string,
  statuses: ReadonlyMap<string, ContainerStatus>,
  now: number,
): PodCondition[] {
  const relevant = view.containers.filter(({ role }) => role === 'main' || role === 'sidecar')
  const unready = relevant.filter(({ name }) => statuses.get(name)?.ready !== true).map(({ name }) => name)
  const gates = facts.pod.spec?.readinessGates ?? []
  const openGates = gates.filter(({ conditionType }) => conditionOf(facts.pod, conditionType)?.status !== 'True')
  const isDone = phase === 'Succeeded' || phase === 'Failed'
  const initialized = isInitialized(view) || phase === 'Succeeded' || phase === 'Running'
  const pendingInit = view.containers.filter((one) => !isPassed(one))
  const why = readinessReason(phase, unready)
  const gateReason = openGates.length > 0 ? { reason: 'ReadinessGatesNotReady' } : undefined
  const conditions: { type: OwnedCondition; isTrue: boolean; reason?: string; message?: string }[] = [
    { type: 'PodReadyToStartContainers', isTrue: view.sandbox === 'ready' },
    {
      type: 'Initialized',
      isTrue: initialized,
      ...(initialized
        ? phase === 'Succeeded' && { reason: 'PodCompleted' }
        : {
            reason: 'ContainersNotInitialized',
            message: `containers with incomplete status: [${pendingInit.map(({ name }) => name).join(' ')}]`,
          }),
    },
    { type: 'ContainersReady', isTrue: !isDone && unready.length === 0, ...why },
    { type: 'Ready', isTrue: !isDone && unready.length === 0 && openGates.length === 0, ...(why ?? gateReason) },
  ]
  const { generation } = facts.pod.metadata ?? {}
  const observed = generation === undefined ? {} : { observedGeneration: generation }
  const lasting = conditions.map(({ isTrue, ...condition }) => ({
    ...condition,
    status: isTrue ? 'True' : 'False',
    ...observed,
  }))
  const { disruption } = facts
  const evicted = disruption === undefined ? [] : [{ ...terminated, message: disruption, ...observed }]
  return [...lasting, ...resizeConditions(facts.resize ?? {}), ...evicted].map(
    ({ type, status, reason, message, ...rest }) => {
      const old = facts.conditions?.find((condition) => condition.type === type) ?? conditionOf(facts.pod, type)
      const since = old?.status === status ? old.lastTransitionTime : undefined
      return {
        type,
        status,
        lastTransitionTime: since ?? renderTime(now),
        ...(reason ? { reason } : {}),
        ...(message ? { message } : {}),
        ...rest,
      }
    },
  )
}

function readinessReason(phase: string, unready: readonly string[]): { reason: string; message?: string } | undefined {
  if (phase === 'Succeeded') return { reason: 'PodCompleted' }
  if (phase === 'Failed') return { reason: 'PodFailed' }
  if (unready.length === 0) return undefined
  return { reason: 'ContainersNotReady', message: `containers with unready status: [${unready.join(' ')}]` }
}

function conditionOf(pod: Pod, type: string): PodCondition | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type)
}

function renderDuration(ms: number): string {
  const seconds = Math.round(ms / 1000)
  const minutes = Math.floor(seconds / 60)
  return minutes === 0 ? `${seconds}s` : `${minutes}m${seconds % 60}s`
}

/** A list that is merged by a key of its items, as it is to be: another address takes the place of the one before. */
function replacing(list: readonly object[]): object[] {
  return [{ $patch: 'replace' }, ...list]
}

/** The part of `next` that must be sent to turn `previous` into it, as a strategic merge patch. */
export function renderStatusPatch(pod: Pod, previous: PodStatus | undefined, next: PodStatus): unknown {
  const cleared = (['reason', 'message'] as const).filter(
    (key) => previous?.[key] !== undefined && next[key] === undefined,
  )
  // Conditions are merged one by one, so words of an earlier state must be taken away in so many words.
  const conditions = next.conditions?.map((condition) => ({ reason: null, message: null, ...condition }))
  const over = (previous?.conditions ?? []).filter(
    ({ type }) => passing.has(type) && next.conditions?.every((condition) => condition.type !== type),
  )
  const gone = over.map(({ type }) => ({ type, $patch: 'delete' }))
  const status = {
    ...next,
    ...(next.podIPs && { podIPs: replacing(next.podIPs) }),
    ...(next.hostIPs && { hostIPs: replacing(next.hostIPs) }),
    conditions: conditions && [...conditions, ...gone],
    ...Object.fromEntries(cleared.map((key) => [key, null])),
  }
  // The uid makes the server refuse the status of a pod for a later one of the same name.
  return { metadata: { uid: uidOf(pod) }, status }
}
