import type { IncomingHttpHeaders } from 'node:http'
import type { MeshSettings } from './settings.ts'

// What a service has to copy from the incoming request to outgoing ones, so that the spans of its proxies join up
// (istio.io, distributed tracing FAQ). traceparent, tracestate and x-request-id are made by the trace and not copied.
const traceNames: readonly string[] = [
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
  'x-ot-span-context',
  'x-cloud-trace-context',
  'grpc-trace-bin',
  'x-datadog-trace-id',
  'x-datadog-parent-id',
  'x-datadog-sampling-priority',
  'sw8',
]

/** W3C Baggage, section 3.3.2: what has to be passed on at least; more than that may be dropped. */
const baggageBytes = 8192
const baggageMembers = 64
/** Any other header longer than this is not passed on: none of the tracing systems has one. */
const headerBytes = 2048

/**
 * What an outgoing call has to carry on behalf of the request whose headers are `incoming`: those of B3, OpenTracing, Google,
 * Datadog and SkyWalking, baggage, and the headers of the business that `settings` name. Never `authorization`, cookies or
 * what belongs to a connection. Headers above 2048 bytes are left out, baggage is cut to whole members within 8192 bytes.
 */
export function meshHeaders(incoming: IncomingHttpHeaders, settings: MeshSettings = {}): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name of traceNames) copy(incoming, name, headers)
  if (settings.headers !== undefined) for (const name of settings.headers) copy(incoming, name, headers)
  const baggage = incoming['baggage']
  if (baggage !== undefined) {
    const kept = fitBaggage(Array.isArray(baggage) ? baggage.join(',') : baggage)
    if (kept !== '') headers['baggage'] = kept
  }
  return headers
}

function copy(incoming: IncomingHttpHeaders, name: string, headers: Record<string, string>): void {
  const value = incoming[name]
  if (value === undefined) return
  const text = Array.isArray(value) ? value.join(', ') : value
  // Node reads headers as latin1, so that a character is a byte.
  if (text.length <= headerBytes) headers[name] = text
}

function fitBaggage(text: string): string {
  if (text.length <= baggageBytes && text.split(',', baggageMembers + 1).length <= baggageMembers) return text
  let kept = ''
  for (const member of text.split(',', baggageMembers)) {
    const longer = kept === '' ? member : `${kept},${member}`
    if (longer.length <= baggageBytes) kept = longer
  }
  return kept
}
