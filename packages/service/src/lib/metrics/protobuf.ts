// The protobuf exposition: length-delimited messages io.prometheus.client.MetricFamily. Written by hand, because the
// eleven message types need two of protobuf's wire types and no schema compiler.
import { Buffer } from 'node:buffer'
import type { CollectedFamily, CollectedHistogram, CollectedSeries, Exemplar, NativeHistogram } from './collected.ts'

const metricTypes = { counter: 0, gauge: 1, info: 1, histogram: 4 } as const

/** Renders `application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited`. */
export function renderProtobuf(families: readonly CollectedFamily[]): Uint8Array {
  return Buffer.concat(
    families.flatMap((family) => {
      const message = renderFamily(family)
      return [varint(message.length), message]
    }),
  )
}

function renderFamily({ name, kind, help, unit, series }: CollectedFamily): Buffer {
  return Buffer.concat([
    bytes(1, name),
    bytes(2, help),
    number(3, metricTypes[kind]),
    ...series.map((entry) => bytes(4, renderMetric(kind, entry))),
    ...(unit === undefined ? [] : [bytes(5, unit)]),
  ])
}

function renderMetric(kind: CollectedFamily['kind'], series: CollectedSeries): Buffer {
  const labels = Object.entries(series.labels).map(([name, value]) => bytes(1, pair(name, value)))
  return Buffer.concat([...labels, renderValue(kind, series)])
}

function renderValue(kind: CollectedFamily['kind'], series: CollectedSeries): Buffer {
  if ('bounds' in series) return bytes(7, renderHistogram(series))
  if (kind !== 'counter') return bytes(2, double(1, series.value))
  const exemplar = series.exemplar === undefined ? [] : [bytes(2, renderExemplar(series.exemplar))]
  return bytes(3, Buffer.concat([double(1, series.value), ...exemplar, bytes(3, timestamp(series.startTimeMs))]))
}

function renderHistogram(series: CollectedHistogram): Buffer {
  const parts = [number(1, series.count), double(2, series.sum)]
  let count = 0
  series.counts.forEach((inBucket, index) => {
    count += inBucket
    const exemplar = series.exemplars[index]
    const bound = series.bounds[index] ?? Infinity
    const fields = [number(1, count), double(2, bound), ...(exemplar ? [bytes(3, renderExemplar(exemplar))] : [])]
    parts.push(bytes(3, Buffer.concat(fields)))
  })
  if (series.native !== undefined) parts.push(...renderNative(series.native))
  parts.push(bytes(15, timestamp(series.startTimeMs)))
  return Buffer.concat(parts)
}

function renderNative(native: NativeHistogram): Buffer[] {
  return [
    number(5, zigzag(native.schema)),
    double(6, native.zeroThreshold),
    number(7, native.zeroCount),
    ...renderSpans(9, 10, native.negative),
    ...renderSpans(12, 13, native.positive),
  ]
}

/** Runs of neighbouring buckets as (gap, length), and each count as the difference to the one before. */
function renderSpans(
  spanField: number,
  deltaField: number,
  buckets: readonly (readonly [index: number, count: number])[],
): Buffer[] {
  const spans: { offset: number; length: number }[] = []
  const deltas: Buffer[] = []
  let next = 0
  let before = 0
  for (const [index, count] of buckets) {
    const last = spans.at(-1)
    if (last !== undefined && index === next) last.length += 1
    else spans.push({ offset: index - next, length: 1 })
    next = index + 1
    deltas.push(number(deltaField, zigzag(count - before)))
    before = count
  }
  return [
    ...spans.map(({ offset, length }) =>
      bytes(spanField, Buffer.concat([number(1, zigzag(offset)), number(2, length)])),
    ),
    ...deltas,
  ]
}

function renderExemplar({ traceId, spanId, value, timeMs }: Exemplar): Buffer {
  return Buffer.concat([
    bytes(1, pair('trace_id', traceId)),
    bytes(1, pair('span_id', spanId)),
    double(2, value),
    bytes(3, timestamp(timeMs)),
  ])
}

function pair(name: string, value: string): Buffer {
  return Buffer.concat([bytes(1, name), bytes(2, value)])
}

function timestamp(timeMs: number): Buffer {
  const seconds = Math.floor(timeMs / 1000)
  return Buffer.concat([number(1, seconds), number(2, Math.round((timeMs - seconds * 1000) * 1e6))])
}

// Wire types: 0 varint, 1 eight bytes, 2 length-delimited.

function number(field: number, value: number): Buffer {
  return Buffer.concat([varint(field * 8), varint(value)])
}

function double(field: number, value: number): Buffer {
  const buffer = Buffer.alloc(8)
  buffer.writeDoubleLE(value)
  return Buffer.concat([varint(field * 8 + 1), buffer])
}

function bytes(field: number, value: string | Buffer): Buffer {
  const content = typeof value === 'string' ? Buffer.from(value) : value
  return Buffer.concat([varint(field * 8 + 2), varint(content.length), content])
}

/** Not with bit operations: counts go beyond 32 bits. */
function varint(value: number): Buffer {
  const digits: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) digits.push((rest % 128) + 128)
  return Buffer.from([...digits, rest])
}

function zigzag(value: number): number {
  return value < 0 ? -value * 2 - 1 : value * 2
}
