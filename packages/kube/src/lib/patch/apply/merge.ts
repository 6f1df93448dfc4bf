import { getKey, isJsonObject, setKey } from '../json-value.ts'
import { elementName } from './path-element.ts'
import { narrow } from './merge-type.ts'
import type { JsonObject } from '../json-value.ts'
import type { MergeList, MergeMap, MergeType } from './merge-type.ts'

/**
 * Lays a configuration over an object: what it names it decides, everything else stays. Parts are shared with the
 * arguments, which are not changed; undefined when nothing is left.
 *
 * Elements of lists with keys keep the order of the object; those the configuration names keep its order.
 */
export function mergeTyped(type: MergeType, live: unknown, config: unknown): unknown {
  if (config === undefined) return live
  const form = narrow(type, config)
  if (form.map !== undefined) return mergeMap(form.map, live, config)
  if (form.scalar !== undefined || form.list === undefined) return config
  return mergeList(form.list, live, config)
}

function mergeMap(map: MergeMap, live: unknown, config: unknown): unknown {
  const left = isJsonObject(live) ? live : {}
  const right = isJsonObject(config) ? config : {}
  const keys = new Set([...Object.keys(left), ...Object.keys(right)])
  if (map.isAtomic || keys.size === 0) return config
  const out: JsonObject = {}
  for (const key of keys) {
    const before = getKey(left, key)
    const wanted = getKey(right, key)
    const type = map.fields.get(key)?.type ?? map.element
    const value = wanted === undefined ? before : type === undefined ? wanted : mergeTyped(type, before, wanted)
    if (value !== undefined) setKey(out, key, value)
  }
  return out
}

function mergeList(list: MergeList, live: unknown, config: unknown): unknown {
  const left = Array.isArray(live) ? live : []
  const right = Array.isArray(config) ? config : []
  if (list.isAtomic || (left.length === 0 && right.length === 0)) return config
  return mergeItems(list, left, right)
}

/** Upstream's way of weaving two orders into one; it decides where new elements stand. */
function mergeItems(list: MergeList, left: readonly unknown[], right: readonly unknown[]): unknown[] {
  const leftNames = left.map((item) => elementName(list, item))
  const rightNames = right.map((item) => elementName(list, item))
  const lefts = new Map<string, unknown>()
  // Elements that share a name are not merged with the new value.
  for (const [index, name] of leftNames.entries()) lefts.set(name, lefts.has(name) ? null : left[index])
  const rights = new Map(rightNames.map((name, index) => [name, right[index]]))
  const shared = rightNames.filter((name) => lefts.has(name))
  const merged = new Set<string>()
  const out: unknown[] = []
  let turn = 0
  let next = shared[turn]
  let i = 0
  let j = 0
  const take = (name: string): void => {
    merged.add(name)
    out.push(mergeTyped(list.element, lefts.get(name), rights.get(name)))
    j += 1
  }
  while (i < left.length || j < right.length) {
    const [a, b] = [leftNames[i], rightNames[j]]
    if (a !== undefined && b !== undefined) {
      if (a === b) {
        take(b)
        i += 1
        next = shared[++turn]
        continue
      }
      // Shared, and not the one whose turn it is.
      if (rights.has(a) && next !== undefined && next !== a) {
        i += 1
        continue
      }
    }
    if (a !== undefined) {
      if (!rights.has(a)) {
        out.push(left[i])
        i += 1
        continue
      }
      if (merged.has(a)) i += 1
    }
    if (b !== undefined) {
      take(b)
      if (next === b) next = shared[++turn]
    }
  }
  return out
}
