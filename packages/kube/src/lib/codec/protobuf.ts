import { parseExactJson } from './exact-json.ts'
import { protobufSyntax } from '../errors.ts'
import { findDefinition, messageOf } from '../types/fields.ts'
import { isZeroAbsent } from './zero.ts'
import { WireReader } from './wire.ts'
import type { KubeObject } from '../types/kinds.ts'
import type { FieldInfo } from '../types/notation.ts'

const magic = [0x6b, 0x38, 0x73, 0x00]
const utf8 = new TextDecoder('utf-8', { fatal: true })

type Decoded = { [key: string]: unknown }

/** Whether a body is in Kubernetes' protobuf envelope, which begins with `k8s` and a zero byte. */
export function isProtobuf(bytes: Uint8Array): boolean {
  return magic.every((byte, index) => bytes[index] === byte)
}

/**
 * Decodes an object in Kubernetes' protobuf envelope (media type `application/vnd.kubernetes.protobuf`) to the object
 * its JSON form would give.
 *
 * Whole numbers that a double cannot hold are bigints, also in what is kept as JSON.
 *
 * Go writes plain fields even when they are zero; those are left out where JSON leaves them out. Field numbers the
 * table does not hold are skipped. `metadata` is present for every kind that has it. Throws `SyntaxError` with code
 * FAIRLEAD_KUBE_PROTOBUF for damaged bytes and for kinds outside the type table.
 */
export function decodeProtobuf(bytes: Uint8Array): KubeObject {
  if (!isProtobuf(bytes)) throw protobufSyntax('body', 'it does not begin with the bytes "k8s" and zero')
  const { apiVersion, kind, raw } = damaged('body', () => readEnvelope(bytes.subarray(magic.length)))
  const definition = findDefinition(apiVersion, kind)
  const subject = `body of ${apiVersion} ${kind}`
  if (definition === undefined) throw protobufSyntax(subject, 'the kind is unknown')
  const object: Decoded = {}
  damaged(subject, () => decodeMessage(object, definition, raw, subject))
  if (hasMetadata(definition)) object.metadata ??= {}
  // The proof of the cast: apiVersion and kind are strings, metadata is an object wherever the kind has one.
  return { apiVersion, kind, ...object } as KubeObject
}

/** Runs what reads bytes; text that is no UTF-8 and lengths beyond reason are damage too. */
function damaged<T>(subject: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw protobufSyntax(subject, error.message)
    throw error
  }
}

function hasMetadata(definition: string): boolean {
  return [...messageOf(definition).values()].some((field) => 'name' in field && field.name === 'metadata')
}

/** `runtime.Unknown`: 1 type meta (1 apiVersion, 2 kind), 2 raw, 3 content encoding, 4 content type. */
function readEnvelope(bytes: Uint8Array): { apiVersion: string; kind: string; raw: Uint8Array } {
  const [typeMeta, raw] = readByteFields(bytes, 2)
  const [apiVersion, kind] = readByteFields(typeMeta ?? new Uint8Array(), 2)
  if (apiVersion === undefined || kind === undefined) throw protobufSyntax('body', 'it names no apiVersion and kind')
  return { apiVersion: utf8.decode(apiVersion), kind: utf8.decode(kind), raw: raw ?? new Uint8Array() }
}

function readByteFields(bytes: Uint8Array, count: number): (Uint8Array | undefined)[] {
  const found: (Uint8Array | undefined)[] = []
  const reader = new WireReader(bytes, 'body')
  while (!reader.isDone) {
    const { number, type } = reader.readTag()
    if (number <= count && type === 2) found[number - 1] = reader.readBytes()
    else reader.skip(type)
  }
  return found
}

function decodeMessage(into: Decoded, definition: string, bytes: Uint8Array, subject: string): void {
  const fields = messageOf(definition)
  const reader = new WireReader(bytes, subject)
  while (!reader.isDone) {
    const { number, type } = reader.readTag()
    const field = fields.get(number)
    if (field === undefined) reader.skip(type)
    else if ('inline' in field) decodeMessage(into, field.inline, reader.readBytes(), subject)
    else if (field.map) decodeMapEntry(into, field, reader.readBytes(), subject)
    else if (field.list) decodeListElement(into, field, reader, type, subject)
    else {
      const value = decodeValue(field, reader, type, subject)
      if (value !== undefined && !isZeroAbsent(definition, field, value)) into[field.name] = value
    }
  }
}

function decodeMapEntry(into: Decoded, field: FieldInfo, bytes: Uint8Array, subject: string): void {
  const reader = new WireReader(bytes, subject)
  let key = ''
  let value: unknown
  while (!reader.isDone) {
    const { number, type } = reader.readTag()
    if (number === 1) key = utf8.decode(reader.readBytes())
    else if (number === 2) {
      value = field.list ? decodeItems(field, reader.readBytes(), subject) : decodeValue(field, reader, type, subject)
    } else reader.skip(type)
  }
  const map = (into[field.name] ??= {}) as Decoded
  Object.defineProperty(map, key, {
    value: value ?? emptyValue(field),
    writable: true,
    enumerable: true,
    configurable: true,
  })
}

/** A map of lists: protobuf wraps each list in a message whose only field is `items`. */
function decodeItems(field: FieldInfo, bytes: Uint8Array, subject: string): unknown[] {
  const holder: Decoded = {}
  const reader = new WireReader(bytes, subject)
  while (!reader.isDone) {
    const { number, type } = reader.readTag()
    if (number === 1) decodeListElement(holder, { ...field, name: 'items' }, reader, type, subject)
    else reader.skip(type)
  }
  return (holder.items as unknown[] | undefined) ?? []
}

