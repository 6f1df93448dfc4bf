import type {
  CustomResourceConversion,
  CustomResourceDefinition,
  CustomResourceDefinitionNames,
  CustomResourceDefinitionSpec,
  CustomResourceDefinitionVersion,
} from '@fairlead/kube/types/apiextensions-v1'

import { dnsLabel1035, dnsSubdomain } from '../kinds/names.ts'
import { forbidden, immutable, invalid, notSupported, required } from '../kinds/field-errors.ts'
import { isEqual } from '../metadata.ts'
import type { FieldError } from '../status.ts'
import { checkDefaults } from './default-rules.ts'
import { at, child } from './field-path.ts'
import { checkRules } from './rules.ts'
import { findField } from './rule-field.ts'
import { checkSchema } from './schema-rules.ts'
import { checkStructural } from './structural-rules.ts'

/** What is wrong with a definition; `old` is the one it replaces. */
export function checkDefinition(
  definition: CustomResourceDefinition,
  old: CustomResourceDefinition | undefined,
): FieldError[] {
  const { metadata, spec, status } = definition
  const name = metadata?.name ?? ''
  const errors: FieldError[] = []
  if (name !== `${spec.names.plural}.${spec.group}`) {
    errors.push(invalid('metadata.name', name, 'must be spec.names.plural+"."+spec.group'))
  }
  errors.push(...checkSpec(spec, old?.spec, 'spec'))
  if (old !== undefined) errors.push(...checkImmutable(spec, old))
  errors.push(...checkStoredVersions(status?.storedVersions ?? [], spec.versions), ...checkApproval(definition, old))
  if (spec.preserveUnknownFields === true && old?.spec.preserveUnknownFields !== true) {
    const why =
      'cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead'
    errors.push(invalid('spec.preserveUnknownFields', true, why))
  }
  return errors
}

function checkSpec(
  spec: CustomResourceDefinitionSpec,
  old: CustomResourceDefinitionSpec | undefined,
  path: string,
): FieldError[] {
  const { versions } = spec
  const errors = [...checkGroup(spec.group, child(path, 'group')), ...checkScope(spec.scope, child(path, 'scope'))]
  for (const [index, version] of versions.entries()) {
    errors.push(...checkVersion(version, at(child(path, 'versions'), index)))
  }
  errors.push(...checkParts(spec, old, path))
  const names = new Set(versions.map(({ name }) => name))
  const field = child(path, 'versions')
  if (names.size < versions.length) errors.push(invalid(field, versions, 'must contain unique version names'))
  if (versions.filter(({ storage }) => storage).length !== 1) {
    errors.push(invalid(field, versions, 'must have exactly one version marked as storage version'))
  }
  const place = child(path, 'names')
  for (const key of ['plural', 'singular', 'kind', 'listKind'] as const) {
    if ((spec.names[key] ?? '') === '') errors.push(required(child(place, key)))
  }
  return [...errors, ...checkNames(spec.names, place), ...checkConversion(spec.conversion, child(path, 'conversion'))]
}

function checkGroup(group: string, field: string): FieldError[] {
  if (group === '') return [required(field)]
  const errors = dnsSubdomain(field, group)
  if (errors.length > 0 || group.includes('.')) return errors
  return [invalid(field, group, 'should be a domain with at least one dot')]
}

function checkScope(scope: string, field: string): FieldError[] {
  if (scope === '') return [required(field)]
  const known = ['Cluster', 'Namespaced']
  return known.includes(scope) ? [] : [notSupported(field, scope, known)]
}

export function checkNames(names: CustomResourceDefinitionNames, path: string): FieldError[] {
  const { plural, singular = '', kind, listKind = '', shortNames = [], categories = [] } = names
  const label = (field: string, value: string): FieldError[] =>
    value === '' ? [] : dnsLabel1035(child(path, field), value)
  const errors = [...label('plural', plural), ...label('singular', singular)]
  for (const [field, value] of Object.entries({ kind, listKind })) {
    if (value !== '' && dnsLabel1035('', value.toLowerCase()).length > 0) {
      errors.push(invalid(child(path, field), value, `may have mixed case, but should otherwise match: ${labelRule}`))
    }
  }
  errors.push(...shortNames.flatMap((each, index) => dnsLabel1035(at(child(path, 'shortNames'), index), each)))
  if (kind !== '' && kind === listKind) {
    errors.push(invalid(child(path, 'listKind'), listKind, 'kind and listKind may not be the same'))
  }
  return [...errors, ...categories.flatMap((each, index) => dnsLabel1035(at(child(path, 'categories'), index), each))]
}

