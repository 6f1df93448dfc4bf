import type { KubeObject } from '@fairlead/kube/types'

import type { Meter } from '../../cel/evaluate.ts'
import { CelBudgetError, CelError, fromJson } from '../../cel/values.ts'
import type { Value } from '../../cel/values.ts'
import type { Resource } from '../../resource.ts'
import type { AdmissionAttributes } from '../attributes.ts'
import { factsOf } from './conditions.ts'
import type { ConditionContext } from './conditions.ts'
import type { Variables } from './variables.ts'

/** What all expressions of one policy may cost for one binding and parameter. */
const budget = 10_000_000

/** The variables of one evaluation of a policy, with `params` and `variables`. */
export function bindPolicy(
  context: ConditionContext,
  attributes: AdmissionAttributes,
  matched: Resource,
  params: KubeObject | undefined,
  variables: Variables,
): { readonly values: Map<string, Value>; readonly meter: Meter } {
  const meter: Meter = { spent: 0, limit: budget }
  const values = factsOf(context, attributes, matched)
  values.set('params', params === undefined ? null : fromJson(params))
  variables.bind(values, meter)
  return { values, meter }
}

/** Runs an expression; its failure becomes an `Error` of ours with its message. */
export function attempt(run: () => Value): { readonly value: Value } | { readonly failure: string } {
  try {
    return { value: run() }
  } catch (error) {
    if (error instanceof CelError || error instanceof CelBudgetError) return { failure: error.message }
    throw error
  }
}
