// Writes packages/kube/src/lib/types/generated/ from published facts about the Kubernetes API:
//
//   node scripts/generate-kube-types.ts FOLDER
//
// FOLDER holds swagger.json (OpenAPI v2), proto-fields.json (protobuf numbers by package and message) and
// structured-merge-schema.yaml (server-side apply schema). The table's notation is described in
// packages/kube/src/lib/types/notation.ts, which reads it back.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

const groupVersions = [
  'core.v1',
  'admissionregistration.v1',
  'apps.v1',
  'authentication.v1',
  'authorization.v1',
  'autoscaling.v1',
  'autoscaling.v2',
  'batch.v1',
  'certificates.v1',
  'coordination.v1',
  'discovery.v1',
  'events.v1',
  'flowcontrol.v1',
  'networking.v1',
  'node.v1',
  'policy.v1',
  'rbac.v1',
  'resource.v1',
  'scheduling.v1',
  'storage.v1',
]

/** Short names and categories stand in no schema; these are the ones the API server announces. */
const shortNames: Record<string, string> = {
  certificatesigningrequests: 'csr',
  componentstatuses: 'cs',
  configmaps: 'cm',
  customresourcedefinitions: 'crd,crds',
  cronjobs: 'cj',
  daemonsets: 'ds',
  deployments: 'deploy',
  endpoints: 'ep',
  events: 'ev',
  horizontalpodautoscalers: 'hpa',
  ingresses: 'ing',
  limitranges: 'limits',
  namespaces: 'ns',
  networkpolicies: 'netpol',
  nodes: 'no',
  persistentvolumeclaims: 'pvc',
  persistentvolumes: 'pv',
  poddisruptionbudgets: 'pdb',
  pods: 'po',
  priorityclasses: 'pc',
  replicasets: 'rs',
  replicationcontrollers: 'rc',
  resourcequotas: 'quota',
  serviceaccounts: 'sa',
  services: 'svc',
  statefulsets: 'sts',
  storageclasses: 'sc',
  volumeattributesclasses: 'vac',
}
const inCategoryExtensions = new Set([
  'apiservices',
  'customresourcedefinitions',
  'mutatingadmissionpolicies',
  'mutatingadmissionpolicybindings',
  'mutatingwebhookconfigurations',
  'validatingadmissionpolicies',
  'validatingadmissionpolicybindings',
  'validatingwebhookconfigurations',
])
const inCategoryAll = new Set([
  'pods',
  'services',
  'replicationcontrollers',
  'daemonsets',
  'deployments',
  'replicasets',
  'statefulsets',
  'horizontalpodautoscalers',
  'jobs',
  'cronjobs',
])

interface Schema {
  $ref?: string
  type?: string
  format?: string
  items?: Schema
  additionalProperties?: Schema
  properties?: Record<string, Schema>
  required?: string[]
  'x-kubernetes-list-type'?: string
  'x-kubernetes-list-map-keys'?: string[]
  'x-kubernetes-map-type'?: string
  'x-kubernetes-patch-merge-key'?: string
  'x-kubernetes-patch-strategy'?: string
  'x-kubernetes-group-version-kind'?: GroupVersionKind[]
}
interface GroupVersionKind {
  group: string
  version: string
  kind: string
}
interface Operation {
  'x-kubernetes-action'?: string
  'x-kubernetes-group-version-kind'?: GroupVersionKind
  responses?: Record<string, { schema?: Schema }>
}
interface ProtoField {
  name: string
  number: number
  type: string
  repeated?: boolean
}
interface Swagger {
  definitions: Record<string, Schema>
  paths: Record<string, Record<string, Operation>>
}
interface MergeSchema {
  types: { name: string; map?: { fields?: { name: string; default?: unknown }[] } }[]
}

const folder = process.argv[2]
if (folder === undefined) {
  console.error('usage: node scripts/generate-kube-types.ts FOLDER')
  process.exit(2)
}
const output = join(import.meta.dirname, '../packages/kube/src/lib/types/generated')
const swagger = JSON.parse(readFileSync(join(folder, 'swagger.json'), 'utf8')) as Swagger
const proto = JSON.parse(readFileSync(join(folder, 'proto-fields.json'), 'utf8')) as Record<
  string,
  Record<string, ProtoField[]>
