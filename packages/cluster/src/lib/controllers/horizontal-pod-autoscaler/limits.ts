import type { HorizontalPodAutoscaler, HPAScalingPolicy, HPAScalingRules } from '@fairlead/kube/types/autoscaling-v2'

/** What an autoscaler remembers between two looks; times in milliseconds since 1970. */
export interface Memory {
  /** What metrics asked for. */
  recommendations: { readonly at: number; readonly replicas: number }[]
  /** What was added and removed. */
  scaleUps: { readonly at: number; readonly change: number }[]
  scaleDowns: { readonly at: number; readonly change: number }[]
}

export function createMemory(): Memory {
  return { recommendations: [], scaleUps: [], scaleDowns: [] }
}

export interface Verdict {
  readonly reason: string
  readonly message: string
}

/** How many replicas there may be of those that metrics ask for. */
export interface Limited {
  readonly replicas: number
  readonly ableToScale: Verdict
  readonly scalingLimited: Verdict & { readonly isLimited: boolean }
}

export interface Ask {
  readonly current: number
  readonly desired: number
  readonly min: number
  readonly max: number
}

const defaultDownscaleWindowMs = 300_000
const within: Verdict = { reason: 'DesiredWithinRange', message: 'the desired count is within the acceptable range' }
const tooFew: Verdict = {
  reason: 'TooFewReplicas',
  message: 'the desired replica count is less than the minimum replica count',
}
const tooMany: Verdict = {
  reason: 'TooManyReplicas',
  message: 'the desired replica count is more than the maximum replica count',
}
const tooFastUp: Verdict = {
  reason: 'ScaleUpLimit',
  message: 'the desired replica count is increasing faster than the maximum scale rate',
}
const tooFastDown: Verdict = {
  reason: 'ScaleDownLimit',
  message: 'the desired replica count is decreasing faster than the maximum scale rate',
}
const matching: Verdict = { reason: 'ReadyForNewScale', message: 'recommended size matches current size' }
const heldDown: Verdict = {
  reason: 'ScaleUpStabilized',
  message: 'recent recommendations were lower than current one, applying the lowest recent recommendation',
}
const heldUp: Verdict = {
  reason: 'ScaleDownStabilized',
  message: 'recent recommendations were higher than current one, applying the highest recent recommendation',
}

/** Applies stabilisation windows, policies and bounds, and notes what was asked for in `memory`. */
export function limit(
  ask: Ask,
  behavior: NonNullable<HorizontalPodAutoscaler['spec']>['behavior'],
  memory: Memory,
  now: number,
): Limited {
  const up = behavior === undefined ? undefined : (behavior.scaleUp ?? {})
  const down = behavior === undefined ? undefined : (behavior.scaleDown ?? {})
  const stable =
    up === undefined || down === undefined ? stabiliseDown(ask, memory, now) : stabilise(ask, { up, down }, memory, now)
  const isHeld = stable !== ask.desired
  const ableToScale = !isHeld ? matching : up !== undefined && ask.desired >= ask.current ? heldDown : heldUp
  const wanted = { ...ask, desired: stable }
  const bounded =
    up === undefined || down === undefined ? bound(wanted) : boundByPolicies(wanted, { up, down }, memory, now)
  const isLimited = bounded.replicas !== stable
  return { replicas: bounded.replicas, ableToScale, scalingLimited: { ...bounded.why, isLimited } }
}

interface Rules {
  readonly up: HPAScalingRules
  readonly down: HPAScalingRules
}

/** Without behaviour: the most that was asked for within five minutes. */
function stabiliseDown({ desired }: Ask, memory: Memory, now: number): number {
  const recent = memory.recommendations.filter(({ at }) => at > now - defaultDownscaleWindowMs)
  memory.recommendations = [...recent, { at: now, replicas: desired }]
  return Math.max(desired, ...recent.map(({ replicas }) => replicas))
}

