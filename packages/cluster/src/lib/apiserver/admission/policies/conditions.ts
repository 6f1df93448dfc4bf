import type { MatchCondition } from '@fairlead/kube/types/admissionregistration-v1'
import type { Type } from '../../cel/types.ts'
import { compile } from '../../cel/compile.ts'
import type { Program } from '../../cel/compile.ts'
import { CelBudgetError, CelError } from '../../cel/values.ts'
import type { Value } from '../../cel/values.ts'
import type { Authorizer } from '../../access/authorizer.ts'
import type { Resource } from '../../resource.ts'
import { forbiddenObject } from '../../status.ts'
import type { AdmissionAttributes } from '../attributes.ts'
import type { Matcher } from '../match.ts'
import { namespaceOf } from '../namespaces.ts'
import { toVersion } from '../versioned.ts'
import { conditionVariables, variablesOf } from './environment.ts'

/** What all conditions of one webhook or policy may cost for one request. */
const budget = 2_500_000

export interface ConditionContext extends Matcher {
  readonly authorizer: Authorizer
}

/** The `matchConditions` of a webhook or policy. */
export interface Conditions {
  /** Whether all hold. When one fails and none is false, the failure policy decides: 403, or false. */
  hold(
    context: ConditionContext,
    attributes: AdmissionAttributes,
    matched: Resource,
    failurePolicy: string | undefined,
    more?: ReadonlyMap<string, Value>,
  ): boolean
}

export function compileConditions(
  conditions: readonly MatchCondition[],
  variables: ReadonlyMap<string, Type> = conditionVariables,
): Conditions {
  if (conditions.length === 0) return { hold: () => true }
  const programs = conditions.map(({ name, expression }) => ({ name, run: compileLoosely(expression, variables) }))
  return {
    hold(context, attributes, matched, failurePolicy, more) {
      const values = factsOf(context, attributes, matched)
      for (const [name, value] of more ?? []) values.set(name, value)
      const meter = { spent: 0, limit: budget }
      const failures: string[] = []
      for (const { name, run } of programs) {
        const result = outcomeOf(() => run(values, meter))
        if (result === false) return false
        if (typeof result === 'string') failures.push(`expression '${name}' resulted in error: ${result}`)
      }
      if (failures.length === 0) return true
      if (failurePolicy === 'Ignore') return false
      const { info } = attributes.resource
      throw forbiddenObject(
        info,
        attributes.name,
        failures.length === 1 ? (failures[0] ?? '') : `[${failures.join(', ')}]`,
      )
    },
  }
}

/** The variables of a request in the version `matched`. */
export function factsOf(
  context: ConditionContext,
  attributes: AdmissionAttributes,
  matched: Resource,
): Map<string, Value> {
  const { resource } = attributes
  return variablesOf({
    attributes,
    matched,
    object: toVersion(attributes.object, resource, matched),
    oldObject: toVersion(attributes.oldObject, resource, matched),
    namespace: namespaceOf(context.store, attributes),
    authorizer: context.authorizer,
  })
}

/** An expression that does not compile, kept by an older release perhaps, fails when it runs. */
export function compileLoosely(expression: string, variables: ReadonlyMap<string, Type>): Program['evaluate'] {
  try {
    const program = compile(expression, variables)
    return (values, meter) => program.evaluate(values, meter)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return () => {
      throw new CelError(`compilation failed: ${error.message}`)
    }
  }
}

/** True, false, or why there is no answer. */
function outcomeOf(run: () => Value): boolean | string {
  try {
    const value = run()
    return typeof value === 'boolean' ? value : 'cel expression does not evaluate to bool'
  } catch (error) {
    if (error instanceof CelError || error instanceof CelBudgetError) return error.message
    throw error
  }
}
