import { renderExactJson } from './exact-json.ts'
import { protobufValue } from '../errors.ts'
import { findDefinition, messageOf } from '../types/fields.ts'
import type { FieldInfo, InlineInfo } from '../types/notation.ts'
import { WireWriter } from './wire-writer.ts'

/**
 * Encodes an object to Kubernetes' protobuf envelope (media type `application/vnd.kubernetes.protobuf`), byte for byte as
 * Go does for objects whose plain fields are set. Zero values that JSON leaves out are left out here too; whoever decodes
 * them takes them for zero. Fields the type table does not hold are not carried.
 *
 * Throws `TypeError` with code FAIRLEAD_KUBE_PROTOBUF for kinds outside the type table and for values that are not
 * of the type of their field.
 */
export function encodeProtobuf(object: { readonly apiVersion: string; readonly kind: string }): Buffer {
  const { apiVersion, kind } = object
  const definition = findDefinition(apiVersion, kind)
  if (definition === undefined) throw protobufValue(`${apiVersion} ${kind}`, 'the kind is unknown')
  const message = encodeMessage(definition, object)
  const { head, tail } = renderEnvelope(apiVersion, kind, message.length)
  return Buffer.concat([head, message, tail])
}

/** The bytes of one message, without an envelope: how an object stands inside a list. */
export function encodeMessage(definition: string, object: unknown): Buffer {
  // Messages are made one after the other and never inside each other: one growing buffer serves them all.
  const writer = sharedWriter
  writer.reset()
  try {
    writeMessage(writer, definition, object)
    return writer.toBuffer()
  } finally {
    if (writer.length > keptBytes) sharedWriter = new WireWriter()
  }
}

/** What stands before and after the `size` bytes of a message: `runtime.Unknown`, with empty content encoding and type. */
export function renderEnvelope(apiVersion: string, kind: string, size: number): { head: Buffer; tail: Buffer } {
  const writer = new WireWriter(64 + apiVersion.length + kind.length)
  writer.writeVarint(size)
  writer.writeTag(2, 2)
  const before = writer.length
  writeText(writer, 2, kind)
  writeText(writer, 1, apiVersion)
  writeLengthAndTag(writer, 1, writer.length - before)
  writer.writeBytes(magic)
  return { head: writer.toBuffer(), tail }
}

/** What stands before the `size` bytes of an element of a repeated field, such as an item of a list. */
export function renderElementHead(number: number, size: number): Buffer {
  const writer = new WireWriter(16)
  writeLengthAndTag(writer, number, size)
  return writer.toBuffer()
}

const magic = Uint8Array.of(0x6b, 0x38, 0x73, 0x00)
const tail = Buffer.of(0x1a, 0x00, 0x22, 0x00)
const keptBytes = 4 << 20
let sharedWriter = new WireWriter(64 << 10)

type Value = Readonly<Record<string, unknown>>

const reversed = new Map<string, readonly (FieldInfo | InlineInfo)[]>()

/** Fields as they are written: the last one first. */
function fieldsBackwards(definition: string): readonly (FieldInfo | InlineInfo)[] {
  let fields = reversed.get(definition)
  if (fields === undefined) {
    fields = [...messageOf(definition).values()].toSorted((a, b) => b.number - a.number)
    reversed.set(definition, fields)
  }
  return fields
}

function writeMessage(writer: WireWriter, definition: string, value: unknown): void {
  if (!isRecord(value)) throw protobufValue(definition, `${typeof value} is no object`)
  for (const field of fieldsBackwards(definition)) {
    if ('inline' in field) writeInline(writer, field, value)
    else writeField(writer, field, value[field.name])
  }
}

/** Fields that JSON shows one level higher; without any of them the message is absent. */
function writeInline(writer: WireWriter, { inline, number }: InlineInfo, value: Value): void {
  const before = writer.length
  writeMessage(writer, inline, value)
  const size = writer.length - before
  if (size > 0) writeLengthAndTag(writer, number, size)
}

function writeField(writer: WireWriter, field: FieldInfo, value: unknown): void {
  if (value === undefined || value === null) return
  if (field.map) return writeMap(writer, field, value)
  if (!field.list) return writeElement(writer, field, field.number, value)
  if (!Array.isArray(value)) throw wrong(field, value)
  for (let index = value.length - 1; index >= 0; index -= 1) writeElement(writer, field, field.number, value[index])
}

/** Entries in the order of their keys, so that equal objects are equal bytes. */
function writeMap(writer: WireWriter, field: FieldInfo, value: unknown): void {
  if (!isRecord(value)) throw wrong(field, value)
  for (const key of Object.keys(value).toSorted().toReversed()) {
    const before = writer.length
    if (field.list) writeItems(writer, field, value[key])
    else writeElement(writer, field, 2, value[key])
    writeText(writer, 1, key)
    writeLengthAndTag(writer, field.number, writer.length - before)
  }
}

