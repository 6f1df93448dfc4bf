import { setTimeout as sleep } from 'node:timers/promises'
import type { DescService } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import type { ConnectRouter, HandlerContext, Interceptor, ServiceImpl } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import type { ConnectNodeAdapterOptions } from '@connectrpc/connect-node'
import type { HostContext, HostedApp, HostedScope } from '../http/hosted.ts'
import { Exchange } from '../http/exchange.ts'
import { currentScope } from '../trace/current.ts'
import { healthService, reflectionService } from './grpc-descriptors.ts'
import { reflect } from './grpc-reflection.ts'

export interface ConnectAppOptions extends Omit<ConnectNodeAdapterOptions, 'routes' | 'fallback'> {
  /** Whether `grpc.health.v1` tells of the service's readiness. Default true. */
  readonly health?: boolean | undefined
  /** Whether clients may ask which services there are (grpcurl without protocol files). Default false. */
  readonly reflection?: boolean | undefined
}

/**
 * Hosts Connect-RPC services, which answer the protocols Connect, gRPC-web and, over HTTP/2, gRPC. Telemetry names a request
 * `/package.Service/Method` and has the gRPC code of what went wrong.
 */
export function connectApp(routes: (router: ConnectRouter) => unknown, options: ConnectAppOptions = {}): HostedApp {
  const { health = true, reflection = false, ...adapterOptions } = options
  const leaving = new AbortController()
  let host: HostContext | undefined
  const known = new Set<string>()
  const falls = new WeakMap<object, () => void>()

  const listener = connectNodeAdapter({
    ...adapterOptions,
    interceptors: [reportCode, ...(adapterOptions.interceptors ?? [])],
    routes(router) {
      routes(router)
      const services = [...new Set(router.handlers.map(({ service }) => service))]
      if (health)
        router.service(
          healthService,
          healthOf(services, () => host, leaving.signal),
        )
      if (reflection) addReflection(router, health ? [...services, healthService] : services)
      for (const { requestPath } of router.handlers) known.add((options.requestPathPrefix ?? '') + requestPath)
    },
    fallback: (request) => falls.get(request)?.(),
  })
  return {
    kind: 'connect',
    start: (given) => void (host = given),
    drain: () => leaving.abort(),
    handle(request, response, scope, next) {
      const [path = '/'] = (request.url ?? '/').split('?', 1)
      if (known.has(path)) scope.route = path
      else falls.set(request, next)
      listener(request, response)
    },
  }
}

/** Outermost, so that it sees what callers see. */
const reportCode: Interceptor = (next) => async (request) => {
  const scope = currentScope()
  if (!(scope instanceof Exchange)) return await next(request)
  try {
    const response = await next(request)
    if (response.stream) return { ...response, message: watchStream(response.message, scope) }
    scope.grpcStatus = 0
    return response
  } catch (error) {
    report(scope, error)
    throw error
  }
}

async function* watchStream<T>(messages: AsyncIterable<T>, scope: HostedScope): AsyncGenerator<T> {
  try {
    yield* messages
    scope.grpcStatus = 0
  } catch (error) {
    report(scope, error)
    throw error
  }
}

/** Codes that are the service's fault; with the others it has done what it should. */
const faults: ReadonlySet<Code> = new Set([
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Unimplemented,
  Code.Internal,
  Code.Unavailable,
  Code.DataLoss,
])

function report(scope: HostedScope, error: unknown): void {
  const { code } = ConnectError.from(error)
  scope.grpcStatus = code
  if (faults.has(code)) scope.error = error
}

type Health = Partial<ServiceImpl<DescService>>

const serving = 1
const notServing = 2

function healthOf(services: readonly DescService[], host: () => HostContext | undefined, leaving: AbortSignal): Health {
  const names = new Set(['', ...services.map(({ typeName }) => typeName)])
  const ask = async (): Promise<number> =>
    !leaving.aborted && (await host()?.isReady()) === true ? serving : notServing
  return {
    async check({ service }: { readonly service: string }) {
      if (!names.has(service)) throw new ConnectError(`There is no service "${service}"`, Code.NotFound)
      return { status: await ask() }
    },
    async *watch({ service }: { readonly service: string }, { signal }: HandlerContext) {
      const ended = AbortSignal.any([signal, leaving])
      for (let before: number | undefined; !signal.aborted;) {
        const status = names.has(service) ? await ask() : serviceUnknown
        if (status !== before) yield { status }
        before = status
        // Whoever watches would hold up the stop for ever.
        if (leaving.aborted) throw new ConnectError('The service is stopping', Code.Unavailable)
        await sleep(watchIntervalMs, undefined, { signal: ended, ref: false }).catch(() => {})
      }
    },
    // The descriptor was made by hand, so its types are only here.
  } as unknown as Health
}

const serviceUnknown = 3
const watchIntervalMs = 1000

function addReflection(router: ConnectRouter, services: readonly DescService[]): void {
  for (const version of ['v1', 'v1alpha'] as const) {
    router.service(reflectionService(version), {
      serverReflectionInfo: (questions: Parameters<typeof reflect>[1]) => reflect(services, questions),
    } as unknown as Health)
  }
}
