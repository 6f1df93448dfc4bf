import type { AttributeList, CommonAttributes, InstrumentationScope, SpanRecord } from '../trace/span.ts'
import { ProtobufWriter } from './protobuf.ts'
import { renderAttributes, writeAttributes } from './values.ts'

/** What telemetry is about: `service.name` and the rest, as keys and values in turn. */
export type ResourceAttributes = AttributeList

/** Spans in the form in which they are sent, encoded as they come so that nothing else is kept of them. */
export interface SpanBatch {
  readonly count: number
  readonly sizeBytes: number
  add(span: SpanRecord): void
  /** An ExportTraceServiceRequest. */
  finish(resource: ResourceAttributes): Buffer
}

interface Section {
  readonly scope: InstrumentationScope
  readonly writer: ProtobufWriter
}

/** Binary protobuf (opentelemetry/proto/trace/v1/trace.proto). */
export class ProtobufSpanBatch implements SpanBatch {
  count = 0
  readonly #sections: Section[] = []

  get sizeBytes(): number {
    let size = 0
    for (const { writer } of this.#sections) size += writer.length
    return size
  }

  add(span: SpanRecord): void {
    const { writer } = this.#sectionOf(span.scope)
    const start = writer.length
    try {
      writeSpan(writer, span)
      this.count += 1
    } catch (error) {
      // An attribute whose conversion throws must not leave half a span behind.
      writer.truncate(start)
      throw error
    }
  }

  finish(resource: ResourceAttributes): Buffer {
    const writer = new ProtobufWriter(this.sizeBytes + 4096)
    const request = writer.begin(1, 4)
    writeResource(writer, resource)
    for (const section of this.#sections) {
      const spans = writer.begin(2, 4)
      writeScope(writer, section.scope)
      writer.raw(section.writer.view())
      writer.end(spans, 4)
    }
    writer.end(request, 4)
    return writer.view()
  }

  #sectionOf(scope: InstrumentationScope): Section {
    for (const section of this.#sections) {
      if (section.scope === scope) return section
      if (section.scope.name === scope.name && section.scope.version === scope.version) return section
    }
    const section = { scope, writer: new ProtobufWriter(16_384) }
    this.#sections.push(section)
    return section
  }
}

/** The `resource` of ResourceSpans and ResourceMetrics. */
export function writeResource(writer: ProtobufWriter, resource: ResourceAttributes): void {
  const start = writer.begin(1, 2)
  writeAttributes(writer, 1, resource)
  writer.end(start, 2)
}

/** The `scope` of ScopeSpans and ScopeMetrics. */
export function writeScope(writer: ProtobufWriter, scope: InstrumentationScope): void {
  const start = writer.begin(1)
  writeString(writer, 1, scope.name)
  if (scope.version !== undefined) writeString(writer, 2, scope.version)
  writer.end(start)
}

/** A `Span` as one of ScopeSpans' `spans`. */
function writeSpan(writer: ProtobufWriter, span: SpanRecord): void {
  const { trace } = span
  const start = writer.begin(2, 2)
  writer.tag(1, 2)
  writer.hex(trace.traceId)
  writer.tag(2, 2)
  writer.hex(trace.spanId)
  if (trace.state !== undefined) writeString(writer, 3, trace.state)
  if (trace.parentSpanId !== undefined) {
    writer.tag(4, 2)
    writer.hex(trace.parentSpanId)
  }
  writeString(writer, 5, span.name)
  writer.tag(6, 0)
  writer.varint(span.kind)
  writer.tag(7, 1)
  writer.nanos(span.startMs)
  writer.tag(8, 1)
  writer.nanos(span.endMs)
  if (span.common !== undefined) writer.raw(encodeCommon(span.common))
  writeAttributes(writer, 9, span.attributes)
  if (span.droppedAttributes > 0) writeCount(writer, 10, span.droppedAttributes)
  if (span.events.length > 0) writeEvents(writer, span)
  if (span.droppedEvents > 0) writeCount(writer, 12, span.droppedEvents)
  if (span.links.length > 0) writeLinks(writer, span)
  if (span.droppedLinks > 0) writeCount(writer, 14, span.droppedLinks)
  if (span.status !== 0) {
    const status = writer.begin(15)
    if (span.statusMessage !== '') writeString(writer, 2, span.statusMessage)
    writeCount(writer, 3, span.status)
    writer.end(status)
  }
  writer.tag(16, 5)
  writer.fixed32(flagsOf(span))
  writer.end(start, 2)
}

const encodedCommon = new WeakMap<CommonAttributes, Buffer>()

