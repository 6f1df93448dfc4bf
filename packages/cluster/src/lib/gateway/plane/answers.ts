import type { Outgoing } from './incoming.ts'

/** gRPC status of an answer that is ours, not the server's (Envoy's mapping, from the gRPC documents). */
const grpcStatuses: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: 14,
  502: 14,
  503: 14,
  504: 14,
}

/**
 * An answer of the gateway itself; the status of it. To gRPC it is a status in the headers of an empty 200, as its clients expect. What
 * cannot be sent, such as a status or header that an object names and HTTP does not know, becomes a plain 500.
 */
export function answer(
  response: Outgoing,
  status: number,
  options: {
    text?: string | undefined
    headers?: Record<string, string | string[]>
    isGrpc?: boolean
    grpcStatus?: number | undefined
  } = {},
): number {
  const { text = '', headers = {}, isGrpc = false } = options
  if (response.headersSent || response.destroyed) return status
  const body = isGrpc || text === '' ? '' : `${text}\n`
  const head: Record<string, string | string[]> = isGrpc
    ? {
        ...headers,
        'content-type': 'application/grpc',
        'grpc-status': String(options.grpcStatus ?? grpcStatuses[status] ?? 2),
        'grpc-message': encodeURIComponent(text),
      }
    : {
        ...(body === '' ? {} : { 'content-type': 'text/plain; charset=utf-8' }),
        ...headers,
        'content-length': String(Buffer.byteLength(body)),
      }
  try {
    writeHead(response, isGrpc ? 200 : status, head, { isWhole: body === '' })
    if (body === '') response.end()
    else response.end(body)
    return status
  } catch {
    writeHead(response, 500, { 'content-length': '0' })
    response.end()
    return 500
  }
}

/**
 * Writes the head of an answer. One that is the whole answer goes with `end`: to gRPC a status is one only in trailers or in a head
 * that ends the stream (Trailers-Only), which an empty piece of data behind it would not be.
 */
export function writeHead(
  response: Outgoing,
  status: number,
  headers: Record<string, string | string[]>,
  options: { readonly isWhole?: boolean | undefined } = {},
): void {
  if (!('stream' in response)) response.writeHead(status, headers)
  else if (options.isWhole !== true) response.writeHead(status, headers)
  else {
    response.statusCode = status
    for (const name in headers) response.setHeader(name, headers[name] ?? '')
  }
}

/** False: no more before `drain`. */
export function writeChunk(response: Outgoing, chunk: Buffer): boolean {
  return 'stream' in response ? response.write(chunk) : response.write(chunk)
}

/** Ends an answer of which a part was sent: the client must not take it for whole. */
export function cut(response: Outgoing): void {
  if ('stream' in response) response.stream.close(2 /* INTERNAL_ERROR, RFC 9113, 7 */)
  else response.destroy()
}
