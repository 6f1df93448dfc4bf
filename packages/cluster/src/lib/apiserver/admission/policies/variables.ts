import type { Variable } from '@fairlead/kube/types/admissionregistration-v1'

import { compile } from '../../cel/compile.ts'
import type { Program } from '../../cel/compile.ts'
import type { Meter } from '../../cel/evaluate.ts'
import type { Type } from '../../cel/types.ts'
import { CelError, CelObject } from '../../cel/values.ts'
import type { Value } from '../../cel/values.ts'
import { compileLoosely } from './conditions.ts'

/** The variables a policy defines, each of which may use those before it. */
export interface Variables {
  /** What may stand in the expressions of the policy. */
  readonly types: ReadonlyMap<string, Type>
  /** Adds `variables`, whose values are worked out when somebody looks at them, and once. */
  bind(values: Map<string, Value>, meter: Meter): void
}

export function compileVariables(variables: readonly Variable[], known: ReadonlyMap<string, Type>): Variables {
  const fields = new Map<string, Type>()
  const types = new Map(known).set('variables', { kind: 'object', name: 'kubernetes.variables', fields })
  const programs = variables.map(({ name, expression }) => {
    const evaluate = compileLoosely(expression, types)
    fields.set(name, typeOf(expression, types))
    return { name, evaluate }
  })
  return {
    types,
    bind(values, meter) {
      const readers = new Map(
        programs.map(({ name, evaluate }) => [name, () => evaluateNamed(name, () => evaluate(values, meter))] as const),
      )
      const data = Object.fromEntries(programs.map(({ name }) => [name, true]))
      values.set('variables', new CelObject('kubernetes.variables', data, readers, new Map()))
    },
  }
}

function typeOf(expression: string, types: ReadonlyMap<string, Type>): Type {
  try {
    const program: Program = compile(expression, types)
    return program.type
  } catch {
    // It fails when it runs, and says why.
    return { kind: 'dyn' }
  }
}

function evaluateNamed(name: string, evaluate: () => Value): Value {
  try {
    return evaluate()
  } catch (error) {
    if (!(error instanceof CelError)) throw error
    throw new CelError(`composited variable ${JSON.stringify(name)} fails to evaluate: ${error.message}`)
  }
}
