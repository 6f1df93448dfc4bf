import type { KubeClient } from '@fairlead/kube'
import type { KubeObject } from '@fairlead/kube/types'
import { notReadyInTime, serviceFailed } from '../errors.ts'
import { appLabel, serviceLabel } from '../render/labels.ts'
import { readLastLines, readWarnings } from './diagnose.ts'
import { type Fault, isHopeless, judge, type Judgement, judgeStart } from './judge.ts'
import { type AppView, watchApp } from './observe.ts'

/** Where one service stands; told whenever it changes. */
export interface ServiceProgress {
  readonly service: string
  readonly phase: 'waiting' | 'ready' | 'failed'
  /** What it waits for, or why it failed; its URL when it is ready and public. */
  readonly detail: string
}

/** A service that is up. */
export interface ReadyService {
  readonly service: string
  /** Where it is reachable from outside; absent when it is not public, or the cluster gave no address in time. */
  readonly url: string | undefined
}

export interface WaitOptions {
  readonly signal?: AbortSignal | undefined
  /**
   * `ready` (default): rolled out and reachable. `started`: the programs of all services run, or ran and crashed; with an address where
   * there is one by then.
   */
  readonly until?: 'ready' | 'started' | undefined
  /** Milliseconds until the wait is given up. Default 120,000. */
  readonly deadlineMs?: number | undefined
  /** Milliseconds to wait for the address of a load balancer once every pod is ready. Default 30,000. */
  readonly addressDeadlineMs?: number | undefined
  readonly onProgress?: ((progress: ServiceProgress) => void) | undefined
}

interface Awaited {
  readonly name: string
  readonly minGeneration: number
  readonly publicService: string | undefined
}

/**
 * Waits until the Deployments and StatefulSets among `objects` (as `applyObjects` returned them, of one app and namespace) are rolled
 * out and its public services have an address. Watches; never polls. Gives up early when waiting is of no use, such as
 * a second crash on start, a missing image or an unschedulable pod, and says why with the last log lines.
 * @throws AggregateError `FAIRLEAD_DELIVERY_SERVICE_FAILED` or `FAIRLEAD_DELIVERY_TIMEOUT`, with one error per service.
 */
export async function waitForReady(
  client: KubeClient,
  objects: readonly KubeObject[],
  options: WaitOptions = {},
): Promise<ReadyService[]> {
  const awaited = listAwaited(objects)
  const [first] = objects.filter(isWorkload)
  if (!first) return []
  const namespace = first.metadata.namespace ?? client.namespace
  using scope = createScope(options.signal)
  const view = await watchApp(client, {
    namespace,
    labelSelector: `${appLabel}=${first.metadata.labels?.[appLabel]}`,
    hasStatefulSets: objects.some(({ kind }) => kind === 'StatefulSet'),
    signal: scope.signal,
  })
  const outcome = await settle(view, awaited, options, scope.signal)
  if (outcome.phase === 'ready') return outcome.services
  const diagnose = { namespace, signal: options.signal }
  if (outcome.phase === 'failed') throw serviceFailed(await Promise.all(outcome.faults.map(explainFault)))
  throw notReadyInTime(await Promise.all(outcome.waiting.map(explainWait)), options.deadlineMs ?? defaultDeadlineMs)

  async function explainFault({ service, fault }: { service: string; fault: Fault }): Promise<ExplainedFault> {
    const details = fault.pod === undefined ? [] : await readLastLines(client, fault.pod, diagnose)
    return { service, ...fault, details }
  }
  async function explainWait({ service, state }: { service: string; state: string }): Promise<ExplainedWait> {
    const { pods } = view.observe({ name: service })
    return { service, state, details: await readWarnings(client, pods, diagnose) }
  }
}

const defaultDeadlineMs = 120_000

type ExplainedFault = Fault & { service: string; details: string[] }
type ExplainedWait = { service: string; state: string; details: string[] }

type Outcome =
  | { readonly phase: 'ready'; readonly services: ReadyService[] }
  | { readonly phase: 'failed'; readonly faults: { service: string; fault: Fault }[] }
  | { readonly phase: 'late'; readonly waiting: { service: string; state: string }[] }

