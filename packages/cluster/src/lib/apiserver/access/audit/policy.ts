import type { Identity } from '../../exchange.ts'
import type { Attributes } from '../attributes.ts'

/** How much of a request is written down. */
export type AuditLevel = 'None' | 'Metadata' | 'Request' | 'RequestResponse'

export type AuditStage = 'RequestReceived' | 'ResponseStarted' | 'ResponseComplete' | 'Panic'

/** One rule of an `audit.k8s.io/v1` Policy; what is left out matches everything. */
export interface AuditRule {
  readonly level: AuditLevel
  readonly users?: readonly string[] | undefined
  readonly userGroups?: readonly string[] | undefined
  readonly verbs?: readonly string[] | undefined
  readonly resources?:
    | readonly {
        readonly group?: string | undefined
        readonly resources?: readonly string[] | undefined
        readonly resourceNames?: readonly string[] | undefined
      }[]
    | undefined
  readonly namespaces?: readonly string[] | undefined
  readonly nonResourceURLs?: readonly string[] | undefined
  readonly omitStages?: readonly AuditStage[] | undefined
}

export interface AuditPolicy {
  readonly rules: readonly AuditRule[]
  /** Stages no event is written for. */
  readonly omitStages?: readonly AuditStage[] | undefined
}

/** Who did what, and no contents. */
export const metadataPolicy: AuditPolicy = { rules: [{ level: 'Metadata' }], omitStages: ['RequestReceived'] }

const levels: readonly string[] = ['None', 'Metadata', 'Request', 'RequestResponse']
const stages: readonly string[] = ['RequestReceived', 'ResponseStarted', 'ResponseComplete', 'Panic']

/** Reads a Policy object; throws a `TypeError` that names the rule which is wrong. */
export function parseAuditPolicy(value: unknown): AuditPolicy {
  const policy = value as { apiVersion?: unknown; kind?: unknown; rules?: unknown; omitStages?: unknown } | null
  if (policy?.apiVersion !== 'audit.k8s.io/v1' || policy.kind !== 'Policy') {
    throw new TypeError('it is not a Policy of audit.k8s.io/v1')
  }
  const { rules, omitStages = [] } = policy
  if (!Array.isArray(rules) || rules.length === 0) throw new TypeError('rules: at least one rule is required')
  checkStages(omitStages, 'omitStages')
  for (const [index, rule] of rules.entries()) checkRule(rule as Record<string, unknown> | null, `rules[${index}]`)
  return { rules: rules as AuditRule[], omitStages: omitStages as AuditStage[] }
}

const listFields = ['users', 'userGroups', 'verbs', 'resources', 'namespaces', 'nonResourceURLs']

function checkRule(rule: Record<string, unknown> | null, path: string): void {
  if (typeof rule?.['level'] !== 'string' || !levels.includes(rule['level'])) {
    throw new TypeError(`${path}.level: expected one of ${levels.join(', ')}`)
  }
  for (const field of listFields) {
    if (rule[field] !== undefined && !Array.isArray(rule[field]))
      throw new TypeError(`${path}.${field}: expected a list`)
  }
  if (
    Array.isArray(rule['nonResourceURLs']) &&
    (Array.isArray(rule['resources']) || Array.isArray(rule['namespaces']))
  ) {
    throw new TypeError(`${path}: rules cannot apply to both regular resources and non-resource URLs`)
  }
  checkStages(rule['omitStages'] ?? [], `${path}.omitStages`)
}

function checkStages(value: unknown, path: string): void {
  const isFine = Array.isArray(value) && value.every((stage) => stages.includes(stage as string))
  if (!isFine) throw new TypeError(`${path}: expected a list of ${stages.join(', ')}`)
}

/** What is written of one request. */
export interface AuditChoice {
  readonly level: AuditLevel
  readonly omitStages: readonly AuditStage[]
}

const nothing: AuditChoice = { level: 'None', omitStages: [] }

/**
 * The first rule that matches decides, as upstream. Contents of secrets and tokens are the exception: they are only
 * written down by a rule that names these resources.
 */
export function chooseLevel(policy: AuditPolicy, identity: Identity, asked: Attributes): AuditChoice {
  const rule = policy.rules.find((candidate) => matches(candidate, identity, asked))
  if (rule === undefined || rule.level === 'None') return nothing
  const omitStages = [...(policy.omitStages ?? []), ...(rule.omitStages ?? [])]
  const hidesContents = isConfidential(asked) && (rule.resources ?? []).length === 0
  return { level: hidesContents ? 'Metadata' : rule.level, omitStages }
}

function isConfidential({ group, resource, subresource }: Attributes): boolean {
  if (group === '' && resource === 'secrets') return true
  return (resource === 'serviceaccounts' && subresource === 'token') || resource === 'tokenreviews'
}

function matches(rule: AuditRule, { user, groups }: Identity, asked: Attributes): boolean {
  const { users = [], userGroups = [], verbs = [] } = rule
  if (users.length > 0 && !users.includes(user)) return false
  if (userGroups.length > 0 && !userGroups.some((group) => groups.includes(group))) return false
  if (verbs.length > 0 && !verbs.includes(asked.verb)) return false
  return asked.path === undefined ? matchesResource(rule, asked) : matchesPath(rule, asked.path)
}

function matchesPath({ resources = [], namespaces = [], nonResourceURLs = [] }: AuditRule, path: string): boolean {
  if (nonResourceURLs.length === 0) return resources.length === 0 && namespaces.length === 0
  return nonResourceURLs.some(
    (url) => url === '*' || url === path || (url.endsWith('*') && path.startsWith(url.slice(0, -1))),
  )
}

function matchesResource(
  { resources = [], namespaces = [], nonResourceURLs = [] }: AuditRule,
  asked: Attributes,
): boolean {
  if (nonResourceURLs.length > 0) return false
  if (namespaces.length > 0 && !namespaces.includes(asked.namespace)) return false
  if (resources.length === 0) return true
  const { resource, subresource, name } = asked
  const combined = subresource === '' ? resource : `${resource}/${subresource}`
  const wanted = ['*', combined, ...(subresource === '' ? [] : [`${resource}/*`, `*/${subresource}`])]
  return resources.some(
    ({ group = '', resources: names = [], resourceNames = [] }) =>
      group === asked.group &&
      (names.length === 0 || names.some((one) => wanted.includes(one))) &&
      (resourceNames.length === 0 || resourceNames.includes(name)),
  )
}
