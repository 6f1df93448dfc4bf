import { isDeepStrictEqual } from 'node:util'
import { Secret } from '../secrets/secret.ts'
import { isRecord } from './spec.ts'
import { renderKey } from './tree.ts'

/** The paths of a configuration's keys and groups, as text: `'db' | 'db.url'`. */
export type ConfigKey<T> = string extends keyof T
  ? string
  : T extends Secret<unknown> | readonly unknown[] | string | number | boolean | bigint | null | undefined
    ? never
    : { [K in keyof T & string]: K | `${K}.${ConfigKey<T[K]>}` }[keyof T & string]

/** A change of the configuration. Both values are whole and frozen. */
export interface ConfigChange<T> {
  readonly value: T
  readonly previous: T
  /** The keys whose values differ, without the groups around them. */
  readonly changed: readonly string[]
  readonly version: number
}

/** Which keys differ. Lists are one value; secrets are compared by what they hold. */
export function diffKeys(before: unknown, after: unknown, path: readonly string[] = []): string[] {
  if (isPlain(before) && isPlain(after)) {
    const names = new Set([...Object.keys(before), ...Object.keys(after)])
    return [...names].flatMap((name) => diffKeys(before[name], after[name], [...path, name]))
  }
  return isSame(before, after) ? [] : [renderKey(path)]
}

/** Whether `changed` touches one of `keys`: the key itself, one in that group, or the group it is in. */
export function touches(changed: readonly string[], keys: readonly string[]): boolean {
  return keys.some((key) => changed.some((name) => name === key || isBelow(name, key) || isBelow(key, name)))
}

function isBelow(name: string, group: string): boolean {
  return name.startsWith(`${group}.`) || name.startsWith(`${group}[`)
}

function isSame(a: unknown, b: unknown): boolean {
  if (a instanceof Secret && b instanceof Secret) return isSame(a.reveal(), b.reveal())
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((item, index) => isSame(item, b[index]))
  if (isPlain(a) && isPlain(b)) return diffKeys(a, b).length === 0
  return isDeepStrictEqual(a, b)
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (!isRecord(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
