import satisfies from 'semver/functions/satisfies.js'
import validRange from 'semver/ranges/valid.js'

import { resolveLocked } from '../source/lockfile.ts'
import type { LockedPackage, Lockfile } from '../source/lockfile.ts'
import { LeftToNpm } from './left-to-npm.ts'

type Packages = Lockfile['packages']

/** One package asks for another. */
interface Edge {
  from: string
  to: string
  /** Whether the one that asks can do without. */
  isOptional: boolean
}

/** Who asks for whom in a lock file. */
export interface Edges {
  out: ReadonlyMap<string, readonly Edge[]>
  in: ReadonlyMap<string, readonly Edge[]>
}

/**
 * Follows every dependency in the lock file from the root. Throws {@link LeftToNpm} unless each leads to a package of a
 * fitting version and each package is led to: npm would say what is wrong, or mend it.
 */
export function followEdges(packages: Packages): Edges {
  const out = new Map([...packages].map(([from, entry]) => [from, edgesOf(packages, from, entry)]))
  const into = new Map<string, Edge[]>([...packages.keys()].map((path) => [path, []]))
  for (const edge of [...out.values()].flat()) into.get(edge.to)?.push(edge)
  const reached = new Set([''])
  for (const path of reached) for (const { to } of out.get(path) ?? []) reached.add(to)
  const stray = [...packages.keys()].find((path) => !reached.has(path))
  if (stray !== undefined) throw new LeftToNpm(`nothing needs "${stray}"`)
  return { out, in: into }
}

interface Wish {
  range: string
  isOptional: boolean
  isPeer: boolean
}

function edgesOf(packages: Packages, from: string, entry: LockedPackage): Edge[] {
  const wishes = new Map<string, Wish>()
  const add = (group: Readonly<Record<string, string>> | undefined, isOptional: boolean, isPeer = false): void => {
    for (const [name, range] of Object.entries(group ?? {})) wishes.set(name, { range, isOptional, isPeer })
  }
  // Of two wishes for one name the later counts, as for npm.
  for (const [name, range] of Object.entries(entry.peerDependencies ?? {})) {
    add({ [name]: range }, entry.peerDependenciesMeta?.[name]?.optional === true, true)
  }
  add(entry.dependencies, false)
  add(entry.optionalDependencies, true)
  if (from === '') add(entry.devDependencies, false)
  return [...wishes].flatMap(([name, wish]) => edgeTo(packages, from, name, wish) ?? [])
}

function edgeTo(packages: Packages, from: string, name: string, wish: Wish): Edge | undefined {
  const to = resolveLocked({ packages }, from, name)
  if (to === undefined) {
    // npm looks for an optional package that is not locked, and fails when it finds one.
    if (wish.isOptional && wish.isPeer) return undefined
    throw new LeftToNpm(`"${name}", which "${from}" needs, is not in the lock file`)
  }
  if (wish.isPeer && to === `${from}/node_modules/${name}`) throw new LeftToNpm(`"${to}" is a peer and lies inside`)
  const entry = packages.get(to)
  if (!entry || !isFitting(entry, name, wish.range)) throw new LeftToNpm(`"${to}" is not ${wish.range}`)
  return { from, to, isOptional: wish.isOptional }
}

/** Whether it is a version from a registry that lies in the range, or the package an alias names. */
function isFitting(entry: LockedPackage, name: string, wanted: string): boolean {
  const alias = /^npm:(@?[^@]+)(?:@(.*))?$/.exec(wanted)
  if ((alias?.[1] ?? name) !== (entry.name ?? name)) return false
  const range = (alias ? (alias[2] ?? '*') : wanted).trim()
  if (validRange(range, true) === null) throw new LeftToNpm(`"${name}" is wanted as "${wanted}"`)
  return range === '' || range === '*' || satisfies(entry.version ?? '', range, true)
}

/**
 * All that goes when an optional package cannot be installed: it, those that cannot do without it up to where somebody can,
 * and what none but they need.
 */
export function optionalSet(edges: Edges, start: string, gone: ReadonlySet<string>): Set<string> {
  const core = new Set([start])
  for (const path of core) for (const { from, isOptional } of edges.in.get(path) ?? []) if (!isOptional) core.add(from)
  const set = new Set(core)
  for (const path of set) for (const { to } of edges.out.get(path) ?? []) set.add(to)
  for (let isChanged = true; isChanged;) {
    isChanged = false
    for (const path of set) {
      const isNeeded = edges.in.get(path)?.some(({ from }) => !set.has(from) && !gone.has(from))
      if (!core.has(path) && isNeeded) isChanged = set.delete(path)
    }
  }
  return set
}
