import type {
  CollectedFamily,
  CollectedHistogram,
  CollectedNumber,
  CollectedSeries,
  Exemplar,
  NativeHistogram,
} from '../metrics/collected.ts'
import { ownScope } from '../trace/tracer.ts'
import { ProtobufWriter } from './protobuf.ts'
import { nanosText, writeResource, writeScope } from './spans.ts'
import type { ResourceAttributes } from './spans.ts'
import { renderAttributes, writeAttributes } from './values.ts'

// opentelemetry/proto/metrics/v1/metrics.proto. Everything is cumulative, as it is for Prometheus: a collector that was away
// has missed nothing.
const cumulative = 2

/** How many points a request has. */
export function countPoints(families: readonly CollectedFamily[]): number {
  return families.reduce((count, { series }) => count + series.length, 0)
}

/** An ExportMetricsServiceRequest, binary. */
export function encodeMetrics(
  families: readonly CollectedFamily[],
  resource: ResourceAttributes,
  timeMs: number,
): Buffer {
  const writer = new ProtobufWriter(16_384)
  const request = writer.begin(1, 4)
  writeResource(writer, resource)
  const scope = writer.begin(2, 4)
  writeScope(writer, ownScope)
  for (const family of families) if (family.series.length > 0) writeMetric(writer, family, timeMs)
  writer.end(scope, 4)
  writer.end(request, 4)
  return writer.view()
}

function writeMetric(writer: ProtobufWriter, family: CollectedFamily, timeMs: number): void {
  const start = writer.begin(2, 3)
  writer.tag(1, 2)
  writer.string(otelName(family))
  writer.tag(2, 2)
  writer.string(family.help)
  const unit = otelUnit(family)
  if (unit !== '') {
    writer.tag(3, 2)
    writer.string(unit)
  }
  const field = dataField(family)
  const data = writer.begin(field, 3)
  for (const series of family.series) writePoint(writer, family, series, field, timeMs)
  if (field !== gauge) {
    writer.tag(2, 0)
    writer.varint(cumulative)
  }
  if (family.kind === 'counter') {
    writer.tag(3, 0)
    writer.varint(1)
  }
  writer.end(data, 3)
  writer.end(start, 3)
}

// Fields of Metric's `data`.
const gauge = 5
const sum = 7
const histogram = 9
const exponential = 10

function dataField(family: CollectedFamily): number {
  if (family.kind === 'counter') return sum
  if (family.kind !== 'histogram') return family.otel?.isSum ? sum : gauge
  return family.series.every((series) => isHistogram(series) && series.native !== undefined) ? exponential : histogram
}

function isHistogram(series: CollectedSeries): series is CollectedHistogram {
  return 'counts' in series
}

function writePoint(
  writer: ProtobufWriter,
  family: CollectedFamily,
  series: CollectedSeries,
  field: number,
  timeMs: number,
): void {
  const point = writer.begin(1, 2)
  const labels = attributesOf(family, series)
  if (field !== gauge) {
    writer.tag(2, 1)
    writer.nanos(series.startTimeMs)
  }
  writer.tag(3, 1)
  writer.nanos(timeMs)
  if (!isHistogram(series)) writeNumber(writer, series, labels)
  else if (field === exponential && series.native !== undefined) writeExponential(writer, series, series.native, labels)
  else writeHistogram(writer, series, labels)
  writer.end(point, 2)
}

function writeNumber(writer: ProtobufWriter, series: CollectedNumber, labels: readonly unknown[]): void {
  writer.tag(4, 1)
  writer.double(series.value)
  if (series.exemplar) writeExemplar(writer, 5, series.exemplar)
  writeAttributes(writer, 7, labels)
}

function writeHistogram(writer: ProtobufWriter, series: CollectedHistogram, labels: readonly unknown[]): void {
  writer.tag(4, 1)
  writer.fixed64(series.count)
  writer.tag(5, 1)
  writer.double(series.sum)
  const counts = writer.begin(6, 2)
  for (const count of series.counts) writer.fixed64(count)
  writer.end(counts, 2)
  const bounds = writer.begin(7, 2)
  for (const bound of series.bounds) writer.double(bound)
  writer.end(bounds, 2)
  for (const exemplar of series.exemplars) if (exemplar) writeExemplar(writer, 8, exemplar)
  writeAttributes(writer, 9, labels)
}

function writeExponential(
  writer: ProtobufWriter,
  series: CollectedHistogram,
  native: NativeHistogram,
  labels: readonly unknown[],
): void {
  writeAttributes(writer, 1, labels)
  writer.tag(4, 1)
  writer.fixed64(series.count)
  writer.tag(5, 1)
  writer.double(series.sum)
  writer.tag(6, 0)
  writer.varint(zigzag(native.schema))
  writer.tag(7, 1)
  writer.fixed64(native.zeroCount)
  writeBuckets(writer, 8, native.positive)
  writeBuckets(writer, 9, native.negative)
  for (const exemplar of series.exemplars) if (exemplar) writeExemplar(writer, 11, exemplar)
  writer.tag(14, 1)
  writer.double(native.zeroThreshold)
}

type Sparse = readonly (readonly [index: number, count: number])[]