const labelRule =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"

function checkVersion(version: CustomResourceDefinitionVersion, path: string): FieldError[] {
  return [...dnsLabel1035(child(path, 'name'), version.name), ...checkDeprecation(version, path)]
}

type Part = (
  version: CustomResourceDefinitionVersion,
  old: CustomResourceDefinitionVersion | undefined,
  path: string,
) => FieldError[]

/** What each version has of its own, where it stands when all versions have the same, and how it is checked. */
const parts: readonly {
  readonly key: 'schema' | 'subresources' | 'additionalPrinterColumns' | 'selectableFields'
  readonly shared: string
  readonly check: Part
}[] = [
  { key: 'schema', shared: 'validation', check: checkVersionSchema },
  { key: 'subresources', shared: 'subresources', check: checkScalePaths },
  { key: 'additionalPrinterColumns', shared: 'additionalPrinterColumns', check: checkColumns },
  { key: 'selectableFields', shared: 'selectableFields', check: checkSelectable },
]

/** Parts that are the same in all versions are one part to upstream, and errors in it are told once. */
function checkParts(
  { versions }: CustomResourceDefinitionSpec,
  old: CustomResourceDefinitionSpec | undefined,
  path: string,
): FieldError[] {
  return parts.flatMap(({ key, shared, check }) => {
    const [first] = versions
    if (first === undefined) return []
    const before = (name: string): CustomResourceDefinitionVersion | undefined =>
      old?.versions.find((version) => version.name === name)
    const isShared = first[key] !== undefined && versions.every((version) => isEqual(version[key], first[key]))
    if (isShared) return check(first, before(first.name), child(path, shared))
    return versions.flatMap((version, index) =>
      check(version, before(version.name), child(at(child(path, 'versions'), index), key)),
    )
  })
}

function checkDeprecation(
  { deprecated, deprecationWarning }: CustomResourceDefinitionVersion,
  path: string,
): FieldError[] {
  if (deprecationWarning === undefined) return []
  const field = child(path, 'deprecationWarning')
  const wrong = (why: string): FieldError => invalid(field, deprecationWarning, why)
  if (deprecated !== true) return [wrong('can only be set for deprecated versions')]
  if (deprecationWarning === '') return [wrong('must not be an empty string')]
  if (deprecationWarning.length > 256) return [wrong('must be <= 256 characters long')]
  const control = /[^\P{C}]|[\p{Zl}\p{Zp}]/u.exec(deprecationWarning)
  if (control === null) return []
  return [
    wrong(`must only contain printable UTF-8 characters; non-printable character found at index ${control.index}`),
  ]
}

const statusRootFields = new Set(
  `description type format title maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern maxItems
minItems uniqueItems multipleOf required items properties externalDocs example x-kubernetes-preserve-unknown-fields
x-kubernetes-validations`.split(/\s+/),
)

function checkVersionSchema(
  { schema, subresources }: CustomResourceDefinitionVersion,
  old: CustomResourceDefinitionVersion | undefined,
  place: string,
): FieldError[] {
  const path = child(place, 'openAPIV3Schema')
  if (schema?.openAPIV3Schema === undefined) return [required(path)]
  const root = schema.openAPIV3Schema
  const errors = subresources?.status === undefined ? [] : checkStatusRoot(root, path)
  if (root.nullable === true) errors.push(forbidden(child(path, 'nullable'), 'nullable cannot be true at the root'))
  const structural = checkStructural(root, path)
  const keywords = checkSchema(root, path)
  const defaults = structural.length === 0 && keywords.length === 0 ? checkDefaults(root, path) : []
  errors.push(...structural, ...defaults, ...keywords)
  if (structural.length > 0 || keywords.length > 0 || defaults.length > 0) return errors
  const before = old?.schema?.openAPIV3Schema
  return [...errors, ...checkRules(root, path, { isUnchanged: before !== undefined && isEqual(before, root) })]
}

function checkStatusRoot(root: object, path: string): FieldError[] {
  for (const [key, value] of Object.entries(root)) {
    if (value === undefined || value === false || value === '') continue
    if (key === 'type' && value !== 'object') {
      const why = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
      return [invalid(child(path, 'type'), value, why)]
    }
    if (!statusRootFields.has(key)) {
      const fields = [...statusRootFields].join(' ')
      const why = `only [${fields}] fields are allowed at the root of the schema if the status subresource is enabled`
      return [invalid(path, root, why)]
    }
  }
  return []
}

