import { insideOf } from './spec.ts'
import type { ValueSpec } from './spec.ts'

/** Where a name from the outside belongs. */
export interface Place {
  readonly path: readonly string[]
  readonly spec: ValueSpec
}

/** Every path that is known, groups included, outermost first. */
export function listPlaces(spec: ValueSpec, path: readonly string[] = []): Place[] {
  if (path.length > 12) return []
  const keys = [...(insideOf(spec)?.keys ?? [])]
  return keys.flatMap(([name, inner]) => {
    const place = { path: [...path, name], spec: inner }
    return [place, ...listPlaces(inner, place.path)]
  })
}

/** Every path that has a value of its own: what is documented and listed. */
export function listLeaves(spec: ValueSpec): Place[] {
  return listPlaces(spec).filter(({ spec: inner }) => (insideOf(inner)?.keys.size ?? 0) === 0)
}

/**
 * Finds what a name means whose parts are separated by `separator`: `DB__URL`, `db.url`. Case and the signs between
 * words do not matter. A name without separators is compared with whole paths (`DB_URL`), if only one fits.
 */
export function findPlace(spec: ValueSpec, name: string, separator: RegExp): Place | undefined {
  const parts = name.split(separator)
  return walk(spec, parts, [], separator) ?? findFlat(spec, name)
}

/** `ORDERS_DB__MAX_POOL` for `db.maxPool`. */
export function renderEnvName(prefix: string, path: readonly string[]): string {
  return prefix + path.map((name) => wordsOf(name).join('_').toUpperCase()).join('__')
}

/** `--db-max-pool` for `db.maxPool`. */
export function renderFlagName(path: readonly string[]): string {
  return `--${path.map((name) => wordsOf(name).join('-').toLowerCase()).join('-')}`
}

function walk(
  spec: ValueSpec,
  parts: readonly string[],
  path: readonly string[],
  separator: RegExp,
): Place | undefined {
  const [first, ...rest] = parts
  if (first === undefined) return { path, spec }
  const inside = insideOf(spec)
  if (inside === undefined || first === '') return undefined
  const known = [...inside.keys].find(([name]) => normalise(name) === normalise(first))
  if (known !== undefined) return walk(known[1], rest, [...path, known[0]], separator)
  if (inside.others === undefined) return undefined
  // Names of a record are the user's. The environment has capitals only, so they are taken for camelCase.
  const isShouted = /^[A-Z0-9_]+$/.test(first)
  return walk(inside.others, rest, [...path, isShouted ? camelCase(first) : first], separator)
}

function findFlat(spec: ValueSpec, name: string): Place | undefined {
  const wanted = normalise(name)
  const found = listPlaces(spec).filter(({ path }) => normalise(path.join('')) === wanted)
  return found.length === 1 ? found[0] : undefined
}

function normalise(name: string): string {
  return name.replaceAll(/[-_.]/g, '').toLowerCase()
}

function wordsOf(name: string): string[] {
  return name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll(/([A-Z]+)([A-Z][a-z])/g, '$1_$2')
    .split(/[^A-Za-z0-9]+/)
    .filter((word) => word !== '')
}

function camelCase(name: string): string {
  return name.toLowerCase().replaceAll(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}
