import { renderTime } from './clock.ts'

/** What all condition types of the API share. */
export interface ConditionLike {
  type: string
  status: string
  reason?: string | undefined
  message?: string | undefined
  lastTransitionTime?: string | undefined
}

/**
 * The conditions with `condition` put in the place of the one of its type. `lastTransitionTime` moves only when the
 * status does. Returns the list given when nothing changed.
 */
export function setCondition<C extends ConditionLike>(
  conditions: readonly C[] | undefined,
  condition: C,
  now: number = Date.now(),
): readonly C[] {
  const current = conditions ?? []
  const old = current.find(({ type }) => type === condition.type)
  if (old === undefined) {
    return [...current, { ...condition, lastTransitionTime: condition.lastTransitionTime ?? renderTime(now) }]
  }
  const isSame = Object.entries(condition).every(
    ([key, value]) => key === 'lastTransitionTime' || old[key as keyof C] === value,
  )
  if (isSame) {
    return current
  }
  const lastTransitionTime = old.status === condition.status ? old.lastTransitionTime : renderTime(now)
  return current.map((other) => (other === old ? { ...other, ...condition, lastTransitionTime } : other))
}

/** The condition of a type, if there is one. */
export function findCondition<C extends ConditionLike>(
  conditions: readonly C[] | undefined,
  type: string,
): C | undefined {
  return conditions?.find((condition) => condition.type === type)
}