function writeBuckets(writer: ProtobufWriter, field: number, sparse: Sparse): void {
  if (sparse.length === 0) return
  const { offset, counts } = toDense(sparse)
  const start = writer.begin(field, 2)
  writer.tag(1, 0)
  writer.varint(zigzag(offset))
  const packed = writer.begin(2, 2)
  for (const count of counts) writer.varint(count)
  writer.end(packed, 2)
  writer.end(start, 2)
}

/** Prometheus' index i is OTLP's i - 1; OTLP has no gaps. */
function toDense(sparse: Sparse): { readonly offset: number; readonly counts: readonly number[] } {
  const first = sparse[0]?.[0] ?? 0
  const counts: number[] = []
  for (const [index, count] of sparse) {
    while (counts.length < index - first) counts.push(0)
    counts.push(count)
  }
  return { offset: first - 1, counts }
}

function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value
}

function writeExemplar(writer: ProtobufWriter, field: number, exemplar: Exemplar): void {
  const start = writer.begin(field)
  writer.tag(2, 1)
  writer.nanos(exemplar.timeMs)
  writer.tag(3, 1)
  writer.double(exemplar.value)
  writer.tag(4, 2)
  writer.hex(exemplar.spanId)
  writer.tag(5, 2)
  writer.hex(exemplar.traceId)
  writer.end(start)
}

/** Attributes by the names that OpenTelemetry gives them; a label that is empty is one that is not there. */
function attributesOf(family: CollectedFamily, series: CollectedSeries): unknown[] {
  const names = family.otel?.attributes
  const list: unknown[] = []
  for (const label of Object.keys(series.labels)) {
    const value = series.labels[label]
    if (value !== undefined && value !== '') list.push(names?.[label] ?? label, value)
  }
  return list
}

function otelName(family: CollectedFamily): string {
  return family.otel?.name ?? (family.kind === 'counter' ? family.name.replace(/_total$/, '') : family.name)
}

const units: Readonly<Record<string, string>> = { seconds: 's', bytes: 'By', ratio: '1', celsius: 'Cel', volts: 'V' }

/** UCUM. */
function otelUnit(family: CollectedFamily): string {
  return family.otel?.unit ?? (family.unit === undefined ? '' : (units[family.unit] ?? family.unit))
}

/** The same as JSON. */
export function encodeMetricsJson(
  families: readonly CollectedFamily[],
  resource: ResourceAttributes,
  timeMs: number,
): Buffer {
  const metrics = families.filter(({ series }) => series.length > 0).map((family) => renderMetric(family, timeMs))
  const scope = `{"scope":${JSON.stringify(ownScope)},"metrics":[${metrics.join(',')}]}`
  const attributes = renderAttributes(resource)
  return Buffer.from(`{"resourceMetrics":[{"resource":{"attributes":${attributes}},"scopeMetrics":[${scope}]}]}`)
}

const jsonNames: Readonly<Record<number, string>> = {
  [gauge]: 'gauge',
  [sum]: 'sum',
  [histogram]: 'histogram',
  [exponential]: 'exponentialHistogram',
}

function renderMetric(family: CollectedFamily, timeMs: number): string {
  const field = dataField(family)
  const head = JSON.stringify({ name: otelName(family), description: family.help, unit: otelUnit(family) }).slice(0, -1)
  const points = family.series.map((series) => {
    const labels = renderAttributes(attributesOf(family, series))
    return `${JSON.stringify(toJsonPoint(series, field, timeMs)).slice(0, -1)},"attributes":${labels}}`
  })
  const more =
    field === gauge
      ? ''
      : `,"aggregationTemporality":${cumulative}${family.kind === 'counter' ? ',"isMonotonic":true' : ''}`
  return `${head},"${jsonNames[field]}":{"dataPoints":[${points.join(',')}]${more}}}`
}

function toJsonPoint(series: CollectedSeries, field: number, timeMs: number): object {
  const times = {
    ...(field === gauge ? {} : { startTimeUnixNano: nanosText(series.startTimeMs) }),
    timeUnixNano: nanosText(timeMs),
  }
  if (!isHistogram(series)) {
    const exemplars = series.exemplar ? [toJsonExemplar(series.exemplar)] : []
    return { ...times, asDouble: jsonDouble(series.value), exemplars }
  }
  const { count, sum: total, counts, bounds, native } = series
  const exemplars = series.exemplars.filter((exemplar) => exemplar !== undefined).map(toJsonExemplar)
  const common = { ...times, count: String(count), sum: jsonDouble(total), exemplars }
  if (field !== exponential || native === undefined)
    return { ...common, bucketCounts: counts.map(String), explicitBounds: bounds }
  const buckets = (sparse: Sparse): object => {
    const dense = toDense(sparse)
    return { offset: dense.offset, bucketCounts: dense.counts.map(String) }
  }
  return {
    ...common,
    scale: native.schema,
    zeroCount: String(native.zeroCount),
    zeroThreshold: native.zeroThreshold,
    ...(native.positive.length > 0 ? { positive: buckets(native.positive) } : {}),
    ...(native.negative.length > 0 ? { negative: buckets(native.negative) } : {}),
  }
}

function toJsonExemplar({ traceId, spanId, value, timeMs }: Exemplar): object {
  return { timeUnixNano: nanosText(timeMs), asDouble: jsonDouble(value), spanId, traceId }
}

/** ProtoJSON has words for what JSON has no numbers for. */
function jsonDouble(value: number): number | string {
  return Number.isFinite(value) ? value : String(value)
}
