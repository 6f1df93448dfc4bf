import { connect, constants } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders, IncomingHttpStatusHeader } from 'node:http2'
import { answerLimitBytes, readExportResponse, readRetryInfo } from './answer.ts'
import type { Answer, OtlpSender } from './answer.ts'
import { compress } from './compress.ts'
import { reasonOf } from './http.ts'
import type { OtlpSignal, OtlpTarget } from './settings.ts'

const methods = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
} as const satisfies Record<OtlpSignal, string>

/** OTLP over gRPC: unary calls on one HTTP/2 connection, made anew when it is gone. */
export function createGrpcSender(target: OtlpTarget, signalName: OtlpSignal): OtlpSender {
  let session: ClientHttp2Session | undefined
  const open = (): ClientHttp2Session => {
    if (session !== undefined && !session.closed && !session.destroyed) return session
    session = connect(target.url.origin, target.tls)
    // Calls hear of it by their own streams.
    session.on('error', () => {})
    session.on('goaway', () => session?.close())
    // Between batches it does not hold the process.
    session.unref()
    return session
  }
  const isGzip = target.compression === 'gzip'
  const headers = {
    ':method': 'POST',
    ':path': methods[signalName],
    'user-agent': 'fairlead-otlp',
    ...target.headers,
    'content-type': 'application/grpc+proto',
    te: 'trailers',
    'grpc-timeout': `${target.timeoutMs}m`,
    ...(isGzip ? { 'grpc-encoding': 'gzip' } : {}),
  }

  return {
    async send(body, signal) {
      try {
        const message = isGzip ? await compress(body) : body
        if (signal?.aborted) return { kind: 'retry', reason: 'the service is stopping' }
        return await call(open(), headers, frame(message, isGzip), target.timeoutMs, signal)
      } catch (error) {
        return { kind: 'retry', reason: reasonOf(error) }
      }
    },
    close() {
      session?.destroy()
      session = undefined
    },
  }
}

/** Length-prefixed message (gRPC over HTTP/2, "Length-Prefixed-Message"). */
function frame(message: Buffer, isCompressed: boolean): Buffer {
  const framed = Buffer.allocUnsafe(message.length + 5)
  framed[0] = isCompressed ? 1 : 0
  framed.writeUInt32BE(message.length, 1)
  message.copy(framed, 5)
  return framed
}

type Headers = IncomingHttpHeaders & IncomingHttpStatusHeader

async function call(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  body: Buffer,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const failed = (error: Error): void => reject(error)
  session.once('error', failed)
  session.ref()
  const stream = session.request(headers)
  const give = (reason: string): void => {
    reject(new Error(reason))
    stream.close(constants.NGHTTP2_CANCEL)
    // Nothing has been heard in all that time: the connection may be a dead one.
    session.destroy()
  }
  const onAbort = (): void => give('the service is stopping')
  const timer = setTimeout(() => give(`no answer in ${timeoutMs} ms`), timeoutMs)
  signal?.addEventListener('abort', onAbort, { once: true })
  collect(stream, resolve, reject)
  stream.end(body)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
    session.off('error', failed)
    if (!session.destroyed) session.unref()
  }
}

function collect(stream: ClientHttp2Stream, resolve: (answer: Answer) => void, reject: (error: Error) => void): void {
  const chunks: Buffer[] = []
  let size = 0
  let head: Headers = {}
  let trailers: Headers = {}
  stream.on('response', (received) => (head = received))
  stream.on('trailers', (received) => (trailers = received))
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > answerLimitBytes) stream.close(constants.NGHTTP2_CANCEL)
    else chunks.push(chunk)
  })
  stream.on('error', reject)
  // With "trailers-only" the status is in the head.
  stream.on('close', () => resolve(toAnswer(head, { ...head, ...trailers }, Buffer.concat(chunks))))
}

/** CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS (OTLP specification, "Failures"). */
const retryable: ReadonlySet<string> = new Set(['1', '4', '10', '11', '14', '15'])
const resourceExhausted = '8'

function toAnswer(head: Headers, trailers: Headers, body: Buffer): Answer {
  const status = trailers['grpc-status']
  if (status === '0') return readExportResponse(body.subarray(5))
  if (typeof status !== 'string') return withoutStatus(head[':status'])
  const message = decodeMessage(trailers['grpc-message'])
  const reason = message === '' ? `it answered gRPC status ${status}` : `it answered gRPC status ${status}: ${message}`
  const details = trailers['grpc-status-details-bin']
  const afterMs = typeof details === 'string' ? readRetryInfo(Buffer.from(details, 'base64')) : undefined
  const mayRetry = retryable.has(status) || (status === resourceExhausted && afterMs !== undefined)
  return mayRetry ? { kind: 'retry', reason, afterMs } : { kind: 'refused', reason }
}

/** Whatever answered was no gRPC server (gRPC, "HTTP to gRPC Status Code Mapping"). */
function withoutStatus(status: number | undefined): Answer {
  if (status === undefined) return { kind: 'retry', reason: 'the connection ended before the answer' }
  const reason = `it answered HTTP status ${status} without a gRPC status`
  return [429, 502, 503, 504].includes(status) ? { kind: 'retry', reason } : { kind: 'refused', reason }
}

/** grpc-message is percent-encoded. */
function decodeMessage(text: unknown): string {
  if (typeof text !== 'string') return ''
  try {
    return decodeURIComponent(text).slice(0, 500)
  } catch {
    return text.slice(0, 500)
  }
}
