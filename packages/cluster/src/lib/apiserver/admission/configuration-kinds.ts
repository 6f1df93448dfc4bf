import type { LabelSelector } from '@fairlead/kube/types'
import type {
  MatchCondition,
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
  MutatingWebhook,
  MutatingWebhookConfiguration,
  NamedRuleWithOperations,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  Variable,
  WebhookClientConfig,
} from '@fairlead/kube/types/admissionregistration-v1'

import { compile } from '../cel/compile.ts'
import { CelSyntaxError, renderIssue } from '../cel/syntax.ts'
import type { Type } from '../cel/types.ts'
import { defineKind } from '../kinds/define.ts'
import { tables } from '../kinds/columns.ts'
import { duplicate, invalid, notSupported, oneOf, required } from '../kinds/field-errors.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'
import { conditionVariables, mutationVariables, policyVariables } from './policies/environment.ts'
import { expressionOf } from './policies/mutation-expression.ts'

/** Defaults and rules of one kind, with the columns it has anyway. */
function kindWith<T>(kind: string, rules: Omit<Parameters<typeof defineKind<T>>[0], 'columns' | 'row'>): KindStrategy {
  const table = tables.get(`admissionregistration.k8s.io/v1 ${kind}`)
  if (table === undefined) throw new TypeError(`Cannot find the columns of ${JSON.stringify(kind)}`)
  return { ...table, ...defineKind<T>({ ...rules, columns: table.columns, row: () => [] }), row: table.row.bind(table) }
}

const webhookConfiguration = {
  default({ webhooks = [] }: MutatingWebhookConfiguration) {
    for (const webhook of webhooks) defaultWebhook(webhook)
  },
  validate({ webhooks = [] }: MutatingWebhookConfiguration): FieldError[] {
    const names = webhooks.map(({ name }) => name)
    return webhooks.flatMap((webhook, index) => [
      ...validateWebhook(webhook, `webhooks[${index}]`),
      ...(names.indexOf(webhook.name) < index ? [duplicate(`webhooks[${index}].name`, webhook.name)] : []),
    ])
  },
}

function defaultWebhook(webhook: MutatingWebhook): void {
  webhook.failurePolicy ??= 'Fail'
  webhook.matchPolicy ??= 'Equivalent'
  webhook.namespaceSelector ??= {}
  webhook.objectSelector ??= {}
  webhook.timeoutSeconds ??= 10
  for (const rule of webhook.rules ?? []) rule.scope ??= '*'
  if (webhook.clientConfig.service !== undefined) webhook.clientConfig.service.port ??= 443
}

function validateWebhook(webhook: MutatingWebhook, path: string): FieldError[] {
  const { name, timeoutSeconds = 10, sideEffects, admissionReviewVersions: versions, rules = [] } = webhook
  return [
    ...(name.split('.').length < 3 || !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name)
      ? [invalid(`${path}.name`, name, 'should be a domain with at least three segments separated by dots')]
      : []),
    ...validateReviewVersions(versions, `${path}.admissionReviewVersions`),
    ...rules.flatMap((rule, index) => validateRule(rule, `${path}.rules[${index}]`)),
    ...oneOf(`${path}.failurePolicy`, webhook.failurePolicy, ['Fail', 'Ignore']),
    ...oneOf(`${path}.matchPolicy`, webhook.matchPolicy, ['Equivalent', 'Exact']),
    ...(sideEffects === ''
      ? [required(`${path}.sideEffects`, 'must specify one of None, NoneOnDryRun')]
      : oneOf(`${path}.sideEffects`, sideEffects, ['None', 'NoneOnDryRun'])),
    ...(timeoutSeconds < 1 || timeoutSeconds > 30
      ? [invalid(`${path}.timeoutSeconds`, timeoutSeconds, 'the timeout value must be between 1 and 30 seconds')]
      : []),
    ...oneOf(`${path}.reinvocationPolicy`, webhook.reinvocationPolicy, ['IfNeeded', 'Never']),
    ...validateClientConfig(webhook.clientConfig, `${path}.clientConfig`),
    ...validateConditions(webhook.matchConditions, conditionVariables, `${path}.matchConditions`),
  ]
}

function validateReviewVersions(versions: readonly string[], path: string): FieldError[] {
  if (versions.length === 0) return [required(path, 'must specify one of v1, v1beta1')]
  if (versions.some((version) => version === 'v1' || version === 'v1beta1')) return []
  return [invalid(path, versions, 'must include at least one of v1, v1beta1')]
}