function decodeListElement(into: Decoded, field: FieldInfo, reader: WireReader, type: number, subject: string): void {
  const list = (into[field.name] ??= []) as unknown[]
  if (type === 2 && (field.type === 'integer' || field.type === 'boolean')) {
    const packed = new WireReader(reader.readBytes(), subject)
    while (!packed.isDone) list.push(decodeValue(field, packed, 0, subject))
  } else list.push(decodeValue(field, reader, type, subject) ?? emptyValue(field))
}

function decodeValue(field: FieldInfo, reader: WireReader, type: number, subject: string): unknown {
  switch (field.type) {
    case 'integer':
      return reader.readExactInteger()
    case 'boolean':
      return reader.readInteger() !== 0
    case 'number':
      return type === 1 ? reader.readDouble() : reader.readInteger()
    case 'string':
      return utf8.decode(reader.readBytes())
    case 'bytes':
      return Buffer.from(reader.readBytes()).toString('base64')
    default:
      return decodeNested(field, reader.readBytes(), subject)
  }
}

function decodeNested(field: FieldInfo, bytes: Uint8Array, subject: string): unknown {
  if (field.ref !== undefined) {
    const object: Decoded = {}
    decodeMessage(object, field.ref, bytes, subject)
    return object
  }
  if (field.type === 'time') return decodeTime(bytes, subject, (date) => `${date.toISOString().slice(0, 19)}Z`)
  if (field.type === 'microTime') return decodeMicroTime(bytes, subject)
  if (field.type === 'quantity') return utf8.decode(readByteFields(bytes, 1)[0] ?? new Uint8Array())
  if (field.type === 'intOrString') return decodeIntOrString(bytes, subject)
  if (isSchemaChoice(field.type)) return decodeSchemaChoice(field.type, bytes, subject)
  // RawExtension and FieldsV1: field 1 holds JSON.
  const raw = readByteFields(bytes, 1)[0]
  return raw === undefined || raw.length === 0 ? undefined : parseExactJson(utf8.decode(raw))
}

function readNumbers(bytes: Uint8Array, subject: string): { numbers: number[]; text: string } {
  const reader = new WireReader(bytes, subject)
  const numbers: number[] = []
  let text = ''
  while (!reader.isDone) {
    const { number, type } = reader.readTag()
    if (type === 0) numbers[number] = reader.readInteger()
    else if (type === 2) text = utf8.decode(reader.readBytes())
    else reader.skip(type)
  }
  return { numbers, text }
}

/** `{ seconds = 1, nanos = 2 }`; Go's zero time is an empty message and null in JSON. */
function decodeTime(bytes: Uint8Array, subject: string, render: (date: Date, nanos: number) => string): unknown {
  const { numbers } = readNumbers(bytes, subject)
  if (numbers[1] === undefined) return undefined
  return render(new Date(numbers[1] * 1000), numbers[2] ?? 0)
}

function decodeMicroTime(bytes: Uint8Array, subject: string): unknown {
  return decodeTime(bytes, subject, (date, nanos) => {
    const micros = String(Math.floor(nanos / 1000)).padStart(6, '0')
    return `${date.toISOString().slice(0, 19)}.${micros}Z`
  })
}

/** `{ type = 1, intVal = 2, strVal = 3 }`, where type 1 is a string. */
function decodeIntOrString(bytes: Uint8Array, subject: string): number | string {
  const { numbers, text } = readNumbers(bytes, subject)
  return numbers[1] === 1 ? text : (numbers[2] ?? 0)
}

type SchemaChoice = 'schemaOrBoolean' | 'schemaOrList' | 'schemaOrStrings'

function isSchemaChoice(type: FieldInfo['type']): type is SchemaChoice {
  return type === 'schemaOrBoolean' || type === 'schemaOrList' || type === 'schemaOrStrings'
}

/** `{ allows = 1, schema = 2 }`, `{ schema = 1, schemas = 2 }`, `{ schema = 1, property = 2 }`: one of the two counts. */
function decodeSchemaChoice(type: SchemaChoice, bytes: Uint8Array, subject: string): unknown {
  const reader = new WireReader(bytes, subject)
  const list: unknown[] = []
  let schema: Decoded | undefined
  let allows = false
  while (!reader.isDone) {
    const { number, type: wireType } = reader.readTag()
    if (wireType === 0) allows = reader.readInteger() !== 0
    else if (number === (type === 'schemaOrBoolean' ? 2 : 1)) schema = decodeSchema(reader.readBytes(), subject)
    else if (type === 'schemaOrList') list.push(decodeSchema(reader.readBytes(), subject))
    else list.push(utf8.decode(reader.readBytes()))
  }
  return schema ?? (type === 'schemaOrBoolean' ? allows : list)
}

function decodeSchema(bytes: Uint8Array, subject: string): Decoded {
  const schema: Decoded = {}
  decodeMessage(schema, 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps', bytes, subject)
  return schema
}

function emptyValue(field: FieldInfo): unknown {
  if (field.list) return []
  const values: Record<string, unknown> = {
    string: '',
    bytes: '',
    integer: 0,
    number: 0,
    boolean: false,
    quantity: '0',
  }
  return values[field.type] ?? (field.ref === undefined ? null : {})
}
