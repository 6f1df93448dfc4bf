import { bodies, readDefinition, resolveReference } from './notation.ts'
import type { FieldInfo, InlineInfo } from './notation.ts'

const fieldsByDefinition = new Map<string, ReadonlyMap<string, FieldInfo>>()
const messagesByDefinition = new Map<string, ReadonlyMap<number, FieldInfo | InlineInfo>>()

/** Fields of a definition by JSON name, in protobuf order; empty for a name the table does not hold. */
export function fieldsOf(definition: string): ReadonlyMap<string, FieldInfo> {
  let fields = fieldsByDefinition.get(definition)
  if (fields === undefined) {
    fields = new Map(flatten(definition))
    fieldsByDefinition.set(definition, fields)
  }
  return fields
}

/** Fields of a protobuf message by number, with inlined messages kept apart as they are on the wire. */
export function messageOf(definition: string): ReadonlyMap<number, FieldInfo | InlineInfo> {
  let message = messagesByDefinition.get(definition)
  if (message === undefined) {
    message = new Map(readDefinition(definition).flatMap((field) => (field.number > 0 ? [[field.number, field]] : [])))
    messagesByDefinition.set(definition, message)
  }
  return message
}

/**
 * Definition of an object sent or answered as `apiVersion` and `kind`, including those that are no resource of their
 * own (`DeleteOptions`, `Eviction`, `Scale`, `TokenRequest`, lists).
 */
export function findDefinition(apiVersion: string, kind: string): string | undefined {
  const reference = bodies.get(`${apiVersion} ${kind}`) ?? bodies.get(`* ${kind}`)
  return reference === undefined ? undefined : resolveReference(reference, 0)
}

function flatten(definition: string): [string, FieldInfo][] {
  return readDefinition(definition).flatMap((field) =>
    'inline' in field ? flatten(field.inline) : [[field.name, field] satisfies [string, FieldInfo]],
  )
}
