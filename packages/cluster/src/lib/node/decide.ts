import type { ContainerRole, RestartPolicy, RestartRule } from './pod.ts'

/** How a container ended. Times in milliseconds since 1970. */
export interface Ending {
  readonly id: string
  readonly exitCode: number
  readonly reason: string
  readonly message?: string | undefined
  readonly startedAt: number
  readonly finishedAt: number
}

/** Where one container of a pod is in its life. */
export type ContainerPhase =
  | { readonly phase: 'waiting' }
  /** Could not be started; tried again at `retryAt`. */
  | { readonly phase: 'failed'; readonly reason: string; readonly message: string; readonly retryAt: number }
  | {
      readonly phase: 'starting'
      /** What it was before, which is still told of it: until it is made it may have to wait. */
      readonly after?: EndedPhase | undefined
    }
  | {
      readonly phase: 'running'
      readonly id: string
      readonly startedAt: number
      /** The startup probe has passed, or there is none. */
      readonly started: boolean
      readonly ready: boolean
      /** Not what the pod asks for any more, or without its monitor. */
      readonly outdated?: string | undefined
    }
  | {
      readonly phase: 'stopping'
      readonly id: string
      readonly startedAt: number
      /** When it is killed at the latest. */
      readonly deadline: number
      /** As it was when it was told to stop: until it ends it is as ready as it was, as with kubelets. */
      readonly started?: boolean | undefined
      readonly ready?: boolean | undefined
    }
  | { readonly phase: 'exited'; readonly ending: Ending }

/** A container that has ended, or could not be started. */
export type EndedPhase = Extract<ContainerPhase, { readonly phase: 'exited' | 'failed' }>

/** One container as {@link decide} sees it. */
export interface ContainerView {
  readonly name: string
  readonly role: ContainerRole
  readonly restartPolicy: RestartPolicy
  /** Tried before the policy, the first that matches counts. */
  readonly restartRules?: readonly RestartRule[] | undefined
  readonly state: ContainerPhase
  /** Ends in a row without a long run between them; sets the back-off. */
  readonly crashes: number
}

/** A pod as {@link decide} sees it. */
export interface PodView {
  /** Its place on the network and its volumes. `failed` is tried again at `retryAt`. */
  readonly sandbox: 'absent' | 'preparing' | 'ready' | 'removing' | { readonly retryAt: number }
  readonly containers: readonly ContainerView[]
  /** The pod is to go: when, at the latest. */
  readonly deletion?: { readonly deadline: number } | undefined
  /** `activeDeadlineSeconds` counted from the start of the pod. */
  readonly activeDeadline?: number | undefined
  /** The pod has ended for good; nothing is started any more. */
  readonly finished?: 'Succeeded' | 'Failed' | undefined
  /** It was evicted: when the last of it is killed. */
  readonly eviction?: { readonly deadline: number } | undefined
  /** The agent is being stopped and takes its containers along. */
  readonly leaving?: { readonly deadline: number } | undefined
}

/** One thing to do now. */
export type Step =
  | { readonly do: 'prepare' }
  | { readonly do: 'start'; readonly container: string }
  | { readonly do: 'stop'; readonly container: string; readonly deadline?: number | undefined; readonly why: string }
  | {
      readonly do: 'finish'
      readonly phase: 'Succeeded' | 'Failed'
      readonly reason?: string
      readonly message?: string
    }
  | { readonly do: 'remove' }
  /** Tell the API that nothing of the pod is left. */
  | { readonly do: 'forget' }
  /** Nothing before this time. */
  | { readonly do: 'wait'; readonly until: number }

const FIRST_BACKOFF_MS = 10_000
const LONGEST_BACKOFF_MS = 300_000
/** A run this long ends a row of crashes. */
export const LONG_RUN_MS = 600_000

/** The wait before restart number `crashes`: none for the first, then 10 s doubled up to 5 min. */
export function crashBackoffMs(crashes: number): number {
  if (crashes <= 1) return 0
  return Math.min(FIRST_BACKOFF_MS * 2 ** Math.min(crashes - 2, 10), LONGEST_BACKOFF_MS)
}

/** Waits are not longer than that: what lies further ahead was noted before the clock was set back. */
function isDue(at: number, now: number): boolean {
  return at <= now || at > now + LONGEST_BACKOFF_MS
}

/** When an ended container starts again; undefined for never. */
export function restartAt(container: ContainerView): number | undefined {
  if (container.state.phase !== 'exited') return undefined
  const { exitCode, finishedAt } = container.state.ending
  const due = finishedAt + crashBackoffMs(container.crashes)
  if (container.restartRules?.some((rule) => matches(rule, exitCode))) return due
  if (container.restartPolicy === 'Never') return undefined
  if (container.restartPolicy === 'OnFailure' && exitCode === 0) return undefined
  return due
}

/** There is one action, `Restart` (KEP-5307). */
function matches({ operator, values }: RestartRule, exitCode: number): boolean {
  return values.includes(exitCode) === (operator === 'In')
}

