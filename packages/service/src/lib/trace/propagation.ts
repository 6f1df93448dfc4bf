import type { IncomingHttpHeaders } from 'node:http'
import { settingInvalid } from '../errors.ts'
import type { Environment } from '../lifecycle/resource.ts'
import { b3Headers, extractB3, injectB3Multi, injectB3Single } from './b3.ts'
import { parseTraceparent, parseTracestate, renderTraceparent } from './traceparent.ts'
import type { RemoteParent, TraceContext } from './traceparent.ts'

/** Formats by their names in OTEL_PROPAGATORS. */
export type PropagatorName = 'tracecontext' | 'baggage' | 'b3' | 'b3multi'

/** How a trace gets from one service to the next. */
export interface Propagation {
  /** What the caller says, by the first format that says something valid; `isSampled` alone when it only says that. */
  extract(headers: IncomingHttpHeaders): RemoteParent | { readonly isSampled: boolean } | undefined
  /** Sets the headers of an outgoing call. */
  inject(trace: TraceContext, headers: Record<string, string>): void
  /** Headers of the incoming request that are not to be copied beside those that {@link inject} sets. */
  readonly replaces: readonly string[]
  /** Whether `baggage` is handed on. */
  readonly hasBaggage: boolean
  /** The headers that {@link inject} may set, with `baggage` if that is handed on. */
  readonly fields: readonly string[]
}

const names: readonly PropagatorName[] = ['tracecontext', 'baggage', 'b3', 'b3multi']

/**
 * OTEL_PROPAGATORS, default `tracecontext,baggage`. `none` hands nothing on.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING`
 */
export function readPropagators(env: Environment): readonly PropagatorName[] {
  const text = env['OTEL_PROPAGATORS']?.trim() ?? ''
  if (text === '') return ['tracecontext', 'baggage']
  if (text === 'none') return []
  const given = text.split(',').map((name) => name.trim())
  const isKnown = (name: string): name is PropagatorName => names.some((known) => known === name)
  if (given.every(isKnown)) return [...new Set(given)]
  throw settingInvalid('OTEL_PROPAGATORS', text, `none, or a list of ${names.join(', ')}`)
}

/** Formats are tried in the order given. Each B3 format reads both; they differ in what they write. */
export function createPropagation(formats: readonly PropagatorName[]): Propagation {
  const hasTraceContext = formats.includes('tracecontext')
  const hasSingle = formats.includes('b3')
  const hasMulti = formats.includes('b3multi')
  const hasB3 = hasSingle || hasMulti
  const firstB3 = formats.findIndex((name) => name === 'b3' || name === 'b3multi')
  const isB3First = hasB3 && (!hasTraceContext || firstB3 < formats.indexOf('tracecontext'))

  return {
    replaces: hasB3 ? b3Headers : [],
    hasBaggage: formats.includes('baggage'),
    fields: [
      ...(hasTraceContext ? ['traceparent', 'tracestate'] : []),
      ...(hasSingle ? ['b3'] : []),
      ...(hasMulti ? ['x-b3-traceid', 'x-b3-spanid', 'x-b3-sampled', 'x-b3-flags'] : []),
      ...(formats.includes('baggage') ? ['baggage'] : []),
    ],
    extract(headers) {
      if (isB3First) return extractB3(headers) ?? (hasTraceContext ? extractTraceContext(headers) : undefined)
      const parent = hasTraceContext ? extractTraceContext(headers) : undefined
      return parent ?? (hasB3 ? extractB3(headers) : undefined)
    },
    inject(trace, headers) {
      if (hasTraceContext) {
        headers['traceparent'] = renderTraceparent(trace)
        if (trace.state !== undefined) headers['tracestate'] = trace.state
      }
      if (hasSingle) injectB3Single(trace, headers)
      if (hasMulti) injectB3Multi(trace, headers)
    },
  }
}

function extractTraceContext(headers: IncomingHttpHeaders): RemoteParent | undefined {
  const traceparent = headerOf(headers, 'traceparent')
  if (traceparent === undefined) return undefined
  const parent = parseTraceparent(traceparent)
  if (parent === undefined) return undefined
  const state = headers['tracestate'] === undefined ? undefined : parseTracestate(headerOf(headers, 'tracestate'))
  return state === undefined ? parent : { ...parent, state }
}

/** Repeated lines of a header are one list; a single-valued one becomes invalid by that, as it should. */
function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value.join(',') : value
}
