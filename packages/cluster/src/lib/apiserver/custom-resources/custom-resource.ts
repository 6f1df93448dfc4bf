import type { KindInfo, KubeObject, SubresourceInfo } from '@fairlead/kube/types'
import type {
  CustomResourceDefinition,
  CustomResourceDefinitionVersion,
  JSONSchemaProps,
} from '@fairlead/kube/types/apiextensions-v1'

import type { CustomKind, Resource } from '../resource.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'
import { printerOf } from './columns.ts'
import { applyDefaults, dropNulls } from './defaulting.ts'
import { checkEmbedded, readEmbedded, readMetadata } from './embedded.ts'
import { parseJsonPath } from './json-path.ts'
import { checkListTypes } from './list-types.ts'
import { pruneResource } from './prune.ts'
import { compileRules } from './rules.ts'
import type { Rules } from './rules.ts'
import { applyCustomScale, checkScale, replicasPathsOf, scalePathsOf, toCustomScale } from './scale.ts'
import type { ScalePaths } from './scale.ts'
import { compileSchema } from './schema.ts'
import type { JsonObject, Schema } from './schema.ts'
import { CustomForm } from './stored-form.ts'
import type { Converter } from './stored-form.ts'
import { validateValue } from './validate-value.ts'

/** What the definition of a custom resource makes of one version. */
interface Version {
  readonly definition: CustomResourceDefinition
  readonly version: CustomResourceDefinitionVersion
  readonly compiled: CompiledVersion
  readonly hasStatus: boolean
  readonly scale: ScalePaths | undefined
}

/** Of a version that nobody has objects of, nothing is compiled: most kinds of a new cluster are such, those of its gateway. */
class CompiledVersion {
  readonly source: JSONSchemaProps
  #schema: Schema | undefined
  #rules: Rules | undefined

  constructor(source: JSONSchemaProps) {
    this.source = source
  }