>
const mergeSchema = parse(readFileSync(join(folder, 'structured-merge-schema.yaml'), 'utf8')) as MergeSchema

const metaPackage = 'io.k8s.apimachinery.pkg.apis.meta.v1'
const extensionsPackage = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1'
const packages = [
  metaPackage,
  ...groupVersions.map((name) => `io.k8s.api.${name}`),
  extensionsPackage,
  'io.k8s.kube-aggregator.pkg.apis.apiregistration.v1',
]
const scalars: Record<string, string> = {
  'io.k8s.apimachinery.pkg.api.resource.Quantity': 'q',
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': 'x',
  'io.k8s.apimachinery.pkg.apis.meta.v1.Time': 't',
  'io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime': 'm',
  'io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1': 'f',
  'io.k8s.apimachinery.pkg.apis.meta.v1.Patch': 'f',
  'io.k8s.apimachinery.pkg.runtime.RawExtension': 'a',
  [`${extensionsPackage}.JSON`]: 'a',
  [`${extensionsPackage}.JSONSchemaPropsOrBool`]: 'u',
  [`${extensionsPackage}.JSONSchemaPropsOrArray`]: 'v',
  [`${extensionsPackage}.JSONSchemaPropsOrStringArray`]: 'w',
}
// Its presence is all it says.
const emptyObject = swagger.definitions[`${extensionsPackage}.CustomResourceSubresourceStatus`]
if (emptyObject !== undefined) emptyObject.properties = {}
addWireBodies()
const defaults = readDefaults()
/** Messages that Go inlines into another: they have fields of their own in protobuf and none in JSON. */
const inlined = new Map<string, Schema>()
for (const name of packages.flatMap(definitionsIn)) collectInlined(name)

rmSync(output, { recursive: true, force: true })
mkdirSync(output, { recursive: true })
const kinds = readKinds()
writeFileSync(join(output, 'table.json'), renderTable())
for (const name of packages) writeFileSync(join(output, fileOf(name)), renderInterfaces(name))
writeFileSync(join(output, 'kind-map.ts'), renderKindMap())
for (const name of readdirSync(output)) console.log(name, readFileSync(join(output, name)).length)

// ---- bodies that stand in no schema ----

/** Options that travel as query parameters, and bodies of old clients: only their protobuf form is published. */
function addWireBodies(): void {
  const everywhere = ['ListOptions', 'GetOptions', 'CreateOptions', 'UpdateOptions', 'PatchOptions']
  // Registered in every group-version, as DeleteOptions is.
  for (const kind of everywhere) addWireBody(metaPackage, kind, Array<string>(4).fill(''))
  for (const kind of ['PartialObjectMetadata', 'PartialObjectMetadataList']) {
    addWireBody(metaPackage, kind, ['meta.k8s.io'])
  }
  const core = 'NodeProxyOptions PodAttachOptions PodExecOptions PodLogOptions PodPortForwardOptions PodProxyOptions'
  const old = 'PodStatusResult RangeAllocation SerializedReference ServiceProxyOptions'
  for (const kind of `${core} ${old}`.split(' ')) addWireBody('io.k8s.api.core.v1', kind, [''])
}

function addWireBody(home: string, kind: string, groups: string[]): void {
  const fields = proto[home.replace(/^io\.k8s\./, 'k8s.io.')]?.[kind] ?? []
  const types: Record<string, Schema> = {
    string: { type: 'string' },
    bool: { type: 'boolean' },
    bytes: { type: 'string', format: 'byte' },
    int32: { type: 'integer', format: 'int32' },
    int64: { type: 'integer', format: 'int64' },
  }
  const properties = Object.fromEntries(
    fields.map(({ name, type, repeated }) => {
      const target = type.startsWith('.') ? type.slice(1).replace(/^k8s\.io\./, 'io.k8s.') : `${home}.${type}`
      const schema = types[type] ?? { $ref: `#/definitions/${target}` }
      return [name, repeated === true ? { type: 'array', items: schema } : schema]
    }),
  )
  swagger.definitions[`${home}.${kind}`] = {
    type: 'object',
    properties: { apiVersion: { type: 'string' }, kind: { type: 'string' }, ...properties },
    'x-kubernetes-group-version-kind': groups.map((group) => ({ group, version: 'v1', kind })),
  }
}

