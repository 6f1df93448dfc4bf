import type { LabelSelector } from '@fairlead/kube/types/meta-v1'

import type { Labels } from '../label-selector.ts'

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
