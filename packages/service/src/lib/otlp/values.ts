import type { AttributeList } from '../trace/span.ts'
import { ProtobufWriter } from './protobuf.ts'

// AnyValue and KeyValue of opentelemetry/proto/common/v1/common.proto, in both encodings.

const maxDepth = 8

/** What is written again and again, as bytes. */
interface KnownKey {
  /** The `key` of a KeyValue. */
  readonly key: Buffer
  /** Whole KeyValues by their values, for keys that have few. */
  readonly pairs: Map<unknown, Buffer> | undefined
}
const knownKeys = new Map<string, KnownKey>()
const maxKnownKeys = 1000
const maxPairs = 200
const withFewValues: ReadonlySet<string> = new Set([
  'http.request.method',
  'http.route',
  'http.response.status_code',
  'url.scheme',
  'server.address',
  'server.port',
  'network.protocol.version',
  'user_agent.original',
])

/** Writes a list as KeyValues of `field`. */
export function writeAttributes(writer: ProtobufWriter, field: number, attributes: AttributeList): void {
  for (let index = 0; index < attributes.length; index += 2) {
    const key = attributes[index]
    if (typeof key === 'string') writeAttribute(writer, field, key, attributes[index + 1])
  }
}

function writeAttribute(writer: ProtobufWriter, field: number, key: string, value: unknown): void {
  const known = knownKeys.get(key) ?? learn(key)
  const pair = known.pairs?.get(value)
  if (pair !== undefined) {
    writer.tag(field, 2)
    writer.bytes(pair)
    return
  }
  const start = writer.begin(field)
  writer.raw(known.key)
  writeField(writer, 2, value, 0)
  if (known.pairs !== undefined && known.pairs.size < maxPairs && isShort(value))
    known.pairs.set(value, Buffer.from(writer.view().subarray(start)))
  writer.end(start)
}

function isShort(value: unknown): boolean {
  return typeof value === 'number' || (typeof value === 'string' && value.length <= 256)
}

function learn(key: string): KnownKey {
  const writer = new ProtobufWriter(64)
  writer.tag(1, 2)
  writer.string(key)
  const known = { key: writer.copy(), pairs: withFewValues.has(key) ? new Map<unknown, Buffer>() : undefined }
  // Somebody may make keys of data.
  if (knownKeys.size < maxKnownKeys) knownKeys.set(key, known)
  return known
}

function writeField(writer: ProtobufWriter, field: number, value: unknown, depth: number): void {
  const start = writer.begin(field)
  writeValue(writer, value, depth)
  writer.end(start)
}

function writeValue(writer: ProtobufWriter, value: unknown, depth: number): void {
  if (typeof value === 'string') {
    writer.tag(1, 2)
    writer.string(value)
  } else if (typeof value === 'number') {
    writeNumber(writer, value)
  } else if (typeof value === 'boolean') {
    writer.tag(2, 0)
    writer.varint(value ? 1 : 0)
  } else if (value instanceof Uint8Array) {
    writer.tag(7, 2)
    writer.bytes(value)
  } else if (typeof value === 'object' && value !== null && depth < maxDepth) {
    writeObject(writer, value, depth)
  } else if (value !== undefined && value !== null) {
    writer.tag(1, 2)
    writer.string(textOf(value))
  }
}

/** Of what OTLP has no type for: bigints, symbols, functions, and what is nested too deeply. */
function textOf(value: unknown): string {
  if (typeof value === 'bigint' || typeof value === 'symbol') return value.toString()
  return `[${typeof value}]`
}

function writeNumber(writer: ProtobufWriter, value: number): void {
  if (Number.isSafeInteger(value)) {
    writer.tag(3, 0)
    writer.int64(value)
  } else {
    writer.tag(4, 1)
    writer.double(value)
  }
}

function writeObject(writer: ProtobufWriter, value: object, depth: number): void {
  const isArray = Array.isArray(value)
  const start = writer.begin(isArray ? 5 : 6)
  if (isArray) for (const item of value) writeField(writer, 1, item, depth + 1)
  else {
    for (const [key, item] of Object.entries(value)) {
      const pair = writer.begin(1)
      writer.tag(1, 2)
      writer.string(key)
      writeField(writer, 2, item, depth + 1)
      writer.end(pair)
    }
  }
  writer.end(start)
}

/** KeyValues as the JSON encoding of OTLP has them, rendered. */
export function renderAttributes(attributes: AttributeList): string {
  let text = ''
  for (let index = 0; index < attributes.length; index += 2) {
    const pair = `{"key":${JSON.stringify(attributes[index])},"value":${JSON.stringify(toJsonValue(attributes[index + 1], 0))}}`
    text += text === '' ? pair : `,${pair}`
  }
  return `[${text}]`
}

function toJsonValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return { stringValue: value.toWellFormed() }
  if (typeof value === 'boolean') return { boolValue: value }
  if (typeof value === 'number') return toJsonNumber(value)
  if (value === undefined || value === null) return {}
  if (value instanceof Uint8Array) return { bytesValue: Buffer.from(value).toString('base64') }
  if (typeof value !== 'object' || depth >= maxDepth) return { stringValue: textOf(value) }
  if (Array.isArray(value)) return { arrayValue: { values: value.map((item) => toJsonValue(item, depth + 1)) } }
  const values = Object.entries(value).map(([key, item]) => ({ key, value: toJsonValue(item, depth + 1) }))
  return { kvlistValue: { values } }
}

function toJsonNumber(value: number): unknown {
  if (Number.isSafeInteger(value)) return { intValue: String(value) }
  // ProtoJSON has words for what JSON has no numbers for.
  return { doubleValue: Number.isFinite(value) ? value : String(value) }
}
