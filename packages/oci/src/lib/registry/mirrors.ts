import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

import { registriesInvalid, registryBlocked } from '../errors.ts'
import { parseReference, renderReference } from '../spec/reference.ts'
import type { Reference } from '../spec/reference.ts'

/** Where images are read from in place of the registry that their references name. */
export interface RegistryRoutes {
  /**
   * The places of an image in the order they are asked: mirrors, then the registry itself. Throws
   * `FAIRLEAD_OCI_REGISTRY_BLOCKED`.
   */
  sourcesOf(reference: Reference): readonly Reference[]
  /** Whether the file says that a host is spoken to without TLS. */
  isPlainHttp(host: string): boolean
}

type PullFromMirror = 'all' | 'digest-only' | 'tag-only'

interface Mirror {
  readonly location: string
  readonly insecure?: boolean | undefined
  readonly pullFromMirror?: PullFromMirror | undefined
}

interface Registry {
  readonly prefix: string
  readonly location?: string | undefined
  readonly insecure?: boolean | undefined
  readonly blocked?: boolean | undefined
  readonly mirrors?: readonly Mirror[] | undefined
}

const MAX_FILE_BYTES = 1 << 20
const PULL_FROM_MIRROR: readonly PullFromMirror[] = ['all', 'digest-only', 'tag-only']

/** The file that the environment of a user names: `registries.json` in `FAIRLEAD_HOME`. */
function registriesFile(env: NodeJS.ProcessEnv): string {
  const data = env['XDG_DATA_HOME'] || join(env['HOME'] ?? homedir(), '.local', 'share')
  return join(env['FAIRLEAD_HOME'] || join(data, 'fairlead'), 'registries.json')
}

/** Reads the file of a user; without one nothing is routed. Throws `FAIRLEAD_OCI_REGISTRIES`. */
export function loadRegistryRoutes(env: NodeJS.ProcessEnv): RegistryRoutes {
  const file = registriesFile(env)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return parseRegistryRoutes('{}', file)
    throw registriesInvalid(file, [`it cannot be read (${code})`], error)
  }
  return parseRegistryRoutes(text, file)
}

/** The terms are those of containers-registries.conf(5), version 2. Throws `FAIRLEAD_OCI_REGISTRIES`. */
export function parseRegistryRoutes(text: string, source: string): RegistryRoutes {
  const registries = parseFile(text, source)
  const insecure = new Set<string>()
  for (const { prefix, location = prefix, insecure: isInsecure, mirrors = [] } of registries) {
    if (isInsecure) insecure.add(hostOf(location))
    for (const mirror of mirrors) if (mirror.insecure) insecure.add(hostOf(mirror.location))
  }
  return {
    isPlainHttp: (host) => insecure.has(host),
    sourcesOf(reference) {
      const registry = findRegistry(registries, reference)
      if (!registry) return [reference]
      if (registry.blocked) throw registryBlocked(renderReference(reference), source)
      const mirrors = (registry.mirrors ?? []).filter((mirror) => serves(mirror, reference))
      const places = mirrors.map(({ location }) => moveTo(reference, registry.prefix, location))
      const own = registry.location === undefined ? reference : moveTo(reference, registry.prefix, registry.location)
      return [...places, own]
    },
  }
}

/** The longest prefix decides; `*.example` matches hosts below it. */
function findRegistry(registries: readonly Registry[], reference: Reference): Registry | undefined {
  const matching = registries.filter(({ prefix }) => isWithin(prefix, reference))
  return matching.toSorted((a, b) => b.prefix.length - a.prefix.length)[0]
}

function isWithin(prefix: string, { registry, repository }: Reference): boolean {
  if (prefix.startsWith('*.')) return registry.endsWith(prefix.slice(1))
  return `${registry}/${repository}/`.startsWith(`${prefix}/`)
}

function serves({ pullFromMirror = 'all' }: Mirror, { digest }: Reference): boolean {
  return pullFromMirror === 'all' || (pullFromMirror === 'digest-only') === (digest !== undefined)
}

