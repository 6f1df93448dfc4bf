import { fieldsOf } from '@fairlead/kube/types'
import type { FieldInfo } from '@fairlead/kube/types'

import { escapeName } from '../../custom-resources/cel-types.ts'
import { dyn, listOf, parseType } from '../../cel/types.ts'
import type { Type } from '../../cel/types.ts'

const types = new Map<string, Type>()

/** The type of the objects of a definition of the table, as type checking of policies wants it. */
export function typeOfDefinition(definition: string): Type {
  let type = types.get(definition)
  if (type === undefined) {
    const fields = new Map<string, Type>()
    type = { kind: 'object', name: definition, fields }
    // Known before its fields are: definitions may contain themselves.
    types.set(definition, type)
    for (const [name, field] of fieldsOf(definition)) fields.set(escapeName(name), typeOfField(field))
  }
  return type
}

function typeOfField(field: FieldInfo): Type {
  const of = typeOfValue(field)
  if (field.list) return listOf(of)
  return field.map ? { kind: 'map', key: parseType('string'), value: of } : of
}

const simple: Partial<Record<FieldInfo['type'], Type>> = {
  string: parseType('string'),
  integer: parseType('int'),
  number: parseType('double'),
  boolean: parseType('bool'),
}

function typeOfValue({ type, ref }: FieldInfo): Type {
  if (ref !== undefined) return typeOfDefinition(ref)
  return simple[type] ?? dyn
}
