import type { HeaderChange } from '../model.ts'
import { isOfConnection } from '../header-names.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { validateHeaderName, validateHeaderValue } = process.getBuiltinModule('node:http')

type Pair = readonly [name: string, value: string]

/**
 * A change of headers as an object says it, names in lower case. Left out is what HTTP cannot carry, which neither API server nor
 * definition refuse, and what is of one connection: changed, it would end messages elsewhere than they end.
 */
export function headerChangeOf(asked: {
  readonly set: readonly Pair[]
  readonly add: readonly Pair[]
  readonly remove: readonly string[]
}): HeaderChange {
  const lowered = (pairs: readonly Pair[]): Pair[] =>
    pairs.map(([name, value]) => [name.toLowerCase(), value] as const).filter(isSendable)
  return {
    set: lowered(asked.set),
    add: lowered(asked.add),
    remove: asked.remove.map((name) => name.toLowerCase()).filter((name) => !isFraming(name)),
  }
}

function isSendable([name, value]: Pair): boolean {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    return !isFraming(name)
  } catch {
    return false
  }
}

function isFraming(name: string): boolean {
  return name === 'content-length' || isOfConnection(name)
}
