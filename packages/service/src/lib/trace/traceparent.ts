import { randomFillSync } from 'node:crypto'

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
}

const pattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/**
 * Joins the caller's trace, or starts one when there is no valid `traceparent`: an invalid one is ignored, never an
 * error (W3C Trace Context, section 3.2.2.5). A `tracestate` above 512 characters is dropped.
 */
export function joinTrace(traceparent: string | undefined, tracestate: string | undefined): TraceContext {
  const parent = traceparent === undefined ? undefined : parseTraceparent(traceparent)
  if (parent === undefined) return { traceId: randomHex(16), spanId: randomHex(8), isSampled: true }
  const state = tracestate !== undefined && tracestate.length <= 512 ? tracestate : undefined
  return {
    traceId: parent.traceId,
    spanId: randomHex(8),
    parentSpanId: parent.spanId,
    isSampled: parent.isSampled,
    state,
  }
}

/** The fields of a `traceparent` header, or undefined when it is not valid. Versions above 00 are read as 00. */
export function parseTraceparent(text: string): Pick<TraceContext, 'traceId' | 'spanId' | 'isSampled'> | undefined {
  const match = pattern.exec(text)
  if (match === null) return undefined
  const [, version = '', traceId = '', spanId = '', flags = '', rest] = match
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

/** The `traceparent` header for calls made on behalf of this hop. */
export function renderTraceparent(trace: TraceContext): string {
  return `00-${trace.traceId}-${trace.spanId}-${trace.isSampled ? '01' : '00'}`
}

const pool = Buffer.alloc(4096)
let used = pool.length

/** Random bytes are drawn by the page: a call into the kernel's generator per request costs more than all of the parsing. */
function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += bytes
  const text = pool.toString('hex', used - bytes, used)
  return /^0+$/.test(text) ? randomHex(bytes) : text
}
