// Writes packages/kube/src/lib/patch/apply/facts.json, what server-side apply needs to know beyond the type table:
//
//   node scripts/generate-apply-facts.ts FOLDER
//
// FOLDER holds structured-merge-schema.yaml and swagger.json. `atomic` names the definitions owned as one; `present` the fields that Go
// holds by value: an object of theirs is there even when nobody set it, so that nobody comes to own the empty one;
// `defaults` the values of absent merge keys that stand in no other table; `pointers` required scalars without a zero,
// `written` others that have one.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

interface MergeSchema {
  types: {
    name: string
    map?: { elementRelationship?: string; fields?: { name: string; default?: unknown }[] }
  }[]
}

const folder = process.argv[2]
if (folder === undefined) {
  console.error('usage: node scripts/generate-apply-facts.ts FOLDER')
  process.exit(2)
}
const schema = parse(readFileSync(join(folder, 'structured-merge-schema.yaml'), 'utf8')) as MergeSchema

/** The schema holds no kind of these groups; their Go types are few. */
const extensions = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1'
const aggregator = 'io.k8s.kube-aggregator.pkg.apis.apiregistration.v1'
const present: Record<string, string> = {
  [`${extensions}.CustomResourceDefinition`]: 'metadata,spec,status',
  [`${extensions}.CustomResourceDefinitionSpec`]: 'names',
  [`${extensions}.CustomResourceDefinitionStatus`]: 'acceptedNames',
  [`${aggregator}.APIService`]: 'metadata,spec,status',
}
const atomic: string[] = []
for (const { name, map } of schema.types) {
  if (/\.(extensions\.v1beta1|v1beta2)\./.test(name)) continue
  if (map?.elementRelationship === 'atomic') atomic.push(name)
  const fields = (map?.fields ?? []).filter(({ default: value }) => typeof value === 'object' && value !== null)
  if (fields.length > 0) present[name] = fields.map((field) => field.name).join()
}
const swagger = JSON.parse(readFileSync(join(folder, 'swagger.json'), 'utf8')) as {
  definitions: Record<string, { required?: string[]; properties?: Record<string, { type?: string }> }>
}
const defaults: Record<string, Record<string, unknown>> = {}
const pointers: Record<string, string> = {}
for (const { name, map } of schema.types) {
  const { required = [], properties = {} } = swagger.definitions[name] ?? {}
  const fields = map?.fields ?? []
  const more = fields.filter(({ name: field, default: value }) => isScalar(value) && !required.includes(field))
  if (more.length > 0) defaults[name] = Object.fromEntries(more.map((field) => [field.name, field.default]))
  const none = fields.filter(
    ({ name: field, default: value }) =>
      value === undefined &&
      required.includes(field) &&
      ['string', 'integer', 'boolean'].includes(properties[field]?.type ?? ''),
  )
  if (none.length > 0) pointers[name] = none.map((field) => field.name).join()
}

/** Scalars that are not required and that Go writes nevertheless, zero or not: their tags have no omitempty. */
const api = 'io.k8s.api'
const written: Record<string, string> = {
  [`${api}.apps.v1.StatefulSetSpec`]: 'serviceName',
  [`${api}.apps.v1.StatefulSetStatus`]: 'availableReplicas',
  [`${api}.core.v1.Event`]: 'reportingComponent,reportingInstance',
  [`${api}.core.v1.NodeRuntimeHandler`]: 'name',
  [`${api}.flowcontrol.v1.FlowSchemaSpec`]: 'matchingPrecedence',
  [`${api}.flowcontrol.v1.QueuingConfiguration`]: 'queues,handSize,queueLengthLimit',
  [`${api}.policy.v1.PodDisruptionBudgetStatus`]: 'currentHealthy,desiredHealthy,disruptionsAllowed,expectedPods',
  [`${api}.rbac.v1.RoleRef`]: 'apiGroup',
  [`${api}.scheduling.v1.PriorityClass`]: 'value',
}

function isScalar(value: unknown): boolean {
  return value !== undefined && typeof value !== 'object'
}

const output = join(import.meta.dirname, '../packages/kube/src/lib/patch/apply/facts.json')
writeFileSync(
  output,
  `${JSON.stringify({ atomic: atomic.filter((name) => name[0] !== '_'), present, defaults, pointers, written }, null, 1)}\n`,
)