function listAwaited(objects: readonly KubeObject[]): Awaited[] {
  return objects.filter(isWorkload).map((workload) => ({
    name: workload.metadata.name ?? '',
    minGeneration: workload.metadata.generation ?? 0,
    publicService: objects.find((object) => isPublic(object) && serviceOf(object) === serviceOf(workload))?.metadata
      .name,
  }))
}

function isWorkload({ kind }: KubeObject): boolean {
  return kind === 'Deployment' || kind === 'StatefulSet'
}

function isPublic({ kind, spec }: KubeObject): boolean {
  return kind === 'Service' && typeof spec === 'object' && spec !== null && Reflect.get(spec, 'type') === 'LoadBalancer'
}

function serviceOf({ metadata }: KubeObject): string {
  return metadata.labels?.[serviceLabel] ?? metadata.name ?? ''
}

/** A signal of our own, aborted when the wait ends, so that no watch outlives it. */
function createScope(outer: AbortSignal | undefined): Disposable & { signal: AbortSignal } {
  const controller = new AbortController()
  const signal = outer ? AbortSignal.any([outer, controller.signal]) : controller.signal
  return { signal, [Symbol.dispose]: () => controller.abort() }
}

/** How often time alone may change a judgement: the patience with an unschedulable pod. */
const reviewMs = 1_000

function settle(
  view: AppView,
  awaited: readonly Awaited[],
  options: WaitOptions,
  signal: AbortSignal,
): Promise<Outcome> {
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
  const started = Date.now()
  const told = new Map<string, string>()
  let podsReadySince: number | undefined
  const judgeIt = options.until === 'started' ? judgeStart : judge

  const review = (): void => {
    const now = Date.now()
    const judged = awaited.map((service) => ({
      service: service.name,
      judgement: judgeIt(view.observe(service), service.minGeneration, now),
    }))
    for (const { service, judgement } of judged) tell(service, judgement)
    const phases = judged.map(({ judgement }) => judgement)
    const arePodsReady = phases.every(({ phase }) => phase === 'ready' || phase === 'unaddressed')
    podsReadySince = arePodsReady ? (podsReadySince ?? now) : undefined
    const isAddressLate = now - (podsReadySince ?? now) >= (options.addressDeadlineMs ?? 30_000)
    if (phases.every(({ phase }) => phase === 'ready') || isAddressLate) {
      resolve({ phase: 'ready', services: judged.map(toReady) })
    } else if (isHopeless(phases)) {
      resolve({ phase: 'failed', faults: judged.flatMap(toFault) })
    } else if (now - started >= (options.deadlineMs ?? defaultDeadlineMs)) {
      resolve({ phase: 'late', waiting: judged.filter(isPending).map(toWaiting) })
    }
  }
  const tell = (service: string, judgement: Judgement): void => {
    const progress = toProgress(service, judgement)
    const text = `${progress.phase} ${progress.detail}`
    if (told.get(service) === text) return
    told.set(service, text)
    options.onProgress?.(progress)
  }
  const guarded = (): void => {
    try {
      review()
    } catch (error) {
      reject(error)
    }
  }
  const abort = (): void => reject(signal.reason)
  const timer = setInterval(guarded, reviewMs)
  signal.addEventListener('abort', abort, { once: true })
  view.onChange(guarded)
  guarded()
  return promise.finally(() => {
    clearInterval(timer)
    signal.removeEventListener('abort', abort)
  })
}

type Judged = { service: string; judgement: Judgement }

function toProgress(service: string, judgement: Judgement): ServiceProgress {
  if (judgement.phase === 'ready') return { service, phase: 'ready', detail: judgement.address ?? '' }
  if (judgement.phase === 'failed') return { service, phase: 'failed', detail: judgement.fault.reason }
  return {
    service,
    phase: 'waiting',
    detail: judgement.phase === 'crashing' ? judgement.fault.reason : judgement.detail,
  }
}

function toReady({ service, judgement }: Judged): ReadyService {
  return { service, url: judgement.phase === 'ready' ? judgement.address : undefined }
}

function toFault({ service, judgement }: Judged): { service: string; fault: Fault }[] {
  return judgement.phase === 'failed' || judgement.phase === 'crashing' ? [{ service, fault: judgement.fault }] : []
}

function isPending({ judgement }: Judged): boolean {
  return judgement.phase !== 'ready'
}

function toWaiting({ service, judgement }: Judged): { service: string; state: string } {
  return { service, state: toProgress(service, judgement).detail }
}