function validateRule(rule: NamedRuleWithOperations, path: string): FieldError[] {
  const { operations = [], apiGroups = [], apiVersions = [], resources = [] } = rule
  const lists = { operations, apiGroups, apiVersions, resources }
  const known = ['*', 'CONNECT', 'CREATE', 'DELETE', 'UPDATE']
  return [
    ...Object.entries(lists).flatMap(([name, list]) => {
      if (list.length === 0) return [required(`${path}.${name}`)]
      const isMixed = list.length > 1 && list.includes('*') && name !== 'resources'
      return isMixed ? [invalid(`${path}.${name}`, list, "if '*' is present, must not specify other values")] : []
    }),
    ...operations.flatMap((each, index) => oneOf(`${path}.operations[${index}]`, each, known)),
    ...oneOf(`${path}.scope`, rule.scope, ['*', 'Cluster', 'Namespaced']),
  ]
}

/** Where a webhook is: a place in the cluster, or an HTTPS URL. Also true of webhooks of other kinds. */
function validateClientConfig({ url, service }: WebhookClientConfig, path: string): FieldError[] {
  if ((url === undefined) === (service === undefined))
    return [required(path, 'exactly one of url or service is required')]
  if (service !== undefined) {
    const { name, namespace, port = 443 } = service
    return [
      ...(name === '' ? [required(`${path}.service.name`, 'service name is required')] : []),
      ...(namespace === '' ? [required(`${path}.service.namespace`, 'service namespace is required')] : []),
      ...(port < 1 || port > 65_535
        ? [invalid(`${path}.service.port`, port, 'port is not valid: must be between 1 and 65535, inclusive')]
        : []),
    ]
  }
  return validateUrl(url ?? '', `${path}.url`)
}

function validateUrl(url: string, path: string): FieldError[] {
  const form = 'desired format: https://host[/path]'
  const parsed = URL.parse(url)
  if (parsed === null) return [required(path, `url must be a valid URL: ${form}`)]
  const findings = [
    ...(parsed.protocol === 'https:' ? [] : [`'https' is the only allowed URL scheme; ${form}`]),
    ...(parsed.host === '' ? [`host must be specified; ${form}`] : []),
    ...(parsed.username === '' && parsed.password === '' ? [] : ['user information is not permitted in the URL']),
    ...(parsed.hash === '' ? [] : ['fragments are not permitted in the URL']),
    ...(parsed.search === '' ? [] : ['query parameters are not permitted in the URL']),
  ]
  return findings.map((why) => invalid(path, url, why))
}

function validateConditions(
  conditions: readonly MatchCondition[] = [],
  variables: ReadonlyMap<string, Type>,
  path: string,
): FieldError[] {
  const tooMany = {
    field: path,
    reason: 'FieldValueTooMany',
    message: `Too many: ${conditions.length}: must have at most 64 items`,
  }
  const names = conditions.map(({ name }) => name)
  return [
    ...(conditions.length > 64 ? [tooMany] : []),
    ...conditions.flatMap(({ name, expression }, index) => [
      ...(name === '' ? [required(`${path}[${index}].name`)] : []),
      ...(names.indexOf(name) < index ? [duplicate(`${path}[${index}].name`, name)] : []),
      ...validateExpression(expression, variables, ['bool'], `${path}[${index}].expression`),
    ]),
  ]
}

function validateExpression(
  expression: string | undefined,
  variables: ReadonlyMap<string, Type>,
  kinds: readonly string[],
  path: string,
): FieldError[] {
  if (expression === undefined || expression.trim() === '') return [required(path)]
  try {
    const { type } = compile(expression, variables)
    if (kinds.length === 0 || kinds.includes(type.kind) || type.kind === 'dyn') return []
    return [invalid(path, expression, `must evaluate to ${kinds.join(' or ')}`)]
  } catch (error) {
    if (!(error instanceof CelSyntaxError)) throw error
    return [invalid(path, expression, `compilation failed: ${renderIssue(error, expression)}`)]
  }
}

/** Checks the variables of a policy and gives what may stand in its other expressions. */
function composeVariables(
  variables: readonly Variable[] = [],
  known: ReadonlyMap<string, Type>,
): { readonly types: ReadonlyMap<string, Type>; readonly errors: FieldError[] } {
  const fields = new Map<string, Type>()
  const types = new Map(known).set('variables', { kind: 'object', name: 'kubernetes.variables', fields })
  const errors = variables.flatMap(({ name, expression }, index) => {
    const path = `spec.variables[${index}]`
    const found = validateExpression(expression, types, [], `${path}.expression`)
    const twice = fields.has(name) ? [duplicate(`${path}.name`, name)] : []
    fields.set(name, found.length === 0 ? compile(expression, types).type : { kind: 'dyn' })
    return [
      ...(/^[A-Za-z_]\w*$/.test(name) ? [] : [invalid(`${path}.name`, name, 'name is not a valid CEL identifier')]),
      ...twice,
      ...found,
    ]
  })
  return { types, errors }
}

