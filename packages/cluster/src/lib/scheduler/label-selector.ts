import type { LabelSelector } from '@fairlead/kube/types'

export type Labels = Readonly<Record<string, string>>

/** Whether labels fulfil a selector. An empty selector matches everything; an absent one nothing. */
export function matchesSelector(selector: LabelSelector | undefined, labels: Labels = {}): boolean {
  if (selector === undefined) return false
  const { matchLabels = {}, matchExpressions = [] } = selector
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key]
      if (operator === 'Exists') return value !== undefined
      if (operator === 'DoesNotExist') return value === undefined
      return operator === 'In'
        ? value !== undefined && values.includes(value)
        : value === undefined || !values.includes(value)
    })
  )
}

export interface Keys {
  readonly matchLabelKeys?: readonly string[] | undefined
  readonly mismatchLabelKeys?: readonly string[] | undefined
}

/** A selector that also asks for the same (or other) values of some keys as `labels` has; keys it lacks are passed over. */
export function withKeys(
  selector: LabelSelector | undefined,
  labels: Labels = {},
  { matchLabelKeys = [], mismatchLabelKeys = [] }: Keys = {},
): LabelSelector | undefined {
  if (selector === undefined || matchLabelKeys.length + mismatchLabelKeys.length === 0) return selector
  const asked = (keys: readonly string[], operator: string): NonNullable<LabelSelector['matchExpressions']> =>
    keys.flatMap((key) => (labels[key] === undefined ? [] : [{ key, operator, values: [labels[key]] }]))
  const more = [...asked(matchLabelKeys, 'In'), ...asked(mismatchLabelKeys, 'NotIn')]
  return { ...selector, matchExpressions: [...(selector.matchExpressions ?? []), ...more] }
}
