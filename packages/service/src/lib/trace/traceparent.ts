import { isHex, isZero, randomHex } from './ids.ts'

/** One hop of a distributed trace, as W3C Trace Context names its parts. */
export interface TraceContext {
  /** 32 lower-case hex digits. */
  readonly traceId: string
  /** 16 lower-case hex digits: this service's own part of the trace. */
  readonly spanId: string
  /** The caller's span, absent at the root. */
  readonly parentSpanId?: string | undefined
  readonly isSampled: boolean
  /** The `tracestate` header, handed on as it came. */
  readonly state?: string | undefined
  /** Whoever started the trace says that its id is random in the last 7 bytes (Trace Context level 2); handed on. */
  readonly isRandom?: boolean | undefined
}

/** What a caller tells of its trace. */
export interface RemoteParent {
  readonly traceId: string
  readonly spanId: string
  /** Undefined where the caller leaves the decision to us, which only B3 can say. */
  readonly isSampled: boolean | undefined
  readonly isRandom?: boolean | undefined
  readonly state?: string | undefined
}

/**
 * Joins the caller's trace, or starts one when there is no valid `traceparent`: an invalid one is ignored, never an
 * error (W3C Trace Context, section 3.2.2.5). So is a `tracestate` that is not valid or above 512 characters.
 */
export function joinTrace(traceparent: string | undefined, tracestate: string | undefined): TraceContext {
  const parent = traceparent === undefined ? undefined : parseTraceparent(traceparent)
  if (parent === undefined) return { traceId: randomHex(16), spanId: randomHex(8), isSampled: true }
  return {
    traceId: parent.traceId,
    spanId: randomHex(8),
    parentSpanId: parent.spanId,
    isSampled: parent.isSampled,
    state: parseTracestate(tracestate),
    ...(parent.isRandom ? { isRandom: true } : {}),
  }
}

/** The fields of a `traceparent` header, or undefined when it is not valid. Versions above 00 are read as 00. */
export function parseTraceparent(
  text: string,
): Pick<TraceContext, 'traceId' | 'spanId' | 'isSampled' | 'isRandom'> | undefined {
  // version "-" trace-id "-" parent-id "-" flags, 55 characters.
  if (text.length < 55 || text[2] !== '-' || text[35] !== '-' || text[52] !== '-') return undefined
  if (!isHex(text, 0, 2) || !isHex(text, 3, 35) || !isHex(text, 36, 52) || !isHex(text, 53, 55)) return undefined
  if (text.length > 55 && (text.startsWith('00') || text[55] !== '-')) return undefined
  const traceId = text.slice(3, 35)
  const spanId = text.slice(36, 52)
  if (text.startsWith('ff') || isZero(traceId) || isZero(spanId)) return undefined
  const flags = Number.parseInt(text.slice(53, 55), 16)
  return { traceId, spanId, isSampled: (flags & 1) === 1, ...(flags & 2 ? { isRandom: true } : {}) }
}

/** The `traceparent` header for calls made on behalf of this hop. */
export function renderTraceparent(trace: TraceContext): string {
  const flags = (trace.isSampled ? 1 : 0) + (trace.isRandom ? 2 : 0)
  return `00-${trace.traceId}-${trace.spanId}-0${flags}`
}

// Level 2 allows a digit in front and "@" anywhere behind, which level 1 did only for some.
const stateMember = /^[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/

/** A `tracestate` header that may be handed on, without the space around it; undefined for one that may not. */
export function parseTracestate(header: string | undefined): string | undefined {
  if (header === undefined || header.length > 512) return undefined
  const members = header
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '')
  if (members.length === 0 || members.length > 32) return undefined
  return members.every((member) => stateMember.test(member)) ? members.join(',') : undefined
}