interface Constraints {
  matchPolicy?: string | undefined
  namespaceSelector?: LabelSelector | undefined
  objectSelector?: LabelSelector | undefined
  resourceRules?: NamedRuleWithOperations[] | undefined
  excludeResourceRules?: NamedRuleWithOperations[] | undefined
}

function defaultConstraints(constraints: Constraints | undefined): void {
  if (constraints === undefined) return
  constraints.matchPolicy ??= 'Equivalent'
  constraints.namespaceSelector ??= {}
  constraints.objectSelector ??= {}
  for (const rule of [...(constraints.resourceRules ?? []), ...(constraints.excludeResourceRules ?? [])])
    rule.scope ??= '*'
}

function validateConstraints(constraints: Constraints | undefined, path: string): FieldError[] {
  const { resourceRules = [], excludeResourceRules = [], matchPolicy } = constraints ?? {}
  return [
    ...resourceRules.flatMap((rule, index) => validateRule(rule, `${path}.resourceRules[${index}]`)),
    ...excludeResourceRules.flatMap((rule, index) => validateRule(rule, `${path}.excludeResourceRules[${index}]`)),
    ...oneOf(`${path}.matchPolicy`, matchPolicy, ['Equivalent', 'Exact']),
  ]
}

const reasons = ['Forbidden', 'Invalid', 'RequestEntityTooLarge', 'Unauthorized']

const validatingPolicy = kindWith<ValidatingAdmissionPolicy>('ValidatingAdmissionPolicy', {
  default({ spec }) {
    if (spec === undefined) return
    spec.failurePolicy ??= 'Fail'
    defaultConstraints(spec.matchConstraints)
  },
  validate({ spec }) {
    if (spec === undefined) return [required('spec')]
    const { types, errors } = composeVariables(spec.variables, policyVariables)
    const { validations = [], auditAnnotations = [], matchConstraints } = spec
    return [
      ...(matchConstraints === undefined ? [required('spec.matchConstraints')] : []),
      ...((matchConstraints?.resourceRules ?? []).length === 0
        ? [required('spec.matchConstraints.resourceRules')]
        : []),
      ...validateConstraints(matchConstraints, 'spec.matchConstraints'),
      ...oneOf('spec.failurePolicy', spec.failurePolicy, ['Fail', 'Ignore']),
      ...validateConditions(spec.matchConditions, policyVariables, 'spec.matchConditions'),
      ...errors,
      ...(validations.length === 0 && auditAnnotations.length === 0
        ? [required('spec.validations', 'validations or auditAnnotations must contain at least one item')]
        : []),
      ...validations.flatMap(({ expression, message, messageExpression, reason }, index) => {
        const path = `spec.validations[${index}]`
        return [
          ...validateExpression(expression, types, ['bool'], `${path}.expression`),
          ...(messageExpression === undefined || messageExpression === ''
            ? []
            : validateExpression(messageExpression, types, ['string'], `${path}.messageExpression`)),
          ...(message?.includes('\n') === true
            ? [invalid(`${path}.message`, message, 'message must not contain line breaks')]
            : []),
          ...(reason === undefined || reasons.includes(reason)
            ? []
            : [notSupported(`${path}.reason`, reason, reasons)]),
        ]
      }),
      ...auditAnnotations.flatMap(({ key, valueExpression }, index) => [
        ...(key === '' ? [required(`spec.auditAnnotations[${index}].key`)] : []),
        ...validateExpression(
          valueExpression,
          types,
          ['string', 'null'],
          `spec.auditAnnotations[${index}].valueExpression`,
        ),
      ]),
    ]
  },
})

