// The collector of the service-kit benchmark: takes OTLP over HTTP in protobuf. Prints its port; then for each line `seen SERVICE` on
// standard input how many spans of it have come, for `last SERVICE` the last batch as JSON, with names, kinds and trace ids.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { buffer } from 'node:stream/consumers'

interface Received {
  count: number
  last: Buffer[]
}
const received = new Map<string, Received>()

const server = createServer((request, response) => {
  void buffer(request).then(take, () => {})
  function take(body: Buffer): void {
    response.writeHead(200, { 'content-type': 'application/x-protobuf', 'content-length': 0 }).end()
    if (request.url?.endsWith('/v1/traces') !== true) return
    // ExportTraceServiceRequest.resource_spans = 1, .resource = 1, .scope_spans = 2, .spans = 2 (trace.proto).
    for (const resource of fields(body, 1)) {
      const name = serviceOf(resource)
      const known = received.get(name) ?? { count: 0, last: [] }
      received.set(name, known)
      const spans = fields(resource, 2).flatMap((scope) => fields(scope, 2))
      known.last = spans
      known.count += spans.length
    }
  }
})
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))

createInterface({ input: process.stdin }).on('line', (line) => {
  const [question, name = ''] = line.split(' ')
  const known = received.get(name)
  if (question === 'seen') console.log(known?.count ?? 0)
  else console.log(JSON.stringify((known?.last ?? []).map(describe)))
})

function describe(span: Buffer): { readonly traceId?: string; readonly parentSpanId?: string; readonly name?: string } {
  const [traceId] = fields(span, 1)
  const [parent] = fields(span, 4)
  const [name] = fields(span, 5)
  return {
    ...(traceId ? { traceId: traceId.toString('hex') } : {}),
    ...(parent ? { parentSpanId: parent.toString('hex') } : {}),
    ...(name ? { name: name.toString() } : {}),
  }
}

/** The value of the resource's `service.name`. */
function serviceOf(resourceSpans: Buffer): string {
  const attributes = fields(resourceSpans, 1).flatMap((resource) => fields(resource, 1))
  const own = attributes.find((attribute) => fields(attribute, 1)[0]?.toString() === 'service.name')
  const [value] = own ? fields(own, 2) : []
  return (value && fields(value, 1)[0]?.toString()) ?? 'unknown'
}

/** The length-delimited values of `field` in a protobuf message. */
function fields(message: Buffer, field: number): Buffer[] {
  const found: Buffer[] = []
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++] ?? 0
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }
  while (at < message.length) {
    const tag = varint()
    const type = tag % 8
    if (type === 0) varint()
    else if (type === 1) at += 8
    else if (type === 5) at += 4
    else {
      const length = varint()
      if (Math.floor(tag / 8) === field) found.push(message.subarray(at, at + length))
      at += length
    }
  }
  return found
}
