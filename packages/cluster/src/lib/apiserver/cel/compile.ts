import { check } from './check.ts'
import type { Checked } from './check.ts'
import { estimateCost } from './cost.ts'
import { Constants, evaluate } from './evaluate.ts'
import type { Meter } from './evaluate.ts'
import { checkLiterals } from './literals.ts'
import { parse } from './parse.ts'
import type { ParseOptions } from './parse.ts'
import type { Type } from './types.ts'
import type { Value } from './values.ts'

/** An expression that can run. */
export interface Program {
  readonly type: Type
  /** The variables it reads. */
  readonly variables: ReadonlySet<string>
  /** The most it can cost, by the limits of its variables. */
  readonly estimatedCost: number
  /** Runs it. Throws CelError, or CelBudgetError when `meter` is used up; what it cost is added to `meter.spent`. */
  evaluate(variables: ReadonlyMap<string, Value>, meter: Meter): Value
}

/**
 * Reads an expression of the Common Expression Language with Kubernetes' extensions (those of 1.36) and checks its types
 * against those of its variables. Throws CelSyntaxError.
 */
export function compile(expression: string, variables: ReadonlyMap<string, Type>, options: ParseOptions = {}): Program {
  const checked = check(parse(expression, options), variables)
  checkLiterals(checked)
  return new CompiledProgram(checked, variables)
}

class CompiledProgram implements Program {
  readonly #checked: Checked
  readonly #declared: ReadonlyMap<string, Type>
  readonly #constants: Constants
  #estimate: number | undefined

  constructor(checked: Checked, declared: ReadonlyMap<string, Type>) {
    this.#checked = checked
    this.#declared = declared
    this.#constants = new Constants(checked.expr)
  }

  get type(): Type {
    return this.#checked.type
  }

  get variables(): ReadonlySet<string> {
    return this.#checked.variables
  }

  get estimatedCost(): number {
    this.#estimate ??= estimateCost(this.#checked, this.#declared)
    return this.#estimate
  }

  evaluate(variables: ReadonlyMap<string, Value>, meter: Meter): Value {
    return evaluate(this.#checked, this.#constants, variables, meter)
  }
}