// ---- the run-time table ----

function renderTable(): string {
  const table = {
    packages: packages.map((name) => ({
      name,
      definitions: Object.fromEntries(
        [...definitionsIn(name), ...[...inlined.keys()].filter((key) => packageOf(key) === name)]
          .toSorted()
          .map((definition) => [definition.slice(name.length + 1), renderDefinition(definition)]),
      ),
    })),
    bodies: renderBodies(),
    kinds,
  }
  return `${JSON.stringify(table, null, 0).replaceAll('",', '",\n').replaceAll('{"name"', '\n{"name"')}\n`
}

function renderDefinition(definition: string): string {
  const schema = inlined.get(definition) ?? swagger.definitions[definition] ?? {}
  const properties = schema.properties ?? {}
  const wire = messageOf(definition) ?? []
  const parts: { number: number; text: string }[] = []
  const covered = new Set<string>()
  for (const field of wire) {
    const name = jsonName(field, properties)
    if (name !== undefined) {
      covered.add(name)
      parts.push({ number: field.number, text: renderField(definition, name, schema) })
    } else if (isMessage(definition, field)) {
      const target = inlineTarget(definition, field)
      for (const inner of fieldNames(target)) covered.add(inner)
      parts.push({ number: field.number, text: `*${renderReference(definition, target)}` })
    }
  }
  parts.sort((a, b) => a.number - b.number)
  let previous = 0
  const fields = parts.map(({ number, text }) => {
    const mark = number === previous + 1 ? '' : ` #${number}`
    previous = number
    return text + mark
  })
  const hasTypeMeta = properties.apiVersion !== undefined && properties.kind !== undefined && !covered.has('apiVersion')
  for (const name of Object.keys(properties)) {
    if (covered.has(name) || (hasTypeMeta && (name === 'apiVersion' || name === 'kind'))) continue
    fields.push(`${renderField(definition, name, schema)} #0`)
  }
  return (hasTypeMeta ? '^' : '') + fields.join(';')
}

function renderField(definition: string, name: string, schema: Schema): string {
  const property = schema.properties?.[name] ?? {}
  const required = schema.required?.includes(name) === true ? '!' : ''
  const marks: string[] = []
  if (property['x-kubernetes-list-type'] === 'set') marks.push('l=set')
  const keys = property['x-kubernetes-list-map-keys']
  if (keys !== undefined) marks.push(`k=${keys.join()}`)
  const mergeKey = property['x-kubernetes-patch-merge-key']
  if (mergeKey !== undefined) marks.push(`p=${mergeKey}`)
  const strategy = property['x-kubernetes-patch-strategy']
  if (strategy !== undefined && !(strategy === 'merge' && mergeKey !== undefined)) marks.push(`s=${strategy}`)
  const mapType = property['x-kubernetes-map-type'] ?? targetMapType(property)
  if (mapType !== undefined) marks.push(`m=${mapType}`)
  const fallback = defaults.get(definition)?.get(name)
  if (fallback !== undefined) marks.push(`d=${JSON.stringify(fallback)}`)
  return [`${name} ${typeCode(definition, property)}${required}`, ...marks].join(' ')
}

function targetMapType(property: Schema): string | undefined {
  return property.$ref === undefined
    ? undefined
    : swagger.definitions[refName(property.$ref)]?.['x-kubernetes-map-type']
}

function typeCode(definition: string, schema: Schema): string {
  if (schema.type === 'array') return `[${typeCode(definition, schema.items ?? {})}`
  if (schema.additionalProperties !== undefined) return `{${typeCode(definition, schema.additionalProperties)}`
  if (schema.$ref !== undefined) {
    const target = refName(schema.$ref)
    return scalars[target] ?? `@${renderReference(definition, target)}`
  }
  if (schema.type === 'integer') return schema.format === 'int64' ? 'l' : 'i'
  if (schema.type === 'number') return 'n'
  if (schema.type === 'boolean') return 'b'
  if (schema.type === 'string') return schema.format === 'byte' ? 'B' : 's'
  if (schema.type === 'object') return 'f'
  return 'a'
}

