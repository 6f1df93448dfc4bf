import type { DeviceSelector } from '@fairlead/kube/types/resource-v1'

import { compile } from '../../cel/compile.ts'
import { CelSyntaxError, renderIssue } from '../../cel/syntax.ts'
import { boolType, dyn, parseType, renderType } from '../../cel/types.ts'
import type { Type } from '../../cel/types.ts'
import type { FieldError } from '../../status.ts'
import { forbidden, invalid, required, tooLong } from '../field-errors.ts'
import { each } from './parts.ts'

const mostSelectors = 32
const longestExpression = 10 * 1024
const highestCost = 1_000_000

const mostAttributes = 32
const domain: Type = { kind: 'string', maxElements: 63 }
const id: Type = { kind: 'string', maxElements: 32 }

function byDomain(value: Type): Type {
  const inner: Type = { kind: 'map', key: id, value, maxElements: mostAttributes }
  return { kind: 'map', key: domain, value: inner, maxElements: mostAttributes }
}

/** What expressions know of a device (k8s.io/dynamic-resource-allocation/cel). */
const variables: ReadonlyMap<string, Type> = new Map([
  [
    'device',
    {
      kind: 'object',
      name: 'kubernetes.DRADevice',
      fields: new Map<string, Type>([
        ['driver', { kind: 'string', maxElements: 63 }],
        ['allowMultipleAllocations', { kind: 'bool', maxElements: 1 }],
        ['attributes', byDomain({ ...dyn, maxElements: 64 })],
        ['capacity', byDomain(parseType('kubernetes.Quantity'))],
      ]),
    },
  ],
])

/** What is wrong with selectors of devices. */
export function validateSelectors(selectors: readonly DeviceSelector[] | undefined, field: string): FieldError[] {
  return each(selectors, mostSelectors, field, ({ cel }, place) =>
    cel === undefined ? [required(`${place}.cel`)] : validateExpression(cel.expression, `${place}.cel.expression`),
  )
}

function validateExpression(expression: string, field: string): FieldError[] {
  if (Buffer.byteLength(expression) > longestExpression) return [tooLong(field, longestExpression)]
  try {
    const { type, estimatedCost } = compile(expression, variables, { canBind: true })
    if (type.kind !== 'bool' && type.kind !== 'dyn') {
      const why = `must evaluate to ${renderType(boolType)} or the unknown type, not ${renderType(type)}`
      return [invalid(field, expression, why)]
    }
    return estimatedCost > highestCost ? [forbidden(field, 'too complex, exceeds cost limit')] : []
  } catch (error) {
    if (!(error instanceof CelSyntaxError)) throw error
    return [invalid(field, expression, `compilation failed: ${renderIssue(error, expression)}`)]
  }
}
