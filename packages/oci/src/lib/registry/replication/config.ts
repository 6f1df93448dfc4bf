import { policyInvalid } from '../../errors.ts'

/** Where images come from or go to: a registry, and what stands before the names of its repositories. */
export interface ReplicationPlace {
  /** Host, with port. */
  readonly registry: string
  /** Without slashes at its ends; empty for none. */
  readonly prefix: string
}

/** One rule: which images go where. */
export interface ReplicationRule {
  /** Undefined: the images under `localhost/` of the local store. */
  readonly source: (ReplicationPlace & { readonly repositories: readonly string[] | undefined }) | undefined
  readonly destinations: readonly ReplicationPlace[]
  /** Beginnings of repository names, of which one has to fit; empty: all repositories. */
  readonly prefixes: readonly string[]
}

export interface ReplicationConfig {
  readonly rules: readonly ReplicationRule[]
}

const maxRules = 10
const maxDestinations = 25
const maxFilters = 100
const path = /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$/
/** As ECR has it ("RepositoryFilter"): the beginning of a name, so it may end anywhere. */
const filterText = /^(?:[a-z0-9]+(?:[._-][a-z0-9]*)*\/)*[a-z0-9]*(?:[._-][a-z0-9]*)*$/
const host = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/

type Json = Readonly<Record<string, unknown>>

/**
 * Reads a replication configuration in the JSON of Amazon ECR (`{"rules": [{"destinations", "repositoryFilters"}]}`) and
 * checks it by ECR's limits: 10 rules, 25 destinations in all, 100 filters a rule. A destination is `{"registry", "prefix"}`, or
 * ECR's `{"region", "registryId"}`; a rule may have a `"source": {"registry", "prefix", "repositories"}`.
 *
 * @throws `FAIRLEAD_OCI_POLICY` naming every fault.
 */
export function parseReplication(text: string, source = 'replication configuration'): ReplicationConfig {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw policyInvalid(source, [`it is not JSON (${(error as Error).message})`], error)
  }
  const faults: string[] = []
  const given = isRecord(value) ? value : {}
  only(given, ['rules'], '', faults)
  const rules = listOf(given['rules'], 'rules', faults)
  if (rules.length === 0) faults.push('it has no "rules"')
  if (rules.length > maxRules) faults.push(`it has ${rules.length} rules, and ${maxRules} are allowed`)
  const parsed = rules.map((rule, index) => parseRule(rule, `rules[${index}]`, faults))
  const places = new Set(parsed.flatMap(({ destinations }) => destinations.map(renderPlace)))
  if (places.size > maxDestinations) {
    faults.push(`it has ${places.size} destinations, and ${maxDestinations} are allowed`)
  }
  if (faults.length > 0) throw policyInvalid(source, faults)
  return { rules: parsed }
}

/** `registry/prefix`. */
export function renderPlace({ registry, prefix }: ReplicationPlace): string {
  return prefix === '' ? registry : `${registry}/${prefix}`
}

function parseRule(value: unknown, at: string, faults: string[]): ReplicationRule {
  const rule = recordOf(value, at, faults)
  only(rule, ['source', 'destinations', 'repositoryFilters'], at, faults)
  const destinations = listOf(rule['destinations'], `${at}.destinations`, faults)
  if (destinations.length === 0) faults.push(`${at} has no "destinations"`)
  const filters = listOf(rule['repositoryFilters'] ?? [], `${at}.repositoryFilters`, faults)
  if (rule['repositoryFilters'] !== undefined && filters.length === 0) faults.push(`${at}.repositoryFilters is empty`)
  if (filters.length > maxFilters) {
    faults.push(`${at} has ${filters.length} repositoryFilters, and ${maxFilters} are allowed`)
  }
  return {
    source: rule['source'] === undefined ? undefined : parseSource(rule['source'], `${at}.source`, faults),
    destinations: destinations.map((each, index) => parseDestination(each, `${at}.destinations[${index}]`, faults)),
    prefixes: filters.map((each, index) => parseFilter(each, `${at}.repositoryFilters[${index}]`, faults)),
  }
}

function parseSource(value: unknown, at: string, faults: string[]): NonNullable<ReplicationRule['source']> {
  const source = recordOf(value, at, faults)
  only(source, ['registry', 'prefix', 'repositories'], at, faults)
  const names = source['repositories']
  const repositories = names === undefined ? undefined : listOf(names, `${at}.repositories`, faults)
  for (const [index, name] of (repositories ?? []).entries()) {
    if (!isPath(name)) faults.push(`${at}.repositories[${index}] is no name of a repository`)
  }
  return { ...parsePlace(source, at, faults), repositories: repositories?.filter(isPath) }
}

function parseDestination(value: unknown, at: string, faults: string[]): ReplicationPlace {
  const given = recordOf(value, at, faults)
  if (!('region' in given) && !('registryId' in given)) {
    only(given, ['registry', 'prefix'], at, faults)
    return parsePlace(given, at, faults)
  }
  only(given, ['region', 'registryId', 'prefix'], at, faults)
  const { region, registryId } = given
  if (typeof region !== 'string' || !/^[0-9a-z-]{2,25}$/.test(region)) faults.push(`${at}.region is no region`)
  if (typeof registryId !== 'string' || !/^\d{12}$/.test(registryId)) faults.push(`${at}.registryId is not 12 digits`)
  const domain = String(region).startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com'
  const registry = `${String(registryId)}.dkr.ecr.${String(region)}.${domain}`
  return { registry, prefix: parsePrefix(given['prefix'], at, faults) }
}

function parsePlace({ registry, prefix }: Json, at: string, faults: string[]): ReplicationPlace {
  const isHost = typeof registry === 'string' && host.test(registry) && /[.:]|^localhost$/.test(registry)
  if (!isHost) faults.push(`${at}.registry is no host such as registry.example:5000`)
  return { registry: isHost ? registry : '', prefix: parsePrefix(prefix, at, faults) }
}

function parsePrefix(prefix: unknown, at: string, faults: string[]): string {
  if (prefix === undefined || prefix === '') return ''
  if (isPath(prefix)) return prefix
  faults.push(`${at}.prefix is no beginning of repository names such as team/mirror`)
  return ''
}

function parseFilter(value: unknown, at: string, faults: string[]): string {
  const given = recordOf(value, at, faults)
  only(given, ['filter', 'filterType'], at, faults)
  const { filter, filterType } = given
  if (filterType !== 'PREFIX_MATCH') faults.push(`${at}.filterType is not PREFIX_MATCH`)
  const isGood = typeof filter === 'string' && filter.length >= 2 && filter.length <= 256 && filterText.test(filter)
  if (!isGood) faults.push(`${at}.filter is no beginning of a repository name of 2 to 256 characters`)
  return isGood ? filter : ''
}

function listOf(value: unknown, at: string, faults: string[]): readonly unknown[] {
  if (Array.isArray(value)) return value
  if (value !== undefined) faults.push(`${at} is not a list`)
  return []
}

function recordOf(value: unknown, at: string, faults: string[]): Json {
  if (isRecord(value)) return value
  faults.push(`${at} is not an object`)
  return {}
}

function only(given: Json, names: readonly string[], at: string, faults: string[]): void {
  const dot = at === '' ? '' : '.'
  for (const name of Object.keys(given)) if (!names.includes(name)) faults.push(`${at}${dot}${name} is not known`)
}

function isPath(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 255 && path.test(value)
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
