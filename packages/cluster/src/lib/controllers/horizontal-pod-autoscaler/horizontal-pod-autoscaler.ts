import { isDeepStrictEqual } from 'node:util'

import { createInformer } from '@fairlead/kube/cache'
import { fromInformer, keyOf, parseKey, renderTime, runController, setCondition } from '@fairlead/kube/controller'
import type { EventRecorder } from '@fairlead/kube/controller'
import type { Scale } from '@fairlead/kube/types/autoscaling-v1'
import type {
  HorizontalPodAutoscaler,
  HorizontalPodAutoscalerCondition,
  HorizontalPodAutoscalerStatus,
  MetricStatus,
} from '@fairlead/kube/types/autoscaling-v2'

import type { ControllerContext } from '../context.ts'
import { ignoreNotFound } from '../write.ts'
import { createMemory, limit, noteScale } from './limits.ts'
import type { Memory } from './limits.ts'
import { createMetricsClient } from './metrics-client.ts'
import { failureReason, propose, tolerancesOf } from './propose.ts'
import type { Proposal, Target } from './propose.ts'
import { openScale } from './scale-client.ts'
import type { ScaleClient } from './scale-client.ts'

export interface HorizontalPodAutoscalerOptions {
  /** How often each autoscaler looks. Default 15,000. */
  readonly syncMs?: number | undefined
}

/** Scales what HorizontalPodAutoscalers refer to, by what metrics say of it, every 15 seconds. */
export function runHorizontalPodAutoscaler(
  context: ControllerContext,
  { syncMs = 15_000 }: HorizontalPodAutoscalerOptions = {},
): Promise<void> {
  const { client, clock, signal, onError } = context
  const autoscalers = client.resource('autoscaling/v2/HorizontalPodAutoscaler')
  const informer = createInformer(autoscalers, {
    signal,
    clock,
    onError: (error) => onError(error, { controller: 'horizontal-pod-autoscaler' }),
  })
  const recorder = context.recorder('horizontal-pod-autoscaler')
  const memories = new Map<string, Memory>()
  const tools: Omit<Tools, 'rivalsOf'> = { context, recorder, metrics: createMetricsClient(client) }
  const selected = new Map<string, ReadonlySet<string>>()

  /** Autoscalers of the namespace, this one included, that scale some of the pods that this one was just seen to scale. */
  function rivalsOf(key: string, podUids: ReadonlySet<string>): string[] {
    selected.set(key, podUids)
    const { namespace = '' } = parseKey(key)
    return [...selected].flatMap(([other, theirs]) =>
      other.startsWith(`${namespace}/`) && [...theirs].some((uid) => podUids.has(uid)) ? [other] : [],
    )
  }

  async function reconcile(key: string): Promise<{ requeueAfterMs: number } | void> {
    const { namespace, name } = parseKey(key)
    const autoscaler = informer.get(namespace, name)
    if (autoscaler === undefined) {
      memories.delete(key)
      selected.delete(key)
      return
    }
    const memory = memories.get(key) ?? createMemory()
    memories.set(key, memory)
    const status = await new Look(autoscaler, memory, { ...tools, rivalsOf: (uids) => rivalsOf(key, uids) }).take()
    if (!isDeepStrictEqual(status, autoscaler.status)) {
      await ignoreNotFound(autoscalers.updateStatus({ ...autoscaler, status }, { namespace }))
    }
    return { requeueAfterMs: syncMs }
  }

  return runController({
    name: 'horizontal-pod-autoscaler',
    sources: [
      fromInformer(informer, (object, _event, old) =>
        isDeepStrictEqual(object.spec, old?.spec) ? [] : [keyOf(object)],
      ),
    ],
    reconcile,
    signal,
    onError,
    clock,
  })
}

interface Tools {
  readonly context: ControllerContext
  readonly recorder: EventRecorder
  readonly metrics: ReturnType<typeof createMetricsClient>
  /** The keys of all autoscalers that scale some of these pods, this one included. */
  readonly rivalsOf: (podUids: ReadonlySet<string>) => readonly string[]
}