const validatingBinding = kindWith<ValidatingAdmissionPolicyBinding>('ValidatingAdmissionPolicyBinding', {
  default: ({ spec }) => defaultConstraints(spec.matchResources),
  validate({ spec }) {
    const { policyName, validationActions, matchResources, paramRef } = spec
    const actions = ['Audit', 'Deny', 'Warn']
    const isBoth = validationActions.includes('Deny') && validationActions.includes('Warn')
    return [
      ...(policyName === '' ? [required('spec.policyName')] : []),
      ...(validationActions.length === 0
        ? [required('spec.validationActions', 'at least one validation action is required')]
        : []),
      ...validationActions.flatMap((action, index) => oneOf(`spec.validationActions[${index}]`, action, actions)),
      ...(isBoth
        ? [
            invalid(
              'spec.validationActions',
              validationActions,
              'must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)',
            ),
          ]
        : []),
      ...validateConstraints(matchResources, 'spec.matchResouces'),
      ...validateParamRef(paramRef),
    ]
  },
})

function validateParamRef(ref: ValidatingAdmissionPolicyBinding['spec']['paramRef']): FieldError[] {
  if (ref === undefined) return []
  const isOne = ((ref.name ?? '') === '') !== (ref.selector === undefined)
  const path = 'spec.paramRef'
  return [
    ...(isOne
      ? []
      : [invalid(path, ref, 'name and selector are mutually exclusive, and one of them must be specified')]),
    ...(ref.parameterNotFoundAction === undefined || ref.parameterNotFoundAction === ''
      ? [required(`${path}.parameterNotFoundAction`)]
      : oneOf(`${path}.parameterNotFoundAction`, ref.parameterNotFoundAction, ['Allow', 'Deny'])),
  ]
}

const mutatingPolicy = kindWith<MutatingAdmissionPolicy>('MutatingAdmissionPolicy', {
  default({ spec }) {
    if (spec === undefined) return
    spec.failurePolicy ??= 'Fail'
    defaultConstraints(spec.matchConstraints)
  },
  validate({ spec }) {
    if (spec === undefined) return [required('spec')]
    const { types, errors } = composeVariables(spec.variables, mutationVariables)
    const { mutations = [], matchConstraints, reinvocationPolicy = '' } = spec
    return [
      ...((matchConstraints?.resourceRules ?? []).length === 0
        ? [required('spec.matchConstraints.resourceRules')]
        : []),
      ...validateConstraints(matchConstraints, 'spec.matchConstraints'),
      ...oneOf('spec.failurePolicy', spec.failurePolicy, ['Fail', 'Ignore']),
      ...(reinvocationPolicy === ''
        ? [required('spec.reinvocationPolicy')]
        : oneOf('spec.reinvocationPolicy', reinvocationPolicy, ['IfNeeded', 'Never'])),
      ...validateConditions(spec.matchConditions, policyVariables, 'spec.matchConditions'),
      ...errors,
      ...(mutations.length === 0 ? [required('spec.mutations', 'mutations must contain at least one item')] : []),
      ...mutations.flatMap((mutation, index) => {
        const part = mutation.patchType === 'JSONPatch' ? 'jsonPatch' : 'applyConfiguration'
        const path = `spec.mutations[${index}]`
        const kinds = part === 'jsonPatch' ? ['list'] : ['object']
        return [
          ...oneOf(`${path}.patchType`, mutation.patchType, ['ApplyConfiguration', 'JSONPatch']),
          ...validateExpression(expressionOf(mutation), types, kinds, `${path}.${part}.expression`),
        ]
      }),
    ]
  },
})

const mutatingBinding = kindWith<MutatingAdmissionPolicyBinding>('MutatingAdmissionPolicyBinding', {
  default: ({ spec }) => defaultConstraints(spec?.matchResources),
  validate({ spec }) {
    return [
      ...((spec?.policyName ?? '') === '' ? [required('spec.policyName')] : []),
      ...validateConstraints(spec?.matchResources, 'spec.matchResources'),
      ...validateParamRef(spec?.paramRef),
    ]
  },
})

/** Defaults and rules of the objects that configure admission. */
export const configurationKinds: readonly (readonly [string, KindStrategy])[] = [
  [
    'MutatingWebhookConfiguration',
    kindWith<MutatingWebhookConfiguration>('MutatingWebhookConfiguration', {
      ...webhookConfiguration,
      default(object) {
        webhookConfiguration.default(object)
        for (const webhook of object.webhooks ?? []) webhook.reinvocationPolicy ??= 'Never'
      },
    }),
  ],
  [
    'ValidatingWebhookConfiguration',
    kindWith<MutatingWebhookConfiguration>('ValidatingWebhookConfiguration', webhookConfiguration),
  ],
  ['ValidatingAdmissionPolicy', validatingPolicy],
  ['ValidatingAdmissionPolicyBinding', validatingBinding],
  ['MutatingAdmissionPolicy', mutatingPolicy],
  ['MutatingAdmissionPolicyBinding', mutatingBinding],
]