/** The next steps for a pod. Pure: the same view at the same time gives the same steps. */
export function decide(pod: PodView, now: number): readonly Step[] {
  if (pod.deletion || pod.leaving) return end(pod, now)
  if (pod.finished) return settle(pod, now)
  const verdict = judge(pod, now)
  if (verdict) return [verdict]
  if (pod.sandbox === 'absent') return [{ do: 'prepare' }]
  if (typeof pod.sandbox === 'object')
    return [isDue(pod.sandbox.retryAt, now) ? { do: 'prepare' } : { do: 'wait', until: pod.sandbox.retryAt }]
  if (pod.sandbox !== 'ready') return []
  const waits = pod.activeDeadline === undefined ? [] : [{ do: 'wait', until: pod.activeDeadline } as const]
  return [...replaceOutdated(pod), ...startDue(pod, now), ...waits]
}

/** Whether the pod has come to its end by itself. */
function judge({ containers, activeDeadline }: PodView, now: number): Step | undefined {
  if (activeDeadline !== undefined && now >= activeDeadline) {
    const message = 'Pod was active on the node longer than the specified deadline'
    return { do: 'finish', phase: 'Failed', reason: 'DeadlineExceeded', message }
  }
  const isDone = (view: ContainerView): boolean => view.state.phase === 'exited' && restartAt(view) === undefined
  const failedInit = containers.find((view) => view.role === 'init' && isDone(view) && !hasSucceeded(view))
  if (failedInit) return { do: 'finish', phase: 'Failed' }
  const main = containers.filter(({ role }) => role === 'main')
  if (main.length === 0 || !main.every(isDone)) return undefined
  return { do: 'finish', phase: main.every(hasSucceeded) ? 'Succeeded' : 'Failed' }
}

function hasSucceeded({ state }: ContainerView): boolean {
  return state.phase === 'exited' && state.ending.exitCode === 0
}

function replaceOutdated({ containers }: PodView): Step[] {
  return containers.flatMap(({ name, state }) =>
    state.phase === 'running' && state.outdated !== undefined
      ? [{ do: 'stop', container: name, why: state.outdated } as const]
      : [],
  )
}

/** Starts init containers one after another, then all main containers at once; those added later wait for nobody. */
function startDue({ containers }: PodView, now: number): Step[] {
  const steps = containers.filter(({ role }) => role === 'ephemeral').flatMap((view) => startOne(view, now))
  for (const view of containers.filter(({ role }) => role === 'init' || role === 'sidecar')) {
    steps.push(...startOne(view, now))
    const isPassed = view.role === 'init' ? hasSucceeded(view) : view.state.phase === 'running' && view.state.started
    // A sidecar that crashes later does not hold up what already runs, but nothing new starts past it.
    if (!isPassed) {
      const laterRuns = containers.some((other) => other.role === 'main' && other.state.phase !== 'waiting')
      if (view.role === 'init' || !laterRuns) return steps
    }
  }
  return [...steps, ...containers.filter(({ role }) => role === 'main').flatMap((view) => startOne(view, now))]
}

function startOne(view: ContainerView, now: number): Step[] {
  const { name: container, state } = view
  if (state.phase === 'waiting') return [{ do: 'start', container }]
  const at = state.phase === 'failed' ? state.retryAt : restartAt(view)
  if (at === undefined) return []
  return [isDue(at, now) ? { do: 'start', container } : { do: 'wait', until: at }]
}

/** Ends a pod that is to go: main containers first, then sidecars, then its sandbox, then its object. */
function end(pod: PodView, now: number): Step[] {
  const deadline = pod.deletion?.deadline ?? pod.leaving?.deadline
  const why = pod.deletion ? 'it is being deleted' : 'the cluster is being stopped'
  const isUp = ({ state }: ContainerView): boolean => ['starting', 'running', 'stopping'].includes(state.phase)
  const due = nextToStop(pod.containers.filter(isUp))
  if (due.length > 0) return due.flatMap((view) => stopOne(view, deadline, why))
  if (pod.sandbox === 'preparing' || pod.sandbox === 'removing') return []
  if (pod.sandbox !== 'absent') return remove(pod, now)
  return pod.deletion ? [{ do: 'forget' }] : []
}

/** All but sidecars at once, then sidecars one by one from the last to the first: others were started before they were. */
function nextToStop(up: readonly ContainerView[]): readonly ContainerView[] {
  const others = up.filter(({ role }) => role !== 'sidecar')
  return others.length > 0 ? others : up.slice(-1)
}

function remove(pod: PodView, now: number): Step[] {
  if (typeof pod.sandbox === 'object' && !isDue(pod.sandbox.retryAt, now))
    return [{ do: 'wait', until: pod.sandbox.retryAt }]
  return [{ do: 'remove' }]
}

/** After its end a pod keeps nothing but its status and its logs. */
function settle(pod: PodView, now: number): Step[] {
  const up = pod.containers.filter(({ state }) => ['starting', 'running', 'stopping'].includes(state.phase))
  if (up.length > 0) return nextToStop(up).flatMap((view) => stopOne(view, pod.eviction?.deadline, 'its pod has ended'))
  if (pod.sandbox === 'ready' || typeof pod.sandbox === 'object') return remove(pod, now)
  return []
}

function stopOne({ name, state }: ContainerView, deadline: number | undefined, why: string): Step[] {
  if (state.phase === 'running') return [{ do: 'stop', container: name, deadline, why }]
  const isSooner = state.phase === 'stopping' && deadline !== undefined && deadline < state.deadline
  return isSooner ? [{ do: 'stop', container: name, deadline, why }] : []
}
