import { isObject } from './schema.ts'

/** A path into an object as printer columns, scale and selectable fields have them. */
export interface JsonPath {
  /** Every value the path leads to; keys that are not there lead nowhere. */
  find(object: unknown): unknown[]
}

type Step =
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'every' }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'filter'; readonly path: readonly Step[]; readonly operator: string; readonly value: unknown }

/** Reads a path such as `.status.conditions[?(@.type=="Ready")].status`; throws a SyntaxError when it is none. */
export function parseJsonPath(text: string): JsonPath {
  const steps = parseSteps(text)
  return { find: (object) => follow([object], steps) }
}

function parseSteps(text: string): Step[] {
  const steps: Step[] = []
  let rest = text.startsWith('$') ? text.slice(1) : text
  while (rest !== '' && rest !== '.') {
    const { step, length } = parseStep(rest, text)
    steps.push(step)
    rest = rest.slice(length)
  }
  return steps
}

const keyStep = /^\.((?:[^.[\]()'"\\]|\\.)+)/
const quotedStep = /^\.?\[['"]((?:[^'"\\]|\\.)*)['"]\]/
const indexStep = /^\.?\[(-?\d+)\]/
const filterStep =
  /^\.?\[\?\(\s*@((?:[^=<>!)'"])*?)\s*(?:(==|!=|<=|>=|<|>)\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^)\s]+)\s*)?\)\]/

function parseStep(rest: string, whole: string): { step: Step; length: number } {
  const every = /^(\.?\[\*\]|\.\*)/.exec(rest)
  if (every !== null) return { step: { kind: 'every' }, length: every[0].length }
  const index = indexStep.exec(rest)
  if (index !== null) return { step: { kind: 'index', index: Number(index[1]) }, length: index[0].length }
  const quoted = quotedStep.exec(rest) ?? keyStep.exec(rest)
  if (quoted !== null) {
    const key = (quoted[1] ?? '').replaceAll(/\\(.)/g, '$1')
    return { step: { kind: 'key', key }, length: quoted[0].length }
  }
  const filter = filterStep.exec(rest)
  if (filter === null) throw new SyntaxError(`Cannot parse JSONPath "${whole}": unexpected "${rest}"`)
  const [all, path = '', operator = 'exists', value] = filter
  return { step: { kind: 'filter', path: parseSteps(path), operator, value: parseLiteral(value) }, length: all.length }
}

function parseLiteral(text: string | undefined): unknown {
  if (text === undefined) return undefined
  if (text.startsWith("'") || text.startsWith('"')) return text.slice(1, -1).replaceAll(/\\(.)/g, '$1')
  if (text === 'true' || text === 'false') return text === 'true'
  const number = Number(text)
  return Number.isNaN(number) ? text : number
}

function follow(values: readonly unknown[], steps: readonly Step[]): unknown[] {
  let found = [...values]
  for (const step of steps) found = found.flatMap((value) => take(value, step))
  return found
}

function take(value: unknown, step: Step): unknown[] {
  switch (step.kind) {
    case 'key':
      if (isObject(value)) return Object.hasOwn(value, step.key) ? [value[step.key]] : []
      return []
    case 'every':
      if (Array.isArray(value)) return value
      return isObject(value) ? Object.values(value) : []
    case 'index': {
      if (!Array.isArray(value)) return []
      const at = step.index < 0 ? value.length + step.index : step.index
      return at < value.length ? [value[at]] : []
    }
    case 'filter': {
      const items = Array.isArray(value) ? value : isObject(value) ? Object.values(value) : []
      return items.filter((item) => isMatch(follow([item], step.path), step.operator, step.value))
    }
  }
}

function isMatch(found: readonly unknown[], operator: string, value: unknown): boolean {
  if (operator === 'exists') return found.length > 0
  const [first] = found
  const left = typeof first === 'bigint' && typeof value === 'number' ? Number(first) : first
  if (found.length === 0) return false
  if (operator === '==') return left === value
  if (operator === '!=') return left !== value
  if (typeof left !== typeof value || (typeof left !== 'number' && typeof left !== 'string')) return false
  const [a, b] = [left, value as typeof left]
  if (operator === '<') return a < b
  if (operator === '<=') return a <= b
  return operator === '>' ? a > b : a >= b
}