function checkScalePaths(
  { subresources }: CustomResourceDefinitionVersion,
  _old: CustomResourceDefinitionVersion | undefined,
  place: string,
): FieldError[] {
  const scale = subresources?.scale
  if (scale === undefined) return []
  const check = (key: keyof typeof scale, roots: readonly string[], why: string): FieldError[] => {
    const value = scale[key] ?? ''
    const field = child(place, `scale.${key}`)
    if (value === '') return key === 'labelSelectorPath' ? [] : [required(field)]
    if (!value.startsWith('.')) return [invalid(field, value, 'must be a simple json path starting with .')]
    return roots.some((root) => value.startsWith(root)) ? [] : [invalid(field, value, why)]
  }
  return [
    ...check('specReplicasPath', ['.spec.'], 'should be a json path under .spec'),
    ...check('statusReplicasPath', ['.status.'], 'should be a json path under .status'),
    ...check('labelSelectorPath', ['.spec.', '.status.'], 'should be a json path under either .spec or .status'),
  ]
}

const columnTypes = ['boolean', 'date', 'integer', 'number', 'string']
const columnFormats = ['byte', 'date', 'date-time', 'double', 'float', 'int32', 'int64', 'password']

function checkColumns(
  { additionalPrinterColumns = [] }: CustomResourceDefinitionVersion,
  _old: CustomResourceDefinitionVersion | undefined,
  path: string,
): FieldError[] {
  return additionalPrinterColumns.flatMap(({ name, type, format = '', jsonPath }, index) => {
    const place = at(path, index)
    const errors: FieldError[] = []
    if (name === '') errors.push(required(child(place, 'name')))
    const typeRule = `must be one of ${columnTypes.join()}`
    if (type === '') errors.push(required(child(place, 'type'), typeRule))
    else if (!columnTypes.includes(type)) errors.push(invalid(child(place, 'type'), type, typeRule))
    if (format !== '' && !columnFormats.includes(format)) {
      errors.push(invalid(child(place, 'format'), format, `must be one of ${columnFormats.join()}`))
    }
    const field = child(place, 'JSONPath')
    if (jsonPath === '') errors.push(required(field))
    else if (!jsonPath.startsWith('.')) {
      errors.push(invalid(field, jsonPath, 'must be a simple json path starting with .'))
    }
    return errors
  })
}

const mostSelectable = 8
const selectableTypes = ['string', 'boolean', 'integer']

function checkSelectable(
  { selectableFields = [], schema }: CustomResourceDefinitionVersion,
  _old: CustomResourceDefinitionVersion | undefined,
  place: string,
): FieldError[] {
  const root = schema?.openAPIV3Schema
  const seen = new Set<string>()
  const errors = selectableFields.flatMap(({ jsonPath }, index) => {
    const field = child(at(place, index), 'jsonPath')
    if (jsonPath === '') return [required(field)]
    const found = root === undefined ? undefined : findField(root, jsonPath, { allowsIndexes: false })
    if (found === undefined) return [invalid(field, jsonPath, 'is an invalid path: does not refer to a valid field')]
    const own: FieldError[] = []
    if (found.first === 'metadata') own.push(invalid(field, jsonPath, 'must not point to fields in metadata'))
    if (!selectableTypes.includes(found.schema.type ?? '')) {
      const why =
        'must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.'
      own.push(invalid(field, jsonPath, why))
    }
    if (seen.has(found.field)) {
      own.push({ field, reason: 'FieldValueDuplicate', message: `Duplicate value: ${JSON.stringify(jsonPath)}` })
    }
    seen.add(found.field)
    return own
  })
  if (seen.size <= mostSelectable) return errors
  const message = `Too many: ${seen.size}: must have at most ${mostSelectable} items`
  return [...errors, { field: place, reason: 'FieldValueTooMany', message }]
}