/** A block of bytes is copied at the cost of one attribute. */
function encodeCommon(common: CommonAttributes): Buffer {
  let bytes = encodedCommon.get(common)
  if (bytes === undefined) {
    const writer = new ProtobufWriter(512)
    writeAttributes(writer, 9, common.list)
    bytes = writer.copy()
    encodedCommon.set(common, bytes)
  }
  return bytes
}

function writeEvents(writer: ProtobufWriter, span: SpanRecord): void {
  for (const event of span.events) {
    const start = writer.begin(11, 2)
    writer.tag(1, 1)
    writer.nanos(event.timeMs)
    writeString(writer, 2, event.name)
    writeAttributes(writer, 3, event.attributes)
    writer.end(start, 2)
  }
}

function writeLinks(writer: ProtobufWriter, span: SpanRecord): void {
  for (const link of span.links) {
    const start = writer.begin(13)
    writer.tag(1, 2)
    writer.hex(link.traceId)
    writer.tag(2, 2)
    writer.hex(link.spanId)
    if (link.state !== undefined && link.state !== '') writeString(writer, 3, link.state)
    writeAttributes(writer, 4, link.attributes)
    writer.tag(6, 5)
    writer.fixed32(link.flags)
    writer.end(start)
  }
}

function writeString(writer: ProtobufWriter, field: number, text: string): void {
  writer.tag(field, 2)
  writer.string(text)
}

function writeCount(writer: ProtobufWriter, field: number, count: number): void {
  writer.tag(field, 0)
  writer.varint(count)
}

/** W3C flags, and whether the parent is in another process (SpanFlags of trace.proto). */
function flagsOf(span: SpanRecord): number {
  const { isSampled, isRandom } = span.trace
  return (isSampled ? 1 : 0) | (isRandom ? 2 : 0) | 0x100 | (span.isParentRemote ? 0x200 : 0)
}

/** The JSON encoding of OTLP: hex ids, numbers for enums, strings for 64-bit integers. */
export class JsonSpanBatch implements SpanBatch {
  count = 0
  sizeBytes = 0
  readonly #sections: { readonly scope: InstrumentationScope; readonly spans: string[] }[] = []

  add(span: SpanRecord): void {
    const text = renderSpan(span)
    const { scope } = span
    let section = this.#sections.find(
      (known) => known.scope.name === scope.name && known.scope.version === scope.version,
    )
    if (section === undefined) this.#sections.push((section = { scope, spans: [] }))
    section.spans.push(text)
    this.count += 1
    this.sizeBytes += text.length
  }

  finish(resource: ResourceAttributes): Buffer {
    const sections = this.#sections
      .map(({ scope, spans }) => `{"scope":${JSON.stringify(scope)},"spans":[${spans.join(',')}]}`)
      .join(',')
    const attributes = renderAttributes(resource)
    return Buffer.from(`{"resourceSpans":[{"resource":{"attributes":${attributes}},"scopeSpans":[${sections}]}]}`)
  }
}

function renderSpan(span: SpanRecord): string {
  const { trace } = span
  const head = JSON.stringify({
    traceId: trace.traceId,
    spanId: trace.spanId,
    traceState: trace.state,
    parentSpanId: trace.parentSpanId,
    flags: flagsOf(span),
    name: span.name.toWellFormed(),
    kind: span.kind,
    startTimeUnixNano: nanosText(span.startMs),
    endTimeUnixNano: nanosText(span.endMs),
    droppedAttributesCount: span.droppedAttributes || undefined,
    droppedEventsCount: span.droppedEvents || undefined,
    droppedLinksCount: span.droppedLinks || undefined,
    status: span.status === 0 ? undefined : { code: span.status, message: span.statusMessage || undefined },
  })
  const events = span.events.map(
    ({ name, timeMs, attributes }) =>
      `{"timeUnixNano":"${nanosText(timeMs)}","name":${JSON.stringify(name)},"attributes":${renderAttributes(attributes)}}`,
  )
  const links = span.links.map(
    ({ attributes, traceId, spanId, state, flags }) =>
      `${JSON.stringify({ traceId, spanId, traceState: state, flags }).slice(0, -1)},"attributes":${renderAttributes(attributes)}}`,
  )
  const attributes = renderAttributes(span.common ? [...span.common.list, ...span.attributes] : span.attributes)
  return `${head.slice(0, -1)},"attributes":${attributes},"events":[${events.join(',')}],"links":[${links.join(',')}]}`
}

/** Nanoseconds since the epoch, as a decimal. */
export function nanosText(timeMs: number): string {
  const whole = Math.floor(timeMs)
  const fraction = Math.round((timeMs - whole) * 1e6)
  // The fraction may have been rounded up to a whole millisecond.
  return fraction === 1e6 ? `${whole + 1}000000` : `${whole}${String(fraction).padStart(6, '0')}`
}
