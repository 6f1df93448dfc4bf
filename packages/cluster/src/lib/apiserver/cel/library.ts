import { authorizationFunctions } from './authorization.ts'
import { kubernetesFunctions } from './kubernetes.ts'
import { noOverload } from './operators.ts'
import type { Implementation } from './operators.ts'
import { textFunctions } from './text.ts'
import { CelError, compare, Duration, equals, isList, Optional, Uint } from './values.ts'
import type { Value } from './values.ts'

function listed(use: (list: readonly Value[], rest: readonly Value[]) => Value): Implementation {
  return ([list, ...rest]) => {
    if (list === undefined || !isList(list)) throw noOverload()
    return use(list, rest)
  }
}

function order(a: Value, b: Value): number {
  const found = compare(a, b)
  if (found === undefined) throw noOverload()
  return found
}

function extreme(name: string, sign: 1 | -1): Implementation {
  return listed((list) => {
    const [first, ...rest] = list
    if (first === undefined) throw new CelError(`${name} called on empty list`)
    return rest.reduce((best, item) => (order(item, best) * sign > 0 ? item : best), first)
  })
}

const sum = listed((list) => {
  const [first] = list
  if (first === undefined) return 0n
  if (typeof first === 'bigint') return list.reduce<bigint>((total, item) => total + (item as bigint), 0n)
  if (typeof first === 'number') return list.reduce<number>((total, item) => total + (item as number), 0)
  if (first instanceof Uint) return new Uint(list.reduce<bigint>((total, item) => total + (item as Uint).value, 0n))
  if (first instanceof Duration) {
    return new Duration(list.reduce<bigint>((total, item) => total + (item as Duration).nanos, 0n))
  }
  throw noOverload()
})

function has(list: readonly Value[], item: Value): boolean {
  return list.some((each) => equals(each, item))
}

function pair(use: (a: readonly Value[], b: readonly Value[]) => boolean): Implementation {
  return ([a, b]) => {
    if (a === undefined || b === undefined || !isList(a) || !isList(b)) throw noOverload()
    return use(a, b)
  }
}

function flatten(list: readonly Value[], depth: number): Value[] {
  return list.flatMap((item) => (isList(item) ? (depth > 1 ? flatten(item, depth - 1) : [...item]) : [item]))
}

function levels(depth: Value | undefined): number {
  const count = depth === undefined ? 1 : Number(depth)
  if (count < 0) throw new CelError('level must be non-negative')
  return count
}

function sortByKeys(list: readonly Value[], [keys]: readonly Value[]): Value {
  if (keys === undefined || !isList(keys)) throw noOverload()
  const pairs = list.map((item, at) => [item, keys[at] as Value] as const)
  return pairs.toSorted(([, a], [, b]) => order(a, b)).map(([item]) => item)
}

function slice(list: readonly Value[], [from, to]: readonly Value[]): Value {
  const [start, end] = [Number(from), Number(to)]
  if (start < 0 || end < 0) throw new CelError(`cannot slice(${start}, ${end}), negative indexes not supported`)
  if (start > end)
    throw new CelError(`cannot slice(${start}, ${end}), start index must be less than or equal to end index`)
  if (end > list.length) throw new CelError(`cannot slice(${start}, ${end}), list is length ${list.length}`)
  return list.slice(start, end)
}

const listFunctions: readonly (readonly [string, Implementation])[] = [
  [
    'isSorted',
    listed((list) => list.every((item, index) => index === 0 || order(list[index - 1] as Value, item) <= 0)),
  ],
  ['sum', sum],
  ['max', extreme('max', 1)],
  ['min', extreme('min', -1)],
  ['slice', listed(slice)],
  ['flatten', listed((list, [depth]) => flatten(list, levels(depth)))],
  ['lists.range', ([count]) => Array.from({ length: bounded(Number(count)) }, (_, index) => BigInt(index))],
  ['reverse', listed((list) => list.toReversed())],
  ['distinct', listed((list) => list.filter((item, index) => !has(list.slice(0, index), item)))],
  ['sort', listed((list) => list.toSorted(order))],
  ['@sortByAssociatedKeys', listed(sortByKeys)],
  ['first', listed((list) => new Optional(list[0]))],
  ['last', listed((list) => new Optional(list.at(-1)))],
  ['sets.contains', pair((a, b) => b.every((item) => has(a, item)))],
  ['sets.equivalent', pair((a, b) => a.every((item) => has(b, item)) && b.every((item) => has(a, item)))],
  ['sets.intersects', pair((a, b) => a.some((item) => has(b, item)))],
]

const longestRange = 1_000_000

function bounded(count: number): number {
  if (count < 0 || count > longestRange) throw new CelError(`lists.range: size out of range: ${count}`)
  return count
}

/** Where a list or a text may be meant. */
function position(last: boolean): Implementation {
  const text = textFunctions.get(last ? 'lastIndexOf' : 'indexOf')
  return (args) => {
    const [list, item] = args
    if (list === undefined || !isList(list)) return text?.(args) ?? -1n
    const found = last
      ? list.findLastIndex((each) => equals(each, item as Value))
      : list.findIndex((each) => equals(each, item as Value))
    return BigInt(found)
  }
}

/** The functions beyond the language itself. */
export const library: ReadonlyMap<string, Implementation> = new Map<string, Implementation>([
  ...textFunctions,
  ...kubernetesFunctions,
  ...listFunctions,
  ...authorizationFunctions,
  [
    'jsonpatch.escapeKey',
    ([key]) => {
      if (typeof key !== 'string') throw noOverload()
      return key.replaceAll('~', '~0').replaceAll('/', '~1')
    },
  ],
  ['indexOf', position(false)],
  ['lastIndexOf', position(true)],
])
