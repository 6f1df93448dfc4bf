/** A part of a structural schema (apiextensions.k8s.io/v1 JSONSchemaProps), as far as our definitions use it. */
export interface Schema {
  readonly type?: string
  readonly [keyword: string]: unknown
}

export const string = (more: Record<string, unknown> = {}): Schema => ({ type: 'string', ...more })
export const integer = (more: Record<string, unknown> = {}): Schema => ({ type: 'integer', ...more })
export const number = (more: Record<string, unknown> = {}): Schema => ({ type: 'number', ...more })
export const boolean = (): Schema => ({ type: 'boolean' })
export const port: Schema = { type: 'integer', format: 'int32', minimum: 1, maximum: 65_535 }

/** Fields that are not named are dropped, with a warning for those who ask for one, as of any structural schema. */
export function object(properties: Readonly<Record<string, Schema>>, more: Record<string, unknown> = {}): Schema {
  return { type: 'object', properties, ...more }
}

export function list(items: Schema, more: Record<string, unknown> = {}): Schema {
  return { type: 'array', items, ...more }
}

/** A list whose entries are merged by a key. */
export function listBy(key: string, items: Schema, more: Record<string, unknown> = {}): Schema {
  return { type: 'array', items, 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [key], ...more }
}

export function map(values: Schema): Schema {
  return { type: 'object', additionalProperties: values }
}

/** Takes any object, and keeps it. */
export const anything: Schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }

export const conditions: Schema = listBy(
  'type',
  object(
    {
      type: string(),
      status: string({ enum: ['True', 'False', 'Unknown'] }),
      reason: string(),
      message: string(),
      lastTransitionTime: string({ format: 'date-time' }),
      observedGeneration: integer({ format: 'int64', minimum: 0 }),
    },
    { required: ['type', 'status', 'reason', 'message', 'lastTransitionTime'] },
  ),
  { maxItems: 8 },
)
