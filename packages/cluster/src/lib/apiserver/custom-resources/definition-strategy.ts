import type { CustomResourceDefinition, JSONSchemaProps } from '@fairlead/kube/types/apiextensions-v1'

import { pruneFields } from '../body.ts'
import { defineKind } from '../kinds/define.ts'
import type { Stored } from '../kinds/define.ts'
import { column, nameColumn } from '../kinds/printing.ts'
import type { KindStrategy } from '../strategy.ts'
import { checkDefinition, checkNames } from './definition-rules.ts'
import { everySchema } from './structural-rules.ts'
import { isObject } from './schema.ts'

export const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io'

/** What writing a CustomResourceDefinition does beyond what every kind does. */
export const customResourceDefinition: KindStrategy = defineKind<CustomResourceDefinition>({
  create(object) {
    const { finalizers = [] } = object.metadata
    object.metadata.finalizers = [...finalizers.filter((name) => name !== cleanupFinalizer), cleanupFinalizer]
    complete(object)
    const accepted = { plural: '', kind: '' }
    object.status = { acceptedNames: accepted, storedVersions: storedVersions(object, []), conditions: [] }
  },
  update(object, old) {
    narrowBounds(old)
    complete(object)
    const before = old.status ?? { acceptedNames: { plural: '', kind: '' } }
    object.status = { ...before, storedVersions: storedVersions(object, before.storedVersions ?? []) }
  },
  validate: (object, old) => checkDefinition(object, old),
  validateStatus: ({ status }) =>
    status?.acceptedNames === undefined ? [] : checkNames(status.acceptedNames, 'status.acceptedNames'),
  columns: [nameColumn, column('Created At')],
  row: ({ metadata }) => [metadata.name, metadata.creationTimestamp ?? ''],
})

/** Fills in what the definition leaves to be understood. */
function complete({ spec }: Stored<CustomResourceDefinition>): void {
  const { names } = spec
  names.singular = orElse(names.singular, names.kind.toLowerCase())
  names.listKind = orElse(names.listKind, `${names.kind}List`)
  spec.conversion ??= { strategy: 'None' }
  const service = spec.conversion.webhook?.clientConfig?.service
  if (service !== undefined) service.port ??= 443
  for (const { schema } of spec.versions) {
    if (schema?.openAPIV3Schema !== undefined) pruneSchema(schema.openAPIV3Schema)
  }
  narrowBounds({ spec })
}

const bounds = [
  'minimum',
  'maximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
] as const

/** The largest double that is a whole number of 64 bits. */
const greatest = 2 ** 63 - 1024

/**
 * Makes doubles of what bounds values: they are compared with, and costs are computed of them. Only values themselves,
 * such as defaults, stay exact.
 */
export function narrowBounds({ spec }: Pick<CustomResourceDefinition, 'spec'>): void {
  for (const { schema } of spec.versions) {
    if (schema?.openAPIV3Schema === undefined) continue
    for (const each of everySchema(schema.openAPIV3Schema)) {
      for (const key of bounds) {
        const bound: unknown = each[key]
        if (typeof bound === 'bigint') each[key] = Math.min(Number(bound), greatest)
      }
    }
  }
}

function orElse(text: string | undefined, otherwise: string): string {
  return text === undefined || text === '' ? otherwise : text
}

const schemaDefinition = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps'

/** The type table does not look into `items` and `additionalProperties`, as they may hold something else than a schema. */
function pruneSchema(schema: JSONSchemaProps): void {
  for (const { items, additionalProperties } of everySchema(schema)) {
    for (const each of [items, additionalProperties]) if (isObject(each)) pruneFields(schemaDefinition, each)
  }
}

/** Every version objects may still be stored in; an administrator takes names out after rewriting the objects. */
function storedVersions({ spec }: CustomResourceDefinition, before: readonly string[]): string[] {
  const storage = spec.versions.find((version) => version.storage)?.name
  return storage === undefined || before.includes(storage) ? [...before] : [...before, storage]
}