/** No more than the least asked for in the window of scaling up, no fewer than the most in that of scaling down. */
function stabilise({ current, desired }: Ask, { up, down }: Rules, memory: Memory, now: number): number {
  const upMs = (up.stabilizationWindowSeconds ?? 0) * 1000
  const downMs = (down.stabilizationWindowSeconds ?? defaultDownscaleWindowMs / 1000) * 1000
  const since = (ms: number): number[] =>
    memory.recommendations.filter(({ at }) => at > now - ms).map(({ replicas }) => replicas)
  const lowest = Math.min(desired, ...since(upMs))
  const highest = Math.max(desired, ...since(downMs))
  const kept = memory.recommendations.filter(({ at }) => at > now - Math.max(upMs, downMs))
  memory.recommendations = [...kept, { at: now, replicas: desired }]
  return Math.min(Math.max(current, lowest), highest)
}

/** Without behaviour: at most twice as many, or four. */
function bound({ current, desired, min, max }: Ask): { replicas: number; why: Verdict } {
  const fastest = Math.max(2 * current, 4)
  const most = Math.min(fastest, max)
  if (desired < min) return { replicas: min, why: tooFew }
  if (desired > most) return { replicas: most, why: max > fastest ? tooFastUp : tooMany }
  return { replicas: desired, why: within }
}

function boundByPolicies(
  { current, desired, min, max }: Ask,
  { up, down }: Rules,
  memory: Memory,
  now: number,
): { replicas: number; why: Verdict } {
  if (desired > current) {
    const fastest = Math.max(current, highestByPolicies(current, up, memory, now))
    const most = Math.min(max, fastest)
    if (desired > most) return { replicas: most, why: max > fastest ? tooFastUp : tooMany }
  } else if (desired < current) {
    const fastest = Math.min(current, lowestByPolicies(current, down, memory, now))
    const least = Math.max(min, fastest)
    if (desired < least) return { replicas: least, why: min < fastest ? tooFastDown : tooFew }
  }
  return { replicas: desired, why: within }
}

const defaultUp: readonly HPAScalingPolicy[] = [
  { type: 'Pods', value: 4, periodSeconds: 15 },
  { type: 'Percent', value: 100, periodSeconds: 15 },
]
const defaultDown: readonly HPAScalingPolicy[] = [{ type: 'Percent', value: 100, periodSeconds: 15 }]

function highestByPolicies(current: number, rules: HPAScalingRules, memory: Memory, now: number): number {
  if (rules.selectPolicy === 'Disabled') return current
  const limits = (rules.policies ?? defaultUp).map(({ type, value, periodSeconds }) => {
    const start = startOf(current, memory, periodSeconds, now)
    return type === 'Pods' ? start + value : Math.ceil(start * (1 + value / 100))
  })
  return rules.selectPolicy === 'Min' ? Math.min(...limits) : Math.max(...limits)
}

function lowestByPolicies(current: number, rules: HPAScalingRules, memory: Memory, now: number): number {
  if (rules.selectPolicy === 'Disabled') return current
  const limits = (rules.policies ?? defaultDown).map(({ type, value, periodSeconds }) => {
    const start = startOf(current, memory, periodSeconds, now)
    return type === 'Pods' ? start - value : Math.trunc(start * (1 - value / 100))
  })
  return rules.selectPolicy === 'Min' ? Math.max(...limits) : Math.min(...limits)
}

/** How many replicas there were when a period began. */
function startOf(current: number, { scaleUps, scaleDowns }: Memory, periodSeconds: number, now: number): number {
  const within = (changes: Memory['scaleUps']): number =>
    changes.filter(({ at }) => at > now - periodSeconds * 1000).reduce((total, { change }) => total + change, 0)
  return current - within(scaleUps) + within(scaleDowns)
}

/** The longest period a policy may have; older changes count for nobody. */
const longestPeriodMs = 1_800_000

export function noteScale(memory: Memory, before: number, after: number, now: number): void {
  const isRecent = ({ at }: { at: number }): boolean => at > now - longestPeriodMs
  memory.scaleUps = memory.scaleUps.filter(isRecent)
  memory.scaleDowns = memory.scaleDowns.filter(isRecent)
  if (after > before) memory.scaleUps.push({ at: now, change: after - before })
  else memory.scaleDowns.push({ at: now, change: before - after })
}
