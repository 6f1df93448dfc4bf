import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRequire } from 'node:module'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import grpc from '@grpc/grpc-js'

// The messages that OpenTelemetry generates from opentelemetry-proto.
interface Message {
  decode(bytes: Uint8Array): { toJSON(): unknown }
  encode(message: object): { finish(): Uint8Array }
  toObject(message: unknown, options: object): unknown
}
const root = createRequire(import.meta.url)('@opentelemetry/otlp-transformer/build/src/generated/root')
const collector = root.opentelemetry.proto.collector
export const TraceRequest: Message = collector.trace.v1.ExportTraceServiceRequest
const MetricsRequest: Message = collector.metrics.v1.ExportMetricsServiceRequest
const TraceResponse: Message = collector.trace.v1.ExportTraceServiceResponse

/** As an object with ids in hex, 64-bit numbers as decimals and enums as numbers: what the JSON encoding of OTLP has. */
export function decode(message: Message, bytes: Uint8Array): OtlpRequest {
  const object = message.toObject(message.decode(bytes), { longs: String, bytes: Buffer, json: true })
  return JSON.parse(
    JSON.stringify(object, (_key, value) =>
      value !== null && typeof value === 'object' && value.type === 'Buffer'
        ? Buffer.from(value.data).toString('hex')
        : value,
    ),
  ) as OtlpRequest
}

export interface KeyValue {
  readonly key: string
  readonly value: Record<string, unknown>
}
export interface OtlpSpan {
  readonly name: string
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly traceState?: string
  readonly flags: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes?: readonly KeyValue[]
  readonly droppedAttributesCount?: number
  readonly events?: readonly {
    readonly name: string
    readonly timeUnixNano: string
    readonly attributes?: readonly KeyValue[]
  }[]
  readonly links?: readonly {
    readonly traceId: string
    readonly spanId: string
    readonly attributes?: readonly KeyValue[]
  }[]
  readonly status?: { readonly code?: number; readonly message?: string }
}
export interface OtlpMetric {
  readonly name: string
  readonly unit?: string
  readonly description?: string
  readonly gauge?: { readonly dataPoints: readonly Record<string, unknown>[] }
  readonly sum?: { readonly dataPoints: readonly Record<string, unknown>[] } & Record<string, unknown>
  readonly histogram?: { readonly dataPoints: readonly Record<string, unknown>[] } & Record<string, unknown>
  readonly exponentialHistogram?: { readonly dataPoints: readonly Record<string, unknown>[] } & Record<string, unknown>
}
export interface OtlpRequest {
  readonly resourceSpans?: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] }
    readonly scopeSpans: readonly { readonly scope: { readonly name: string }; readonly spans: readonly OtlpSpan[] }[]
  }[]
  readonly resourceMetrics?: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] }
    readonly scopeMetrics: readonly { readonly metrics: readonly OtlpMetric[] }[]
  }[]
}

export interface Received {
  readonly path: string
  readonly headers: Readonly<Record<string, unknown>>
  readonly request: OtlpRequest
}

export interface Receiver extends AsyncDisposable {
  readonly port: number
  readonly url: string
  readonly received: Received[]
  /** Every span of what has been received. */
  readonly spans: OtlpSpan[]
  readonly metrics: OtlpMetric[]
  /** Resolves when `isEnough`; it is asked after each request. */
  until(isEnough: (receiver: Receiver) => boolean): Promise<void>
}

class Store {
  readonly received: Received[] = []
  #waiting: (() => void)[] = []

  take(received: Received): void {
    this.received.push(received)
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  async changed(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push(resolve)
    await promise
  }
}

function createReceiver(store: Store, port: number, close: () => Promise<void>): Receiver {
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    received: store.received,
    get spans() {
      return store.received.flatMap(({ request }) =>
        (request.resourceSpans ?? []).flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
      )
    },
    get metrics() {
      return store.received.flatMap(({ request }) =>
        (request.resourceMetrics ?? []).flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics)),
      )
    },
    async until(isEnough) {
      while (!isEnough(this)) await store.changed()
    },
    [Symbol.asyncDispose]: close,
  }
}

/** A collector over HTTP. `answer` may answer in place of "taken"; what it returns counts as not received. */
export async function startHttpReceiver(
  answer?: (request: IncomingMessage, response: ServerResponse, count: number) => boolean,
  port = 0,
): Promise<Receiver> {
  const store = new Store()
  let count = 0
  const server = createServer(async (request, response) => {
    const body = await buffer(request)
    count += 1
    if (answer?.(request, response, count)) return
    const bytes = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body
    const isJson = request.headers['content-type'] === 'application/json'
    const message = request.url === '/v1/metrics' ? MetricsRequest : TraceRequest
    response.setHeader('content-type', request.headers['content-type'] ?? '')
    response.end(isJson ? '{}' : Buffer.alloc(0))
    store.take({
      path: request.url ?? '',
      headers: request.headers,
      request: isJson ? (JSON.parse(bytes.toString('utf8')) as OtlpRequest) : decode(message, bytes),
    })
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return createReceiver(store, (server.address() as AddressInfo).port, async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
}

/** A collector over gRPC, by the official implementation. `fail` makes it answer an error. */
export async function startGrpcReceiver(
  fail?: (count: number) => (Partial<grpc.StatusObject> & { readonly code: number }) | undefined,
  partial?: object,
): Promise<Receiver> {
  const store = new Store()
  let count = 0
  const server = new grpc.Server()
  const method = (path: string): grpc.MethodDefinition<Buffer, Buffer> => ({
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: (value) => value,
    requestDeserialize: (value) => value,
    responseSerialize: (value) => value,
    responseDeserialize: (value) => value,
  })
  const add = (path: string, message: Message): void =>
    server.addService(
      { export: method(path) },
      {
        export: (call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) => {
          count += 1
          const failure = fail?.(count)
          if (failure) return callback({ name: 'Error', message: '', details: '', ...failure })
          store.take({ path, headers: call.metadata.getMap(), request: decode(message, call.request) })
          return callback(null, Buffer.from(partial ? TraceResponse.encode(partial).finish() : []))
        },
      },
    )
  add('/opentelemetry.proto.collector.trace.v1.TraceService/Export', TraceRequest)
  add('/opentelemetry.proto.collector.metrics.v1.MetricsService/Export', MetricsRequest)
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
    error ? reject(error) : resolve(port),
  )
  return createReceiver(store, await promise, async () => server.forceShutdown())
}

/** Values of attributes by their keys. */
export function attributesOf(list: readonly KeyValue[] | undefined): Record<string, unknown> {
  return Object.fromEntries((list ?? []).map(({ key, value }) => [key, Object.values(value)[0]]))
}