function renderReference(from: string, target: string): string {
  const home = packageOf(target)
  if (!packages.includes(home)) throw new Error(`${from} refers to ${target}, which is not in the table`)
  const name = target.slice(home.length + 1)
  return home === packageOf(from) ? name : `${packages.indexOf(home)}.${name}`
}

/** Kinds that appear only in request bodies or subresources, and every other kind: `apiVersion Kind` to definition. */
function renderBodies(): Record<string, string> {
  const bodies: Record<string, string> = {}
  for (const name of packages.flatMap(definitionsIn)) {
    const gvks = swagger.definitions[name]?.['x-kubernetes-group-version-kind'] ?? []
    const gvk = gvks[0]
    if (gvk === undefined) continue
    // DeleteOptions, Status and their like are registered in every group-version.
    bodies[gvks.length > 3 ? `* ${gvk.kind}` : `${apiVersionOf(gvk)} ${gvk.kind}`] = renderReference('', name)
  }
  return bodies
}

// ---- kinds, from the paths ----

/** `apiVersion|plural|Kind|definition|N(amespaced) or C(luster)|short|categories|verbs|sub:verbs:apiVersion:Kind,...` */
function readKinds(): string[] {
  const found = new Map<string, KindFacts>()
  for (const [path, item] of Object.entries(swagger.paths)) {
    const match =
      /^\/(?:api\/v1|apis\/[^/]+\/[^/]+)\/(watch\/)?(namespaces\/\{namespace\}\/)?([a-z]+)(?:\/\{name\})?(?:\/([a-z]+))?$/.exec(
        path,
      )
    if (match === null) continue
    const [, , scope, plural = '', subresource] = match
    for (const [method, operation] of Object.entries(item)) {
      const gvk = operation['x-kubernetes-group-version-kind']
      const action = operation['x-kubernetes-action']
      if (gvk === undefined || action === undefined || (!path.includes(apiVersionOf(gvk)) && subresource === undefined))
        continue
      const apiVersion = path.startsWith('/api/') ? 'v1' : path.split('/').slice(2, 4).join('/')
      const facts = factsOf(found, `${apiVersion}|${plural}`)
      if (scope !== undefined) facts.namespaced = true
      if (subresource === undefined) {
        facts.gvk = gvk
        facts.verbs.add(verbOf(action))
      } else {
        const sub = facts.subresources.get(subresource) ?? { verbs: new Set<string>(), gvk }
        sub.verbs.add(action === 'connect' ? verbOf(method) : verbOf(action))
        facts.subresources.set(subresource, sub)
      }
    }
  }
  return [...found].flatMap(([key, facts]) => renderKind(key, facts)).toSorted()
}

interface KindFacts {
  gvk: GroupVersionKind | undefined
  namespaced: boolean
  verbs: Set<string>
  subresources: Map<string, { verbs: Set<string>; gvk: GroupVersionKind }>
}

function factsOf(found: Map<string, KindFacts>, key: string): KindFacts {
  let facts = found.get(key)
  if (facts === undefined) {
    facts = { gvk: undefined, namespaced: false, verbs: new Set(), subresources: new Map() }
    found.set(key, facts)
  }
  return facts
}

function renderKind(key: string, facts: KindFacts): string[] {
  const [apiVersion = '', plural = ''] = key.split('|')
  const gvk = facts.gvk
  if (gvk === undefined) return []
  const definition = packages
    .flatMap(definitionsIn)
    .find((name) =>
      swagger.definitions[name]?.['x-kubernetes-group-version-kind']?.some(
        (each) => each.kind === gvk.kind && apiVersionOf(each) === apiVersion,
      ),
    )
  if (definition === undefined) return []
  const subresources = [...facts.subresources]
    .toSorted(byName)
    .map(([name, sub]) => [name, [...sub.verbs].toSorted().join('+'), apiVersionOf(sub.gvk), sub.gvk.kind].join(':'))
  return [
    [
      apiVersion,
      plural,
      gvk.kind,
      renderReference('', definition),
      facts.namespaced ? 'N' : 'C',
      apiVersion === 'v1' || plural !== 'events' ? (shortNames[plural] ?? '') : 'ev',
      inCategoryAll.has(plural) ? 'all' : inCategoryExtensions.has(plural) ? 'api-extensions' : '',
      [...facts.verbs].toSorted().join(),
      subresources.join(),
    ].join('|'),
  ]
}

