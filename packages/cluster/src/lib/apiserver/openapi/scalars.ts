import type { FieldInfo } from '@fairlead/kube/types'

import type { Dialect, Schema } from './dialect.ts'

const meta = 'io.k8s.apimachinery.pkg.apis.meta.v1'
const extensions = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1'

/** Types that are one value in JSON and have a definition of their own: kubectl shows its name, generators look for it. */
const definitions: Partial<Record<FieldInfo['type'], string>> = {
  quantity: 'io.k8s.apimachinery.pkg.api.resource.Quantity',
  intOrString: 'io.k8s.apimachinery.pkg.util.intstr.IntOrString',
  time: `${meta}.Time`,
  microTime: `${meta}.MicroTime`,
  any: 'io.k8s.apimachinery.pkg.runtime.RawExtension',
  schemaOrBoolean: `${extensions}.JSONSchemaPropsOrBool`,
  schemaOrList: `${extensions}.JSONSchemaPropsOrArray`,
  schemaOrStrings: `${extensions}.JSONSchemaPropsOrStringArray`,
}

/** The definition a field of this type refers to; undefined for types that are written in place. */
export function scalarDefinition({ type }: FieldInfo, owner: string): string | undefined {
  // Inside a schema anything is JSON, elsewhere it is an object of a kind that is not known.
  return type === 'any' && owner.startsWith(extensions) ? `${extensions}.JSON` : definitions[type]
}

export function renderScalar(definition: string, { version }: Dialect): Schema {
  switch (definition) {
    case definitions.time:
    case definitions.microTime:
      return { type: 'string', format: 'date-time' }
    case definitions.quantity:
      return version === 2 ? { type: 'string' } : { oneOf: [{ type: 'string' }, { type: 'number' }] }
    case definitions.intOrString:
      return version === 2
        ? { type: 'string', format: 'int-or-string' }
        : { format: 'int-or-string', oneOf: [{ type: 'integer' }, { type: 'string' }] }
    case definitions.any:
      return { type: 'object' }
    default:
      return {}
  }
}
