import semver from 'semver'

import type { Finding } from '../scan/scan.ts'
import { resolveLocked } from '../source/lockfile.ts'
import type { Project } from '../source/project.ts'
import { publishedSince } from './npm.ts'
import type { NpmOptions } from './npm.ts'
import type { OutdatedItem, OutdatedPart } from './report.ts'

const AT_ONCE = 4

/**
 * Dependencies of the service in the npm registry: the newest version in the range of package.json and the newest of all,
 * deprecations, and which ones mend what a scan found. Packages deeper down are listed when a scan found something.
 */
export async function outdatedDependencies(
  project: Project,
  findings: readonly Finding[],
  options: NpmOptions & { isOffline: boolean },
): Promise<OutdatedPart> {
  const direct = directDependencies(project)
  const deep = deepItems(direct, findings)
  if (options.isOffline) {
    const found = direct.map((one) => fromFindings(one, findings)).filter((item) => item !== undefined)
    return {
      items: [...found, ...deep],
      checked: 0,
      notChecked: gap(
        direct.map(({ name }) => name),
        'offline',
      ),
    }
  }
  const items: OutdatedItem[] = []
  const unreachable: string[] = []
  const waiting = direct.values()
  const work = async (): Promise<void> => {
    for (const one of waiting) {
      options.signal?.throwIfAborted()
      const item = await compare(one, findings, options).catch(() => {
        unreachable.push(one.name)
        return fromFindings(one, findings)
      })
      if (item) items.push(item)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  options.signal?.throwIfAborted()
  return {
    items: [...items.toSorted((a, b) => (a.name < b.name ? -1 : 1)), ...deep],
    checked: direct.length - unreachable.length,
    notChecked: gap(unreachable, 'npm could not ask the registry'),
  }
}

interface Direct {
  name: string
  range: string
  current: string
}

function directDependencies({ packageJson, lock }: Project): Direct[] {
  const ranges = { ...packageJson.optionalDependencies, ...packageJson.dependencies }
  return Object.entries(ranges).flatMap(([name, range]) => {
    const path = resolveLocked(lock, lock.workspace, name)
    const entry = path === undefined ? undefined : lock.packages.get(path)
    // Workspaces and aliases have no page of their own in the registry.
    if (entry?.version === undefined || entry.link || (entry.name !== undefined && entry.name !== name)) return []
    return [{ name, range, current: entry.version }]
  })
}

function gap(names: readonly string[], reason: string): string[] {
  return names.length === 0 ? [] : [`dependencies (${names.toSorted().join(', ')}): ${reason}`]
}

async function compare(
  one: Direct,
  findings: readonly Finding[],
  options: NpmOptions,
): Promise<OutdatedItem | undefined> {
  const { name, range, current } = one
  const { versions, latest } = await publishedSince(name, current, options)
  if (versions.length === 0) throw new Error(`the registry has no ${name} from ${current} on`)
  const wanted =
    semver.maxSatisfying(
      versions.map(({ version }) => version),
      range,
    ) ?? current
  const deprecated = versions.find(({ version }) => version === current)?.deprecated
  const found = fromFindings(one, findings)
  const newest = latest ?? versions.at(-1)?.version ?? current
  const isNewer = semver.gt(wanted, current) || semver.gt(newest, current)
  if (!isNewer && deprecated === undefined && !found) return undefined
  const isMended = found?.wanted === undefined || semver.gte(wanted, found.wanted)
  const inRange = semver.gt(wanted, current) && isMended
  return {
    kind: 'dependency',
    name,
    current,
    wanted,
    latest: newest,
    isSecurity: found !== undefined,
    notes: [
      ...(found?.notes ?? []),
      ...(deprecated === undefined
        ? []
        : [`deprecated: ${deprecated}${isNewer ? '' : ' (nothing newer: choose another package)'}`]),
    ],
    command: commandFor(name, { inRange, newest, isNewer }),
  }
}

function commandFor(name: string, to: { inRange: boolean; newest: string; isNewer: boolean }): string {
  if (to.inRange) return `npm update ${name} && fairlead build`
  return to.isNewer ? `npm install ${name}@${to.newest} && fairlead build` : `npm uninstall ${name}`
}

/** What a scan found in a direct dependency, without the registry. */
function fromFindings({ name, current }: Direct, findings: readonly Finding[]): OutdatedItem | undefined {
  const own = findings.filter(({ component }) => component.name === name && component.version === current)
  return own.length === 0 ? undefined : toItem(name, current, own)
}

function deepItems(direct: readonly Direct[], findings: readonly Finding[]): OutdatedItem[] {
  const groups = Map.groupBy(findings, ({ component }) => `${component.name}@${component.version}`)
  return [...groups.values()].flatMap((group) => {
    const [{ component } = {}] = group
    if (!component || direct.some(({ name, current }) => name === component.name && current === component.version))
      return []
    return [toItem(component.name, component.version, group)]
  })
}

function toItem(name: string, current: string, findings: readonly Finding[]): OutdatedItem {
  const fixes = findings
    .map(({ fixed }) => fixed)
    .filter((fixed) => fixed !== undefined && semver.valid(fixed) !== null)
  const wanted = (fixes as string[]).toSorted(semver.compare).at(-1)
  return {
    kind: 'dependency',
    name,
    current,
    wanted,
    isSecurity: true,
    notes: findings.map(({ id, severity }) => `${id} (${severity})`),
    command: `npm update ${name} && fairlead build`,
  }
}
