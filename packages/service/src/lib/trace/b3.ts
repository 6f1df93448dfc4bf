import type { IncomingHttpHeaders } from 'node:http'
import { isHex, isZero } from './ids.ts'
import type { RemoteParent, TraceContext } from './traceparent.ts'

/** All that B3 knows. */
export const b3Headers: readonly string[] = [
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
]

/**
 * B3 propagation (openzipkin/b3-propagation): the single `b3` header wins over the `x-b3-*` ones. A decision without ids
 * counts for the trace that begins here; ids without a decision leave it to us.
 */
export function extractB3(headers: IncomingHttpHeaders): RemoteParent | { readonly isSampled: boolean } | undefined {
  const single = firstOf(headers['b3'])
  return (single === undefined ? undefined : parseSingle(single)) ?? parseMulti(headers)
}

export function injectB3Single(trace: TraceContext, headers: Record<string, string>): void {
  const parent = trace.parentSpanId === undefined ? '' : `-${trace.parentSpanId}`
  headers['b3'] = `${trace.traceId}-${trace.spanId}-${trace.isSampled ? '1' : '0'}${parent}`
}

/** Without `x-b3-parentspanid`, as OpenTelemetry has it: nobody may rely on it. */
export function injectB3Multi(trace: TraceContext, headers: Record<string, string>): void {
  headers['x-b3-traceid'] = trace.traceId
  headers['x-b3-spanid'] = trace.spanId
  headers['x-b3-sampled'] = trace.isSampled ? '1' : '0'
}

function parseSingle(header: string): RemoteParent | { readonly isSampled: boolean } | undefined {
  const parts = header.trim().toLowerCase().split('-')
  if (parts.length === 1) return decisionOnly(parseDecision(parts[0]))
  if (parts.length > 4) return undefined
  const [traceId, spanId, decision, parentSpanId] = parts
  if (parentSpanId !== undefined && !isId(parentSpanId, 16)) return undefined
  const isSampled = decision === undefined ? undefined : parseDecision(decision)
  if (decision !== undefined && isSampled === undefined) return undefined
  return toParent(traceId, spanId, isSampled)
}

function parseMulti(headers: IncomingHttpHeaders): RemoteParent | { readonly isSampled: boolean } | undefined {
  const isDebug = firstOf(headers['x-b3-flags']) === '1'
  const given = firstOf(headers['x-b3-sampled'])?.trim().toLowerCase()
  const isSampled = isDebug ? true : parseDecision(given)
  const traceId = firstOf(headers['x-b3-traceid'])?.trim().toLowerCase()
  const spanId = firstOf(headers['x-b3-spanid'])?.trim().toLowerCase()
  if (traceId === undefined && spanId === undefined) return decisionOnly(isSampled)
  // A decision that makes no sense is as none.
  return toParent(traceId, spanId, isSampled)
}

/** `true` and `false` come from old senders. */
function parseDecision(text: string | undefined): boolean | undefined {
  if (text === '1' || text === 'd' || text === 'true') return true
  return text === '0' || text === 'false' ? false : undefined
}

function decisionOnly(isSampled: boolean | undefined): { readonly isSampled: boolean } | undefined {
  return isSampled === undefined ? undefined : { isSampled }
}

function toParent(
  traceId: string | undefined,
  spanId: string | undefined,
  isSampled: boolean | undefined,
): RemoteParent | undefined {
  if (traceId === undefined || spanId === undefined) return undefined
  if (!(isId(traceId, 32) || isId(traceId, 16)) || !isId(spanId, 16)) return undefined
  return { traceId: traceId.padStart(32, '0'), spanId, isSampled }
}

function isId(text: string, length: number): boolean {
  return text.length === length && isHex(text, 0, length) && !isZero(text)
}

function firstOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}
