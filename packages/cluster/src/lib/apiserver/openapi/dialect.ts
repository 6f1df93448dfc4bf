/** A schema as far as Kubernetes uses it, in either version of OpenAPI. */
export type Schema = { [key: string]: unknown }

/** What is written differently in versions 2 and 3 of OpenAPI. */
export interface Dialect {
  readonly version: 2 | 3
  reference(definition: string): Schema
}

/** A reference takes no siblings in OpenAPI 3.0; inside allOf, extensions may stand beside it. */
export const version3: Dialect = {
  version: 3,
  reference: (definition) => ({ allOf: [{ $ref: `#/components/schemas/${definition}` }] }),
}

export const version2: Dialect = {
  version: 2,
  reference: (definition) => ({ $ref: `#/definitions/${definition}` }),
}
