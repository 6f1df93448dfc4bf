import type {
  FlowSchema,
  FlowSchemaSpec,
  LimitResponse,
  NonResourcePolicyRule,
  PolicyRulesWithSubjects,
  PriorityLevelConfiguration,
  PriorityLevelConfigurationSpec,
  QueuingConfiguration,
  ResourcePolicyRule,
  Subject,
} from '@fairlead/kube/types/flowcontrol-v1'

import type { FieldError } from '../status.ts'
import { defineRules } from './define.ts'
import type { Rules } from './define.ts'
import { duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts'
import { dnsLabel, dnsSubdomain } from './names.ts'

const greatestPrecedence = 10_000
const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'proxy', 'update', 'watch']

export const flowSchema: Rules = defineRules<FlowSchema>({
  default({ spec }) {
    if (spec !== undefined && (spec.matchingPrecedence ?? 0) === 0) spec.matchingPrecedence = 1000
  },
  validate: ({ metadata, spec, status }) => [
    ...validateSchema(spec ?? { priorityLevelConfiguration: { name: '' } }, metadata.name ?? ''),
    ...validateConditions(status?.conditions ?? []),
  ],
  validateStatus: ({ status }) => validateConditions(status?.conditions ?? []),
})

function validateSchema(spec: FlowSchemaSpec, name: string): FieldError[] {
  const { matchingPrecedence: precedence = 0, distinguisherMethod, priorityLevelConfiguration, rules = [] } = spec
  const field = 'spec.matchingPrecedence'
  const errors: FieldError[] = []
  if (precedence <= 0) errors.push(invalid(field, precedence, 'must be a positive value'))
  if (precedence > greatestPrecedence) {
    errors.push(invalid(field, precedence, `must not be greater than ${greatestPrecedence}`))
  }
  if (precedence === 1 && name !== 'exempt') {
    errors.push(invalid(field, precedence, "only the schema named 'exempt' may have matchingPrecedence 1"))
  }
  if (distinguisherMethod !== undefined && !['ByNamespace', 'ByUser'].includes(distinguisherMethod.type)) {
    errors.push(notSupported('spec.distinguisherMethod.type', distinguisherMethod, ['ByNamespace', 'ByUser']))
  }
  const level = priorityLevelConfiguration.name
  const place = 'spec.priorityLevelConfiguration.name'
  errors.push(...(level === '' ? [required(place, 'must reference a priority level')] : dnsSubdomain(place, level)))
  return [...errors, ...rules.flatMap((rule, index) => validateRule(rule, `spec.rules[${index}]`))]
}

function validateRule(rule: PolicyRulesWithSubjects, path: string): FieldError[] {
  const { subjects, resourceRules = [], nonResourceRules = [] } = rule
  return [
    ...(subjects.length === 0 ? [required(`${path}.subjects`, 'subjects must contain at least one value')] : []),
    ...subjects.flatMap((subject, index) => validateSubject(subject, `${path}.subjects[${index}]`)),
    ...(resourceRules.length + nonResourceRules.length === 0
      ? [required(path, 'at least one of resourceRules and nonResourceRules has to be non-empty')]
      : []),
    ...resourceRules.flatMap((each, index) => validateResourceRule(each, `${path}.resourceRules[${index}]`)),
    ...nonResourceRules.flatMap((each, index) => validateUrlRule(each, `${path}.nonResourceRules[${index}]`)),
  ]
}

const subjectKinds = { ServiceAccount: 'serviceAccount', User: 'user', Group: 'group' } as const

function validateSubject(subject: Subject, path: string): FieldError[] {
  const own = Object.entries(subjectKinds).find(([kind]) => kind === subject.kind)?.[1]
  if (own === undefined) return [notSupported(`${path}.kind`, subject.kind, Object.keys(subjectKinds))]
  const errors = validateNamed(subject, own, `${path}.${own}`)
  for (const kind of ['ServiceAccount', 'User', 'Group'] as const) {
    const field = subjectKinds[kind]
    if (field === own || subject[field] === undefined) continue
    errors.push(forbidden(`${path}.${field}`, `${field} is forbidden when subject kind is not '${kind}'`))
  }
  return errors
}

function validateNamed(subject: Subject, field: 'serviceAccount' | 'user' | 'group', path: string): FieldError[] {
  const named = subject[field]
  if (named === undefined) return [required(path, `${field} is required when subject kind is '${subject.kind}'`)]
  const errors = named.name === '' ? [required(`${path}.name`)] : []
  if (subject.serviceAccount === undefined || field !== 'serviceAccount') return errors
  const { name, namespace } = subject.serviceAccount
  if (name !== '' && name !== '*') errors.push(...dnsSubdomain(`${path}.name`, name))
  if (namespace !== '') return [...errors, ...dnsLabel(`${path}.namespace`, namespace)]
  return [...errors, required(`${path}.namespace`, 'must specify namespace for service account')]
}