/** A map of lists: each list is a message whose only field is `items`. */
function writeItems(writer: WireWriter, field: FieldInfo, value: unknown): void {
  if (!Array.isArray(value)) throw wrong(field, value)
  const before = writer.length
  for (const item of value.toReversed()) writeElement(writer, field, 1, item)
  writeLengthAndTag(writer, 2, writer.length - before)
}

function writeElement(writer: WireWriter, field: FieldInfo, number: number, value: unknown): void {
  switch (field.type) {
    case 'integer':
      if (typeof value !== 'number' && typeof value !== 'bigint') throw wrong(field, value)
      writer.writeVarint(value)
      return writer.writeTag(number, 0)
    case 'boolean':
      writer.writeVarint(value === true ? 1 : 0)
      return writer.writeTag(number, 0)
    case 'number':
      if (typeof value !== 'number') throw wrong(field, value)
      writer.writeDouble(value)
      return writer.writeTag(number, 1)
    case 'string':
      return writeText(writer, number, textOf(field, value))
    default: {
      const before = writer.length
      writeNested(writer, field, value)
      writeLengthAndTag(writer, number, writer.length - before)
    }
  }
}

function writeNested(writer: WireWriter, field: FieldInfo, value: unknown): void {
  if (field.ref !== undefined) return writeMessage(writer, field.ref, value ?? {})
  // An element that is nothing, such as the zero time in a map, is an empty message.
  if (value === null || value === undefined) return
  switch (field.type) {
    case 'bytes':
      return writer.writeBytes(Buffer.from(textOf(field, value), 'base64'))
    case 'quantity':
      return writeText(
        writer,
        1,
        typeof value === 'number' || typeof value === 'bigint' ? String(value) : textOf(field, value),
      )
    case 'time':
    case 'microTime':
      return writeTime(writer, field, textOf(field, value))
    case 'intOrString':
      return writeIntOrString(writer, value)
    case 'schemaOrBoolean':
    case 'schemaOrList':
    case 'schemaOrStrings':
      return writeSchemaChoice(writer, field.type, value)
    default:
      // RawExtension, JSON and FieldsV1: field 1 holds JSON.
      return writeText(writer, 1, renderExactJson(value))
  }
}

/** `{ seconds = 1, nanos = 2 }`: whole seconds, or microseconds where the field has them. */
function writeTime(writer: WireWriter, field: FieldInfo, text: string): void {
  if (text === '') return
  const milliseconds = Date.parse(text)
  if (Number.isNaN(milliseconds)) throw wrong(field, text)
  const fraction = /\.(\d{1,6})/.exec(text)?.[1] ?? ''
  writer.writeVarint(field.type === 'microTime' ? Number(fraction.padEnd(6, '0')) * 1000 : 0)
  writer.writeTag(2, 0)
  writer.writeVarint(Math.floor(milliseconds / 1000))
  writer.writeTag(1, 0)
}

/** `{ type = 1, intVal = 2, strVal = 3 }`, where type 1 is a string; Go writes all three. */
function writeIntOrString(writer: WireWriter, value: unknown): void {
  const isText = typeof value === 'string'
  writeText(writer, 3, isText ? value : '')
  writer.writeVarint(isText ? 0 : Number(value))
  writer.writeTag(2, 0)
  writer.writeVarint(isText ? 1 : 0)
  writer.writeTag(1, 0)
}

const jsonSchema = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps'

/** `{ allows = 1, schema = 2 }`, `{ schema = 1, schemas = 2 }`, `{ schema = 1, property = 2 }`: one of the two counts. */
function writeSchemaChoice(writer: WireWriter, type: string, value: unknown): void {
  if (Array.isArray(value)) {
    for (const item of value.toReversed()) {
      if (typeof item === 'string') writeText(writer, 2, item)
      else writeSchema(writer, 2, item)
    }
    return
  }
  if (isRecord(value)) writeSchema(writer, type === 'schemaOrBoolean' ? 2 : 1, value)
  if (type !== 'schemaOrBoolean') return
  // A schema allows what it describes: Go sets both.
  writer.writeVarint(value === false ? 0 : 1)
  writer.writeTag(1, 0)
}

function writeSchema(writer: WireWriter, number: number, schema: unknown): void {
  const before = writer.length
  writeMessage(writer, jsonSchema, schema)
  writeLengthAndTag(writer, number, writer.length - before)
}

function writeText(writer: WireWriter, number: number, text: string): void {
  const before = writer.length
  writer.writeText(text)
  writeLengthAndTag(writer, number, writer.length - before)
}

function writeLengthAndTag(writer: WireWriter, number: number, size: number): void {
  writer.writeVarint(size)
  writer.writeTag(number, 2)
}

function textOf(field: FieldInfo, value: unknown): string {
  if (typeof value !== 'string') throw wrong(field, value)
  return value
}

function isRecord(value: unknown): value is Value {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function wrong(field: FieldInfo, value: unknown): Error {
  return protobufValue(field.name, `${Array.isArray(value) ? 'list' : typeof value} where ${field.type} is expected`)
}