/** What all metrics together ask for; nothing when too little is known. */
type Wish =
  | { readonly replicas: number; readonly metric: string; readonly statuses: readonly MetricStatus[] }
  | { readonly statuses: readonly MetricStatus[]; readonly failure: string }

/** One look of an autoscaler at its target. */
class Look {
  readonly #autoscaler: HorizontalPodAutoscaler
  readonly #memory: Memory
  readonly #tools: Tools
  readonly #now: number
  #conditions: readonly HorizontalPodAutoscalerCondition[]

  constructor(autoscaler: HorizontalPodAutoscaler, memory: Memory, tools: Tools) {
    this.#autoscaler = autoscaler
    this.#memory = memory
    this.#tools = tools
    this.#now = tools.context.clock.now()
    this.#conditions = autoscaler.status?.conditions ?? []
  }

  /** Scales if need be; resolves with the status from now on. */
  async take(): Promise<HorizontalPodAutoscalerStatus> {
    const { spec, metadata } = this.#autoscaler
    try {
      const scaled = await openScale(this.#tools.context.client, metadata?.namespace ?? '', spec.scaleTargetRef)
      const scale = await scaled.get()
      const message = "the HPA controller was able to get the target's current scale"
      this.#say('AbleToScale', 'True', { reason: 'SucceededGetScale', message })
      return await this.#decide(scaled, scale)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      this.#event('Warning', 'FailedGetScale', why)
      const message = `the HPA controller was unable to get the target's current scale: ${why}`
      this.#say('AbleToScale', 'False', { reason: 'FailedGetScale', message })
      return this.#status({})
    }
  }

  async #decide(scaled: ScaleClient, scale: Scale): Promise<HorizontalPodAutoscalerStatus> {
    const { minReplicas: min = 1, maxReplicas: max, behavior } = this.#autoscaler.spec
    const current = scale.spec?.replicas ?? 0
    const currentReplicas = scale.status?.replicas ?? 0
    if (this.#memory.recommendations.length === 0)
      this.#memory.recommendations.push({ at: this.#now, replicas: current })
    if (current === 0 && min !== 0) {
      const message = 'scaling is disabled since the replica count of the target is zero'
      this.#say('ScalingActive', 'False', { reason: 'ScalingDisabled', message })
      return this.#status({ currentReplicas, desiredReplicas: 0, currentMetrics: [] })
    }
    if (current > max) {
      const reason = 'Current number of replicas above Spec.MaxReplicas'
      return await this.#scale(scaled, scale, { desired: max, reason, statuses: [] })
    }
    if (current < min) {
      const reason = 'Current number of replicas below Spec.MinReplicas'
      return await this.#scale(scaled, scale, { desired: min, reason, statuses: [] })
    }
    const wish = await this.#ask(scale)
    if ('failure' in wish) {
      this.#event('Warning', 'FailedComputeMetricsReplicas', wish.failure)
      return this.#status({ currentReplicas, currentMetrics: [...wish.statuses] })
    }
    const limited = limit({ current, desired: wish.replicas, min, max }, behavior, this.#memory, this.#now)
    this.#say('AbleToScale', 'True', limited.ableToScale)
    this.#say('ScalingLimited', limited.scalingLimited.isLimited ? 'True' : 'False', limited.scalingLimited)
    const reason = limited.replicas > current ? `${wish.metric} above target` : 'All metrics below target'
    return await this.#scale(scaled, scale, { desired: limited.replicas, reason, statuses: wish.statuses })
  }

  /** The most that any metric asks for. Where one is not known, the others may add replicas but take none away. */
  async #ask(scale: Scale): Promise<Wish> {
    const { metrics = [] } = this.#autoscaler.spec
    const target = await this.#target(scale)
    if ('failure' in target) return { statuses: [], failure: target.failure }
    const outcomes = await Promise.allSettled(metrics.map((metric) => propose(metric, target, this.#tools.metrics)))
    const proposals = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    const statuses = proposals.map(({ status }) => status)
    const [first] = outcomes.flatMap((outcome, index) => {
      const metric = metrics[index]
      return outcome.status === 'rejected' && metric !== undefined ? [{ metric, error: outcome.reason as Error }] : []
    })
    const highest = proposals.reduce<Proposal | undefined>(
      (most, each) => (most === undefined || each.replicas > most.replicas ? each : most),
      undefined,
    )
    if (highest === undefined || (first !== undefined && highest.replicas < target.specReplicas)) {
      const { message } = first?.error ?? new Error('no metrics')
      const reason = first === undefined ? 'InvalidMetricSourceType' : failureReason(first.metric)
      const told = `the HPA was unable to compute the replica count: ${message}`
      this.#say('ScalingActive', 'False', { reason, message: told })
      this.#event('Warning', reason, message)
      const count = metrics.length - proposals.length
      return {
        statuses,
        failure: `invalid metrics (${count} invalid out of ${metrics.length}), first error is: ${message}`,
      }
    }
    const message = `the HPA was able to successfully calculate a replica count from ${highest.metric}`
    this.#say('ScalingActive', 'True', { reason: 'ValidMetricFound', message })
    return { replicas: highest.replicas, metric: highest.metric, statuses }
  }

  async #target({ spec, status }: Scale): Promise<Target | { readonly failure: string }> {
    const { selector = '', replicas = 0 } = status ?? {}
    const { namespace = '' } = this.#autoscaler.metadata ?? {}
    if (selector === '') {
      const message = "the HPA target's scale is missing a selector"
      this.#say('ScalingActive', 'False', { reason: 'InvalidSelector', message })
      this.#event('Warning', 'SelectorRequired', 'selector is required')
      return { failure: 'selector is required' }
    }
    const { items } = await this.#tools.context.client.resource('v1/Pod').list({ namespace, labelSelector: selector })
    const rivals = this.#tools.rivalsOf(new Set(items.map(({ metadata }) => metadata?.uid ?? '')))
    if (rivals.length > 1) {
      const message = `pods by selector ${selector} are controlled by multiple HPAs: [${rivals.join(' ')}]`
      this.#say('ScalingActive', 'False', { reason: 'AmbiguousSelector', message })
      this.#event('Warning', 'AmbiguousSelector', message)
      return { failure: message }
    }
    return {
      namespace,
      selector,
      specReplicas: spec?.replicas ?? 0,
      statusReplicas: replicas,
      pods: items,
      tolerances: tolerancesOf(this.#autoscaler),
      now: this.#now,
    }
  }

  async #scale(
    scaled: ScaleClient,
    scale: Scale,
    wanted: { desired: number; reason: string; statuses: readonly MetricStatus[] },
  ): Promise<HorizontalPodAutoscalerStatus> {
    const { desired, reason, statuses } = wanted
    const current = scale.spec?.replicas ?? 0
    const figures = { currentReplicas: scale.status?.replicas ?? 0, currentMetrics: [...statuses] }
    if (desired === current) return this.#status({ ...figures, desiredReplicas: desired })
    try {
      await scaled.update(scale, desired)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      this.#event('Warning', 'FailedRescale', `New size: ${desired}; reason: ${reason}; error: ${why}`)
      const message = `the HPA controller was unable to update the target scale: ${why}`
      this.#say('AbleToScale', 'False', { reason: 'FailedUpdateScale', message })
      return this.#status(figures)
    }
    const message = `the HPA controller was able to update the target scale to ${desired}`
    this.#say('AbleToScale', 'True', { reason: 'SucceededRescale', message })
    this.#event('Normal', 'SuccessfulRescale', `New size: ${desired}; reason: ${reason}`)
    noteScale(this.#memory, current, desired, this.#now)
    return this.#status({ ...figures, desiredReplicas: desired, lastScaleTime: renderTime(this.#now) })
  }

  #status(change: Partial<HorizontalPodAutoscalerStatus>): HorizontalPodAutoscalerStatus {
    const { status, metadata } = this.#autoscaler
    const { generation } = metadata ?? {}
    return {
      ...status,
      desiredReplicas: status?.desiredReplicas ?? 0,
      ...change,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      conditions: [...this.#conditions],
    }
  }

  #say(type: string, status: 'True' | 'False', { reason, message }: { reason: string; message: string }): void {
    this.#conditions = setCondition(this.#conditions, { type, status, reason, message }, this.#now)
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#tools.recorder.record(this.#autoscaler, { type, reason, message })
  }
}