  get schema(): Schema {
    return (this.#schema ??= compileSchema(this.source))
  }

  get rules(): Rules {
    return (this.#rules ??= compileRules(this.schema))
  }
}

/** The resource of one version of a definition; objects are stored in the version `storage`. */
export function createCustomResource(
  definition: CustomResourceDefinition,
  version: CustomResourceDefinitionVersion,
  options: { converter: Converter; isTerminating: boolean; retired: AbortSignal },
): Resource {
  const { subresources } = version
  const compiled = new CompiledVersion(version.schema?.openAPIV3Schema ?? openSchema)
  const facts: Version = {
    definition,
    version,
    compiled,
    hasStatus: subresources?.status !== undefined,
    scale: subresources?.scale === undefined ? undefined : scalePathsOf(subresources.scale),
  }
  const info = infoOf(facts)
  const { group } = definition.spec
  const custom = customKind(facts, options.isTerminating)
  return {
    info,
    strategy: strategyOf(facts),
    collection: `${group}/${definition.spec.names.plural}`,
    hasGeneration: true,
    selectableFields: new Set(['metadata.name', 'metadata.namespace', ...selectablePaths(version).keys()]),
    subresources: subresourcesOf(facts, info),
    form: new CustomForm(custom.storedAs, info, compiled, options.converter),
    custom,
    retired: options.retired,
    get stored() {
      return this
    },
  }
}

/** For versions without a schema, which only definitions of long ago have. */
const openSchema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } as const

function storageVersionOf({ spec }: CustomResourceDefinition): string {
  return spec.versions.find(({ storage }) => storage)?.name ?? ''
}

function infoOf({ definition, version }: Version): KindInfo {
  const { spec, status } = definition
  const { plural, singular = '', kind, shortNames = [], categories = [] } = { ...spec.names, ...status?.acceptedNames }
  return {
    group: spec.group,
    version: version.name,
    apiVersion: `${spec.group}/${version.name}`,
    kind,
    plural,
    singular,
    shortNames,
    categories,
    namespaced: spec.scope === 'Namespaced',
    definition: '',
    subresources: [],
    verbs: ['delete', 'deletecollection', 'get', 'list', 'patch', 'create', 'update', 'watch'],
  }
}

const partVerbs = ['get', 'patch', 'update']

function subresourcesOf({ hasStatus, scale }: Version, { apiVersion, kind }: KindInfo): SubresourceInfo[] {
  return [
    ...(hasStatus ? [{ name: 'status', apiVersion, kind, verbs: partVerbs }] : []),
    ...(scale === undefined ? [] : [{ name: 'scale', apiVersion: 'autoscaling/v1', kind: 'Scale', verbs: partVerbs }]),
  ]
}

function strategyOf(facts: Version): KindStrategy {
  const { hasStatus, version } = facts
  const fields = selectablePaths(version)
  return {
    ...printerOf(version.additionalPrinterColumns ?? []),
    create(object) {
      if (hasStatus) dropStatus(facts, object)
    },
    update(object, old) {
      if (!hasStatus) return
      if (old['status'] === undefined) dropStatus(facts, object)
      else object['status'] = old['status']
    },
    validate: (object, old) => validateObject(facts, object, old),
    validateStatus: (object, old) => validateStatus(facts, object, old),
    fields: (object) =>
      Object.fromEntries([...fields].map(([name, path]) => [name, renderField(path.find(object)[0])])),
  }
}

/** Without a status an object has the one that is the default, as whoever reads it sees. */
function dropStatus({ compiled }: Version, object: KubeObject): void {
  delete object['status']
  applyDefaults(object, compiled.schema)
}

function selectablePaths(version: CustomResourceDefinitionVersion): Map<string, ReturnType<typeof parseJsonPath>> {
  const paths = (version.selectableFields ?? []).map(({ jsonPath }) => jsonPath)
  return new Map(paths.map((path) => [path.replace(/^\./, ''), parseJsonPath(path)]))
}

function renderField(value: unknown): string {
  return ['string', 'number', 'bigint', 'boolean'].includes(typeof value) ? String(value) : ''
}

function validateObject(facts: Version, object: KubeObject, old: KubeObject | undefined): FieldError[] {
  const errors = validateValue(object, facts.compiled.schema, old === undefined ? {} : { old: { value: old } })
  return [...errors, ...validateRest(facts, object, old, errors)]
}

/** A write of the status answers for the status only. */
function validateStatus(facts: Version, object: KubeObject, old: KubeObject): FieldError[] {
  const { status } = object
  const schema = facts.compiled.schema.properties.get('status')
  const before = old['status'] === undefined ? {} : { old: { value: old['status'] } }
  const errors =
    status === undefined || schema === undefined ? [] : validateValue(status, schema, { root: 'status', ...before })
  return [...errors, ...validateRest(facts, object, old, errors)]
}

function validateRest(
  { compiled, scale }: Version,
  object: KubeObject,
  old: KubeObject | undefined,
  found: readonly FieldError[],
): FieldError[] {
  const { schema, rules } = compiled
  const errors = [...(scale === undefined ? [] : checkScale(object, scale)), ...checkEmbedded(object, schema)]
  const wasGood = old === undefined || checkListTypes(old, schema).length === 0
  if (wasGood) errors.push(...checkListTypes(object, schema))
  return [...errors, ...rules.check(object, old, [...found, ...errors])]
}

function customKind({ definition, version, compiled, scale }: Version, isTerminating: boolean): CustomKind {
  return {
    schema: compiled.source,
    isTerminating,
    countsStatus: version.subresources?.status === undefined,
    listKind: definition.spec.names.listKind ?? `${definition.spec.names.kind}List`,
    storedAs: `${definition.spec.group}/${storageVersionOf(definition)}`,
    deprecation: deprecationOf(definition, version),
    read: (object) => readObject(object, compiled.schema),
    ...(scale === undefined
      ? {}
      : {
          toScale: (object, missing) => toCustomScale(object, scale, missing),
          applyScale: (object, wanted) => applyCustomScale(object, wanted, scale),
          replicasPaths: replicasPathsOf(definition),
        }),
  }
}

function deprecationOf(
  { spec }: CustomResourceDefinition,
  version: CustomResourceDefinitionVersion,
): string | undefined {
  if (version.deprecated !== true) return undefined
  return version.deprecationWarning ?? `${spec.group}/${version.name} ${spec.names.kind} is deprecated`
}

/** Brings an object as sent to the form the schema wants, and tells what did not fit. Changes the object. */
function readObject(object: KubeObject, schema: Schema): { unknown: string[]; wrong: string[] } {
  const value: JsonObject = object
  const metadata = readMetadata(value)
  const embedded = readEmbedded(value, schema)
  const pruned = pruneResource(value, schema)
  dropNulls(value, schema)
  applyDefaults(value, schema)
  return {
    unknown: [...metadata.unknown, ...embedded.unknown, ...pruned].toSorted(),
    wrong: [...metadata.wrong, ...embedded.wrong],
  }
}