function validateVerbs(given: readonly string[], field: string): FieldError[] {
  if (given.length === 0) return [required(field, 'verbs must contain at least one value')]
  if (given.includes('*')) return only(given, field, 'verbs')
  return given.every((verb) => verbs.includes(verb)) ? [] : [notSupported(field, given, verbs)]
}

function only(given: readonly string[], field: string, what: string): FieldError[] {
  if (given.length < 2 || !given.includes('*')) return []
  return [invalid(field, given, `if '*' is present, must not specify other ${what}`)]
}

function validateResourceRule(rule: ResourcePolicyRule, path: string): FieldError[] {
  const { apiGroups, resources, namespaces = [], clusterScope = false } = rule
  const errors = [
    ...validateVerbs(rule.verbs, `${path}.verbs`),
    ...(apiGroups.length === 0
      ? [required(`${path}.apiGroups`, 'resource rules must supply at least one api group')]
      : only(apiGroups, `${path}.apiGroups`, 'api groups')),
    ...(resources.length === 0
      ? [required(`${path}.resources`, 'resource rules must supply at least one resource')]
      : only(resources, `${path}.resources`, 'resources')),
  ]
  const field = `${path}.namespaces`
  if (namespaces.length === 0 && !clusterScope) {
    const why = 'resource rules that are not cluster scoped must supply at least one namespace'
    return [...errors, required(field, why)]
  }
  if (namespaces.includes('*')) return [...errors, ...only(namespaces, field, 'namespaces')]
  const intro = "each member of this list must be '*' or a DNS-1123 label; "
  return [
    ...errors,
    ...namespaces.flatMap((name, index) =>
      dnsLabel(`${field}[${index}]`, name).map((fault) => ({
        ...fault,
        message: fault.message.replace(`${JSON.stringify(name)}: `, (head) => head + intro),
      })),
    ),
  ]
}

function validateUrlRule({ verbs: given, nonResourceURLs: urls }: NonResourcePolicyRule, path: string): FieldError[] {
  const errors = validateVerbs(given, `${path}.verbs`)
  const field = `${path}.nonResourceURLs`
  if (urls.length === 0) return [...errors, required(field, 'nonResourceURLs must contain at least one value')]
  if (urls.includes('*')) return [...errors, ...only(urls, field, 'non-resource URLs')]
  return [
    ...errors,
    ...urls.flatMap((url, index) => {
      const why = faultOfUrl(url)
      return why === undefined ? [] : [invalid(`${field}[${index}]`, url, why)]
    }),
  ]
}

function faultOfUrl(url: string): string | undefined {
  if (url === '') return 'must not be empty'
  if (url === '/') return undefined
  if (!url.startsWith('/')) return 'must start with slash'
  if (url.includes(' ')) return 'must not contain white-space'
  if (url.includes('//')) return 'must not contain double slash'
  const stars = url.split('*').length - 1
  return stars > 1 || (stars === 1 && !url.endsWith('/*')) ? 'wildcard can only do suffix matching' : undefined
}

export const priorityLevel: Rules = defineRules<PriorityLevelConfiguration>({
  default({ spec }) {
    for (const each of [spec?.exempt, spec?.limited]) {
      if (each !== undefined) each.lendablePercent ??= 0
    }
    if (spec?.exempt !== undefined) spec.exempt.nominalConcurrencyShares ??= 0
    if (spec?.limited !== undefined) spec.limited.nominalConcurrencyShares ??= 30
    const queuing = spec?.limited?.limitResponse?.queuing
    if (queuing === undefined) return
    if ((queuing.handSize ?? 0) === 0) queuing.handSize = 8
    if ((queuing.queues ?? 0) === 0) queuing.queues = 64
    if ((queuing.queueLengthLimit ?? 0) === 0) queuing.queueLengthLimit = 50
  },
  validate: ({ metadata, spec, status }) => [
    ...validateLevel(spec ?? { type: '' }, metadata.name ?? ''),
    ...validateConditions(status?.conditions ?? []),
  ],
  validateStatus: ({ status }) => validateConditions(status?.conditions ?? []),
})