function moveTo(reference: Reference, prefix: string, location: string): Reference {
  const name = `${reference.registry}/${reference.repository}`
  const rest = prefix.startsWith('*.') ? name.slice(reference.registry.length) : name.slice(prefix.length)
  const [registry = '', ...path] = `${location}${rest}`.split('/')
  return { ...reference, registry, repository: path.join('/') }
}

function hostOf(location: string): string {
  return location.split('/')[0] ?? ''
}

function parseFile(text: string, source: string): Registry[] {
  if (text.length > MAX_FILE_BYTES) throw registriesInvalid(source, [`it is larger than ${MAX_FILE_BYTES} bytes`])
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw registriesInvalid(source, ['it is no JSON'], error)
  }
  const faults: string[] = []
  const file = objectOf(value, 'it', ['registries'], faults)
  const registries = listOf(file['registries'], '"registries"', faults).map((entry, index) => {
    const at = `registries[${index}]`
    const given = objectOf(entry, at, ['prefix', 'location', 'insecure', 'blocked', 'mirrors'], faults)
    const mirrors = listOf(given['mirrors'], `${at}.mirrors`, faults)
    checkPlace(given['prefix'], `${at}.prefix`, faults)
    if (given['location'] !== undefined) checkPlace(given['location'], `${at}.location`, faults)
    checkFlags(given, ['insecure', 'blocked'], at, faults)
    mirrors.forEach((mirror, place) => checkMirror(mirror, `${at}.mirrors[${place}]`, faults))
    return given
  })
  const prefixes = registries.map(({ prefix }) => prefix)
  const twice = prefixes.find((prefix, index) => prefixes.indexOf(prefix) !== index)
  if (typeof twice === 'string') faults.push(`prefix "${twice}" is there twice`)
  if (faults.length > 0) throw registriesInvalid(source, faults)
  // Every field was looked at above.
  return registries as unknown as Registry[]
}

function checkMirror(mirror: unknown, at: string, faults: string[]): void {
  const given = objectOf(mirror, at, ['location', 'insecure', 'pullFromMirror'], faults)
  checkPlace(given['location'], `${at}.location`, faults)
  checkFlags(given, ['insecure'], at, faults)
  const pull = given['pullFromMirror']
  if (pull !== undefined && !PULL_FROM_MIRROR.some((known) => known === pull)) {
    faults.push(`${at}.pullFromMirror is none of ${PULL_FROM_MIRROR.join(', ')}`)
  }
}

function checkFlags(given: Record<string, unknown>, names: readonly string[], at: string, faults: string[]): void {
  for (const name of names) {
    const flag = given[name]
    if (flag !== undefined && typeof flag !== 'boolean') faults.push(`${at}.${name} is neither true nor false`)
  }
}

/** A host, with a path where one is wanted: `docker.io`, `127.0.0.1:5001/hub`. */
function checkPlace(place: unknown, at: string, faults: string[]): void {
  if (typeof place === 'string' && isPlace(at.endsWith('.prefix') ? place.replace(/^\*\./, '') : place)) return
  faults.push(`${at} is no registry, with a path or without, such as "docker.io" or "127.0.0.1:5001/hub"`)
}

function isPlace(place: string): boolean {
  try {
    const { registry, repository, tag, digest } = parseReference(`${place}/x`)
    return `${registry}/${repository}` === `${place}/x` && tag === undefined && digest === undefined
  } catch {
    return false
  }
}

function objectOf(value: unknown, at: string, names: readonly string[], faults: string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    faults.push(`${at} is no object`)
    return {}
  }
  for (const name of Object.keys(value)) {
    if (!names.includes(name)) faults.push(`${at} has "${name}", which is none of ${names.join(', ')}`)
  }
  return { ...value }
}

function listOf(value: unknown, at: string, faults: string[]): unknown[] {
  if (value === undefined) return []
  if (Array.isArray(value)) return value
  faults.push(`${at} is no list`)
  return []
}