function byName([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1
}

function verbOf(action: string): string {
  return { post: 'create', put: 'update', watchlist: 'watch' }[action] ?? action
}

// ---- TypeScript interfaces ----

function renderInterfaces(packageName: string): string {
  const imports = new Map<string, Set<string>>()
  const own = new Set(definitionsIn(packageName).map((name) => name.slice(packageName.length + 1)))
  const bodies = definitionsIn(packageName).map((name) => renderInterface(name, packageName, own, imports))
  const head = [...imports]
    .toSorted(byName)
    .map(([file, names]) => `import type { ${[...names].toSorted().join(', ')} } from './${file}'\n`)
  return `// Generated by scripts/generate-kube-types.ts from the Kubernetes 1.36 API; do not edit.\n${head.join('')}\n${bodies.join('\n')}`
}

function renderInterface(
  definition: string,
  home: string,
  own: Set<string>,
  imports: Map<string, Set<string>>,
): string {
  const schema = swagger.definitions[definition] ?? {}
  const name = definition.slice(home.length + 1)
  const gvks = schema['x-kubernetes-group-version-kind']
  const lines = Object.entries(schema.properties ?? {}).map(([key, property]) => {
    const optional = schema.required?.includes(key) !== true
    const type = literalType(key, gvks) ?? tsType(property, home, own, imports)
    const label = /^[A-Za-z_]\w*$/.test(key) ? key : `'${key}'`
    return `  ${label}${optional ? '?' : ''}: ${type}${optional ? ' | undefined' : ''}\n`
  })
  return `export interface ${name} {\n${lines.join('')}}\n`
}

/** The kinds of one group-version are told apart by literal types; kinds in every group-version are not. */
function literalType(key: string, gvks: GroupVersionKind[] | undefined): string | undefined {
  if (gvks?.length !== 1 || gvks[0] === undefined) return undefined
  if (key === 'apiVersion') return `'${apiVersionOf(gvks[0])}'`
  return key === 'kind' ? `'${gvks[0].kind}'` : undefined
}

function tsType(schema: Schema, home: string, own: Set<string>, imports: Map<string, Set<string>>): string {
  if (schema.type === 'array') {
    const element = tsType(schema.items ?? {}, home, own, imports)
    return /\W/.test(element) ? `(${element})[]` : `${element}[]`
  }
  if (schema.additionalProperties !== undefined)
    return `{ [key: string]: ${tsType(schema.additionalProperties, home, own, imports)} }`
  if (schema.$ref !== undefined) return tsReference(refName(schema.$ref), home, own, imports)
  if (schema.type === 'integer' || schema.type === 'number') return 'number'
  if (schema.type === 'boolean' || schema.type === 'string') return schema.type
  return schema.type === 'object' ? '{ [key: string]: unknown }' : 'unknown'
}

function tsReference(target: string, home: string, own: Set<string>, imports: Map<string, Set<string>>): string {
  const scalar = scalars[target]
  if (scalar !== undefined) {
    return {
      q: 'string',
      x: 'number | string',
      t: 'string',
      m: 'string',
      f: '{ [key: string]: unknown }',
      a: 'unknown',
      u: 'JSONSchemaProps | boolean',
      v: 'JSONSchemaProps | JSONSchemaProps[]',
      w: 'JSONSchemaProps | string[]',
    }[scalar] as string
  }
  const targetHome = packageOf(target)
  const name = target.slice(targetHome.length + 1)
  if (targetHome === home) return name
  const prefix = fileOf(targetHome).replace(/-.*/, '')
  const local = own.has(name) ? `${prefix[0]?.toUpperCase()}${prefix.slice(1)}${name}` : name
  const names = imports.get(fileOf(targetHome)) ?? new Set<string>()
  imports.set(fileOf(targetHome), names.add(local === name ? name : `${name} as ${local}`))
  return local
}

function renderKindMap(): string {
  const imports: string[] = []
  const entries: string[] = []
  for (const line of kinds) {
    const [apiVersion = '', , kind = '', reference = ''] = line.split('|')
    const [index = '', name = ''] = reference.split('.')
    const file = fileOf(packages[Number(index)] ?? '')
    const local = (file.replace('.ts', '') + name)
      .replace(/(^|-)[a-z]/g, (text) => text.toUpperCase())
      .replaceAll('-', '')
    imports.push(`import type { ${name} as ${local} } from './${file}'\n`)
    entries.push(`  '${apiVersion}/${kind}': ${local}\n`)
  }
  return `// Generated by scripts/generate-kube-types.ts from the Kubernetes 1.36 API; do not edit.
${imports.join('')}
/** Every built-in kind the API serves, by \`apiVersion/Kind\`. */
export interface KindMap {
${entries.join('')}}
`
}

// ---- facts ----

function definitionsIn(packageName: string): string[] {
  return Object.keys(swagger.definitions).filter(
    (name) => packageOf(name) === packageName && scalars[name] === undefined && swagger.definitions[name]?.properties,
  )
}

function collectInlined(definition: string): void {
  const schema = inlined.get(definition) ?? swagger.definitions[definition] ?? {}
  for (const field of messageOf(definition) ?? []) {
    if (jsonName(field, schema.properties ?? {}) !== undefined || !isMessage(definition, field)) continue
    const target = inlineTarget(definition, field)
    if (swagger.definitions[target] !== undefined || inlined.has(target)) continue
    const names = messageOf(target)?.flatMap((inner) => jsonName(inner, schema.properties ?? {}) ?? []) ?? []
    inlined.set(target, {
      properties: Object.fromEntries(names.map((name) => [name, schema.properties?.[name] ?? {}])),
      required: schema.required?.filter((name) => names.includes(name)) ?? [],
    })
    collectInlined(target)
  }
}

function fieldNames(definition: string): string[] {
  const properties = (inlined.get(definition) ?? swagger.definitions[definition])?.properties ?? {}
  return Object.keys(properties)
}

/** Go's JSON tag may spell a protobuf field differently (`aPIGroup`, `$ref`), never by more than case and punctuation. */
function jsonName(field: ProtoField, properties: Record<string, Schema>): string | undefined {
  if (properties[field.name] !== undefined) return field.name
  return Object.keys(properties).find(
    (name) => name.replaceAll(/[^a-z]/gi, '').toLowerCase() === field.name.toLowerCase(),
  )
}

function isMessage(definition: string, field: ProtoField): boolean {
  return field.type[0] === '.' || proto[protoPackage(definition)]?.[field.type] !== undefined
}

function inlineTarget(definition: string, field: ProtoField): string {
  if (field.type[0] === '.') throw new Error(`${definition}.${field.name} is inlined from another package`)
  return `${packageOf(definition)}.${field.type}`
}

function messageOf(definition: string): ProtoField[] | undefined {
  return proto[protoPackage(definition)]?.[definition.slice(packageOf(definition).length + 1)]
}

/** `io.k8s.api.core.v1.Pod` is `Pod` in the protobuf package `k8s.io.api.core.v1`. */
function protoPackage(definition: string): string {
  return packageOf(definition).replace('io.k8s', 'k8s.io').replaceAll('-', '_')
}

function packageOf(definition: string): string {
  return definition.slice(0, definition.lastIndexOf('.'))
}

function refName(ref: string): string {
  return ref.slice('#/definitions/'.length)
}

function apiVersionOf(gvk: GroupVersionKind): string {
  return gvk.group === '' ? gvk.version : `${gvk.group}/${gvk.version}`
}

function fileOf(packageName: string): string {
  return `${packageName.split('.').slice(-2).join('-')}.ts`
}

function readDefaults(): Map<string, Map<string, unknown>> {
  const found = new Map<string, Map<string, unknown>>()
  for (const type of mergeSchema.types) {
    const fields = (type.map?.fields ?? []).filter(({ default: value }) => typeof value === 'string' && value !== '')
    if (fields.length > 0) found.set(type.name, new Map(fields.map((field) => [field.name, field.default])))
  }
  return found
}