function validateLevel(spec: PriorityLevelConfigurationSpec, name: string): FieldError[] {
  const { type, exempt, limited } = spec
  const errors: FieldError[] = []
  if ((name === 'exempt') !== (type === 'Exempt')) {
    errors.push(invalid('spec.type', type, "must be 'Exempt' if and only if `name` is 'exempt'"))
  }
  if (type === '') return [...errors, required('spec.type')]
  if (type !== 'Exempt' && type !== 'Limited') {
    return [...errors, notSupported('spec.type', type, ['Exempt', 'Limited'])]
  }
  if (type === 'Exempt') {
    if (limited !== undefined) errors.push(forbidden('spec.limited', 'must be nil if the type is not Limited'))
    return exempt === undefined ? errors : [...errors, ...validateShares(exempt, 'spec.exempt')]
  }
  if (exempt !== undefined) errors.push(forbidden('spec.exempt', 'must be nil if the type is Limited'))
  if (limited === undefined) return [...errors, required('spec.limited', 'must not be empty when type is Limited')]
  return [...errors, ...validateLimited(limited)]
}

type Shares = NonNullable<PriorityLevelConfigurationSpec['exempt']>

function validateShares({ nominalConcurrencyShares: shares = 0, lendablePercent = 0 }: Shares, path: string) {
  const errors: FieldError[] = []
  if (shares < 0) errors.push(invalid(`${path}.nominalConcurrencyShares`, shares, 'must be a non-negative integer'))
  return [...errors, ...validatePercent(lendablePercent, `${path}.lendablePercent`)]
}

function validatePercent(percent: number, field: string): FieldError[] {
  return percent < 0 || percent > 100 ? [invalid(field, percent, 'must be between 0 and 100, inclusive')] : []
}

function validateLimited(limited: NonNullable<PriorityLevelConfigurationSpec['limited']>): FieldError[] {
  const { nominalConcurrencyShares: shares = 0, lendablePercent = 0, borrowingLimitPercent: borrowed = 0 } = limited
  const path = 'spec.limited'
  return [
    ...validateShares({ nominalConcurrencyShares: shares }, path),
    ...validateResponse(limited.limitResponse ?? { type: '' }, `${path}.limitResponse`),
    ...validatePercent(lendablePercent, `${path}.lendablePercent`),
    ...(borrowed < 0
      ? [invalid(`${path}.borrowingLimitPercent`, borrowed, 'if specified, must be a non-negative integer')]
      : []),
  ]
}

function validateResponse({ type, queuing }: LimitResponse, path: string): FieldError[] {
  const field = `${path}.queuing`
  if (type === '') return [required(`${path}.type`)]
  if (type === 'Reject') {
    const why = 'must be nil if limited.limitResponse.type is not Limited'
    return queuing === undefined ? [] : [forbidden(field, why)]
  }
  if (type !== 'Queue') return [notSupported(`${path}.type`, type, ['Queue', 'Reject'])]
  if (queuing !== undefined) return validateQueuing(queuing, field)
  return [required(field, 'must not be empty if limited.limitResponse.type is Limited')]
}

const mostQueues = 10_000_000
const hashBits = 60

function validateQueuing(queuing: QueuingConfiguration, path: string): FieldError[] {
  const { queueLengthLimit = 0, queues = 0, handSize = 0 } = queuing
  const errors: FieldError[] = []
  if (queueLengthLimit <= 0) errors.push(invalid(`${path}.queueLengthLimit`, queueLengthLimit, 'must be positive'))
  if (queues <= 0) errors.push(invalid(`${path}.queues`, queues, 'must be positive'))
  else if (queues > mostQueues) {
    errors.push(invalid(`${path}.queues`, queues, `must not be greater than ${mostQueues}`))
  }
  const field = `${path}.handSize`
  if (handSize <= 0) return [...errors, invalid(field, handSize, 'must be positive')]
  if (handSize > queues) return [...errors, invalid(field, handSize, `should not be greater than queues (${queues})`)]
  if (entropyBits(queues, handSize) <= hashBits) return errors
  const why = `required entropy bits of deckSize ${queues} and handSize ${handSize} should not be greater than ${hashBits}`
  return [...errors, invalid(field, handSize, why)]
}

/** Bits it takes to deal a hand of queues: those of the number of ways to do it. */
function entropyBits(deck: number, hand: number): number {
  return Math.ceil(Math.log2(deck) * hand)
}

function validateConditions(conditions: readonly { type?: string | undefined }[]): FieldError[] {
  return conditions.flatMap(({ type = '' }, index) => {
    const field = `status.conditions[${index}].type`
    const isRepeated = conditions.slice(0, index).some((other) => (other.type ?? '') === type)
    return [...(isRepeated ? [duplicate(field, type)] : []), ...(type === '' ? [required(field)] : [])]
  })
}