function checkConversion(conversion: CustomResourceConversion | undefined, path: string): FieldError[] {
  if (conversion === undefined) return []
  const { strategy, webhook } = conversion
  const known = ['None', 'Webhook']
  if (strategy === '') return [required(child(path, 'strategy'))]
  if (!known.includes(strategy)) return [notSupported(child(path, 'strategy'), strategy, known)]
  const place = child(path, 'webhookClientConfig')
  if (strategy === 'None') {
    return webhook === undefined ? [] : [forbidden(place, 'should not be set when strategy is not set to Webhook')]
  }
  const config = webhook?.clientConfig
  if (config === undefined) return [required(place, 'required when strategy is set to Webhook')]
  const errors: FieldError[] = []
  if ((config.url === undefined) === (config.service === undefined)) {
    errors.push(required(place, 'exactly one of url or service is required'))
  } else if (config.url !== undefined) errors.push(...checkUrl(config.url, child(place, 'url')))
  return [
    ...errors,
    ...checkReviewVersions(webhook?.conversionReviewVersions ?? [], child(path, 'conversionReviewVersions')),
  ]
}

function checkUrl(text: string, field: string): FieldError[] {
  const form = 'desired format: https://host[/path]'
  const url = URL.parse(text)
  if (url === null) return [required(field, `url must be a valid URL: ${form}`)]
  const errors: FieldError[] = []
  if (url.protocol !== 'https:') {
    errors.push(invalid(field, url.protocol.slice(0, -1), `'https' is the only allowed URL scheme; ${form}`))
  }
  if (url.host === '') errors.push(invalid(field, '', `host must be specified; ${form}`))
  if (url.username !== '') errors.push(invalid(field, url.username, 'user information is not permitted in the URL'))
  if (url.hash !== '') errors.push(invalid(field, url.hash.slice(1), 'fragments are not permitted in the URL'))
  if (url.search !== '')
    errors.push(invalid(field, url.search.slice(1), 'query parameters are not permitted in the URL'))
  return errors
}

function checkReviewVersions(versions: readonly string[], field: string): FieldError[] {
  if (versions.length === 0) return [required(field)]
  const errors = versions.flatMap((version, index) =>
    versions.indexOf(version) < index
      ? [invalid(at(field, index), version, 'duplicate version')]
      : dnsLabel1035(at(field, index), version),
  )
  if (versions.includes('v1') || versions.includes('v1beta1')) return errors
  return [...errors, invalid(field, versions, 'must include at least one of v1, v1beta1')]
}

function checkImmutable(
  spec: CustomResourceDefinitionSpec,
  { spec: old, status }: CustomResourceDefinition,
): FieldError[] {
  const isEstablished = (status?.conditions ?? []).some((each) => each.type === 'Established' && each.status === 'True')
  const same = (field: string, a: string, b: string): FieldError[] => immutable(field, a, a === b)
  return [
    ...(isEstablished ? same('spec.scope', spec.scope, old.scope) : []),
    ...(isEstablished ? same('spec.names.kind', spec.names.kind, old.names.kind) : []),
    ...same('spec.group', spec.group, old.group),
    ...same('spec.names.plural', spec.names.plural, old.names.plural),
  ]
}

function checkStoredVersions(
  stored: readonly string[],
  versions: readonly CustomResourceDefinitionVersion[],
): FieldError[] {
  const field = 'status.storedVersions'
  if (stored.length === 0) return [invalid(field, stored, 'must have at least one stored version')]
  const errors = versions
    .filter(({ name, storage }) => storage && !stored.includes(name))
    .map(({ name }) => invalid(field, stored, `must have the storage version ${name}`))
  for (const [index, name] of stored.entries()) {
    if (versions.some((version) => version.name === name)) continue
    const why = `missing from spec.versions; ${name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in ${name} and removes ${name} from status.storedVersions`
    errors.push(invalid(at(field, index), name, why))
  }
  return errors
}

const approval = 'api-approved.kubernetes.io'

/** Groups of Kubernetes itself need to say who approved of them. */
function checkApproval(definition: CustomResourceDefinition, old: CustomResourceDefinition | undefined): FieldError[] {
  const { group } = definition.spec
  if (!/(^|\.)(k8s|kubernetes)\.io$/.test(group)) return []
  const value = definition.metadata?.annotations?.[approval] ?? ''
  if (value.startsWith('unapproved') || URL.canParse(value)) return []
  if (old !== undefined && (old.metadata?.annotations?.[approval] ?? '') === value) return []
  const field = `metadata.annotations[${approval}]`
  if (value !== '') {
    return [
      invalid(
        field,
        value,
        `protected groups must have approval annotation "${approval}" with either a URL or a reason starting with "unapproved", see https://github.com/kubernetes/enhancements/pull/1111`,
      ),
    ]
  }
  const why = `protected groups must have approval annotation "${approval}", see https://github.com/kubernetes/enhancements/pull/1111`
  return [required(field, why)]
}
