import { renderExactJson } from '@fairlead/kube/codec'
import { renderElementHead } from '@fairlead/kube/codec'

import type { Schema } from './dialect.ts'

/**
 * A document of OpenAPI version 2 as protobuf, in the messages of gnostic's OpenAPIv2.proto: what kubectl up to 1.28 and
 * Argo CD read. Extensions travel as YAML, of which JSON is a part.
 */
export function renderVersion2Protobuf(document: Schema): Buffer {
  const info = record(document['info'])
  return Buffer.concat([
    text(1, document['swagger']),
    message(2, text(1, info['title']), text(2, info['version'])),
    message(8, ...named(2, document['paths'], renderPath)),
    message(9, ...named(1, document['definitions'], renderSchema)),
  ])
}

const methods: Readonly<Record<string, number>> = {
  get: 2,
  put: 3,
  post: 4,
  delete: 5,
  options: 6,
  head: 7,
  patch: 8,
}

function renderPath(path: Schema): Buffer {
  const operations = Object.entries(path).toSorted(([a], [b]) => (methods[a] ?? 0) - (methods[b] ?? 0))
  return Buffer.concat(operations.map(([method, each]) => message(methods[method] ?? 2, renderOperation(record(each)))))
}

function renderOperation(operation: Schema): Buffer {
  const responses = Object.entries(record(operation['responses'])).map(([code, response]) =>
    message(1, text(1, code), message(2, message(1, renderResponse(record(response))))),
  )
  return Buffer.concat([
    text(5, operation['operationId']),
    ...texts(6, operation['produces']),
    ...texts(7, operation['consumes']),
    ...list(operation['parameters']).map((each) => message(8, message(1, renderParameter(record(each))))),
    message(9, ...responses),
    ...extensions(13, operation),
  ])
}

function renderResponse(response: Schema): Buffer {
  const { schema } = response
  const body = schema === undefined ? [] : [message(2, message(1, renderSchema(record(schema))))]
  return Buffer.concat([text(1, response['description']), ...body])
}

/** `Parameter`: one in the body, or one of four others, of which the path and the query are used. */
function renderParameter(parameter: Schema): Buffer {
  const { name, in: place, required, schema, type } = parameter
  if (place === 'body') {
    return message(
      1,
      Buffer.concat([text(2, name), text(3, place), flag(4, required), message(5, renderSchema(record(schema)))]),
    )
  }
  const isInPath = place === 'path'
  const fields = isInPath
    ? [flag(1, required), text(2, place), text(4, name), text(5, type), flag(19, parameter['uniqueItems'])]
    : [flag(1, required), text(2, place), text(4, name), text(6, type), flag(20, parameter['uniqueItems'])]
  return message(2, message(isInPath ? 4 : 3, ...fields))
}

const bounds: Readonly<Record<string, number>> = {
  maxLength: 11,
  minLength: 12,
  maxItems: 14,
  minItems: 15,
  maxProperties: 17,
  minProperties: 18,
}

function renderSchema(schema: Schema): Buffer {
  const { items, properties, additionalProperties: more, type } = schema
  const isOpen = typeof more === 'boolean'
  return Buffer.concat([
    text(1, schema['$ref']),
    text(2, schema['format']),
    text(3, schema['title']),
    text(4, schema['description']),
    double(6, schema['multipleOf']),
    double(7, schema['maximum']),
    flag(8, schema['exclusiveMaximum']),
    double(9, schema['minimum']),
    flag(10, schema['exclusiveMinimum']),
    ...Object.entries(bounds).map(([key, number]) => integer(number, schema[key])),
    text(13, schema['pattern']),
    flag(16, schema['uniqueItems']),
    ...texts(19, schema['required']),
    ...list(schema['enum']).map((value) => message(20, text(2, renderExactJson(value)))),
    ...(more === undefined ? [] : [message(21, isOpen ? flag(2, more) : message(1, renderSchema(record(more))))]),
    ...(type === undefined ? [] : [message(22, text(1, type))]),
    ...(items === undefined ? [] : [message(23, message(1, renderSchema(record(items))))]),
    ...list(schema['allOf']).map((each) => message(24, renderSchema(record(each)))),
    ...(properties === undefined ? [] : [message(25, ...named(1, properties, renderSchema))]),
    ...extensions(31, schema),
  ])
}

/** A map as a list of names with values. */
function named(number: number, map: unknown, render: (value: Schema) => Buffer): Buffer[] {
  return Object.entries(record(map)).map(([name, value]) =>
    message(number, text(1, name), message(2, render(record(value)))),
  )
}

function extensions(number: number, holder: Schema): Buffer[] {
  return Object.entries(holder).flatMap(([name, value]) =>
    name.startsWith('x-') ? [message(number, text(1, name), message(2, text(2, renderExactJson(value))))] : [],
  )
}

function message(number: number, ...parts: readonly Buffer[]): Buffer {
  const size = parts.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([renderElementHead(number, size), ...parts])
}

const nothing = Buffer.alloc(0)

function text(number: number, value: unknown): Buffer {
  return typeof value === 'string' ? message(number, Buffer.from(value)) : nothing
}

function texts(number: number, values: unknown): Buffer[] {
  return list(values).map((value) => text(number, value))
}

function flag(number: number, value: unknown): Buffer {
  return value === true ? Buffer.concat([tag(number, 0), Buffer.of(1)]) : nothing
}

function integer(number: number, value: unknown): Buffer {
  return typeof value === 'number' ? Buffer.concat([tag(number, 0), varint(value)]) : nothing
}

function double(number: number, value: unknown): Buffer {
  if (typeof value !== 'number') return nothing
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return Buffer.concat([tag(number, 1), bytes])
}

function tag(number: number, type: number): Buffer {
  return varint(number * 8 + type)
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(Math.trunc(value)))
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(rest)])
}

function record(value: unknown): Schema {
  return typeof value === 'object' && value !== null ? (value as Schema) : {}
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}
