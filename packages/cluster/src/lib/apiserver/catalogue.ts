import { kinds } from '@fairlead/kube/types'
import type { KindInfo } from '@fairlead/kube/types'

import { groupPriority } from './aggregation/priorities.ts'
import type { RemoteVersion } from './aggregation/remote.ts'
import { resourceOf } from './resource.ts'
import type { Resource } from './resource.ts'

/** An API group as discovery shows it: its versions, the preferred one first. */
export interface Group {
  /** Empty for the core group. */
  readonly name: string
  readonly versions: readonly GroupVersion[]
}

export interface GroupVersion {
  /** `v1`, `apps/v1`. */
  readonly apiVersion: string
  readonly version: string
  readonly resources: readonly Resource[]
  /** Set when another server answers for it: `resources` are empty then. */
  readonly remote?: RemoteVersion | undefined
}

/**
 * What one server serves: the built-in resources and those that come and go while it runs. Everything that must know
 * (routes, discovery, OpenAPI) looks here for each request, so a change is seen at once and everywhere.
 */
export class Catalogue {
  readonly #byPlural = new Map<string, Resource>()
  readonly #byKind = new Map<string, Resource>()
  readonly #byOwner = new Map<string, readonly Resource[]>()
  #remotes: readonly RemoteVersion[] = []
  #groups: readonly Group[] | undefined
  #revision = 1

  constructor(builtIn: readonly Resource[] = builtInResources()) {
    for (const resource of builtIn) this.#enter(resource)
  }

  /** Grows with each change: what was derived from the catalogue is good as long as this stays. */
  get revision(): number {
    return this.#revision
  }

  /** The resource at `/apis/<apiVersion>/<plural>`. */
  find(apiVersion: string, plural: string): Resource | undefined {
    return this.#byPlural.get(`${apiVersion} ${plural}`)
  }

  findKind(apiVersion: string, kind: string): Resource | undefined {
    return this.#byKind.get(`${apiVersion} ${kind}`)
  }

  /** All groups, the core group first, then by the priority upstream gives them. */
  get groups(): readonly Group[] {
    this.#groups ??= arrange([...this.#byPlural.values()], this.#remotes)
    return this.#groups
  }

  /**
   * Serves `resources` in the name of `owner`, instead of what that owner had before. Built-in resources and those of
   * earlier owners are not displaced.
   */
  put(owner: string, resources: readonly Resource[]): void {
    this.#leave(owner)
    const entered = resources.filter((resource) => this.#enter(resource))
    if (entered.length > 0) this.#byOwner.set(owner, entered)
    this.#changed()
  }

  /** The group-versions that other servers answer for, instead of those before. */
  setRemotes(remotes: readonly RemoteVersion[]): void {
    this.#remotes = remotes
    this.#changed()
  }

  /** Ends what `owner` serves. */
  remove(owner: string): void {
    if (!this.#byOwner.has(owner)) return
    this.#leave(owner)
    this.#changed()
  }

  #enter(resource: Resource): boolean {
    const { apiVersion, plural, kind } = resource.info
    const byPlural = `${apiVersion} ${plural}`
    if (this.#byPlural.has(byPlural)) return false
    this.#byPlural.set(byPlural, resource)
    const byKind = `${apiVersion} ${kind}`
    if (!this.#byKind.has(byKind)) this.#byKind.set(byKind, resource)
    return true
  }

  #leave(owner: string): void {
    for (const resource of this.#byOwner.get(owner) ?? []) {
      const { apiVersion, plural, kind } = resource.info
      this.#byPlural.delete(`${apiVersion} ${plural}`)
      if (this.#byKind.get(`${apiVersion} ${kind}`) === resource) this.#byKind.delete(`${apiVersion} ${kind}`)
    }
    this.#byOwner.delete(owner)
  }

  #changed(): void {
    this.#groups = undefined
    this.#revision += 1
  }
}

/** Kinds of the table that are served: objects that are kept, those that are created or read to be answered. */
function builtInResources(): Resource[] {
  return kinds.filter(isServed).map(resourceOf)
}

function isServed(info: KindInfo): boolean {
  if (info.verbs.includes('watch') || info.kind === 'ComponentStatus') return true
  return info.verbs.length === 1 && info.verbs[0] === 'create'
}

function arrange(resources: readonly Resource[], remotes: readonly RemoteVersion[]): Group[] {
  const priorities = new Map(remotes.map(({ group, spec }) => [group, spec.groupPriorityMinimum]))
  const priorityOf = (group: string): number => priorities.get(group) ?? groupPriority(group)
  const byGroup = Map.groupBy(resources, ({ info }) => info.group)
  for (const { group } of remotes) if (!byGroup.has(group)) byGroup.set(group, [])
  return [...byGroup]
    .map(([name, listed]) => ({
      name,
      versions: arrangeVersions(
        listed,
        remotes.filter(({ group }) => group === name),
      ),
    }))
    .toSorted((a, b) => priorityOf(b.name) - priorityOf(a.name) || (a.name < b.name ? -1 : 1))
}

function arrangeVersions(resources: readonly Resource[], remotes: readonly RemoteVersion[]): GroupVersion[] {
  const own: GroupVersion[] = [...Map.groupBy(resources, ({ info }) => info.version)].map(([version, listed]) => ({
    version,
    apiVersion: listed[0]?.info.apiVersion ?? version,
    resources: listed,
  }))
  const others = remotes
    .filter(({ version }) => !own.some((each) => each.version === version))
    .map((remote) => ({
      version: remote.version,
      apiVersion: `${remote.group}/${remote.version}`,
      resources: [],
      remote,
    }))
  return [...own, ...others].toSorted((a, b) => compareVersions(b.version, a.version))
}

/** Later is more preferred: stable versions before beta before alpha, higher numbers first, other names last. */
function compareVersions(a: string, b: string): number {
  const [left, right] = [rankVersion(a), rankVersion(b)]
  if (left === undefined || right === undefined) {
    if (left === right) return a < b ? 1 : a > b ? -1 : 0
    return left === undefined ? -1 : 1
  }
  const at = left.findIndex((number, index) => number !== right[index])
  return at < 0 ? 0 : (left[at] ?? 0) - (right[at] ?? 0)
}

function rankVersion(version: string): number[] | undefined {
  const match = /^v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?$/.exec(version)
  if (match === null) return undefined
  const [, major, stage, minor] = match
  const stages: Record<string, number> = { alpha: 0, beta: 1 }
  return [stage === undefined ? 2 : (stages[stage] ?? 0), Number(major), Number(minor ?? 0)]
}
