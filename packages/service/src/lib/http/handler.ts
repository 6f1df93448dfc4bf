import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '../log/logger.ts'
import type { MeshSettings } from '../mesh/settings.ts'
import { runInScope } from '../trace/current.ts'
import { discardBody, formFields, parseBody, readBody } from './body.ts'
import type { RequestContext } from './context.ts'
import { Exchange } from './exchange.ts'
import type { ServedRequest, TraceReader } from './exchange.ts'
import type { HostedApp } from './hosted.ts'
import { HttpError, problem } from './problem.ts'
import { problemReply } from './problem-reply.ts'
import { reply } from './reply.ts'
import { createRequest } from './request.ts'
import type { Route, RouteMatch } from './router.ts'
import { checkAnswer, InputCheck } from './schema.ts'
import { sendTo } from './send.ts'

export type { ServedRequest } from './exchange.ts'

export interface HandlerOptions {
  readonly match?: ((method: string, path: string) => RouteMatch) | undefined
  /** Answers what no route does. */
  readonly fetch?: ((request: Request, context: RequestContext) => unknown) | undefined
  /** An application of another framework, which answers what no route does. It has been started. */
  readonly app?: HostedApp | undefined
  /** Values by name, visible on every context. */
  readonly uses?: Readonly<Record<string, unknown>> | undefined
  readonly log: Logger
  /** Default 1 MiB. */
  readonly bodyLimitBytes?: number | undefined
  /** Whether answers are held against the `response` schemas of their routes. Default: unless NODE_ENV is `production`. */
  readonly checkResponses?: boolean | undefined
  /** Finds the caller's trace in the headers of a request, or begins one. Default: W3C Trace Context. */
  readonly trace?: TraceReader | undefined
  /** What outgoing calls pass on of the request they are made for. Default: the headers of tracing systems. */
  readonly mesh?: MeshSettings | undefined
  /** Answers in place of problem details whatever was thrown; undefined leaves it to them. */
  readonly onError?: ((error: unknown, context: RequestContext) => unknown) | undefined
  readonly onServed?: ((served: ServedRequest) => void) | undefined
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void

/** A node:http listener that serves routes and a `fetch` handler. */
export function createHandler(options: HandlerOptions): Listener {
  const host: Host = {
    ...options,
    bodyLimitBytes: options.bodyLimitBytes ?? 1024 * 1024,
    checkResponses: options.checkResponses ?? process.env['NODE_ENV'] !== 'production',
  }
  class BoundContext extends Context {}
  // On the prototype: every request sees the resources and none pays for them.
  // Descriptors and not values: the configuration is a getter, for it changes.
  for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(options.uses ?? {})))
    Object.defineProperty(BoundContext.prototype, name, descriptor)

  return createExchangeListener(options, (exchange) => serve(new BoundContext(exchange, host), exchange, host))
}

/** Opens an exchange for each request, runs `work` in its scope, and reports it when it is over. */
function createExchangeListener(
  { trace, mesh, onServed }: Pick<HandlerOptions, 'trace' | 'mesh' | 'onServed'>,
  work: (exchange: Exchange) => void,
): Listener {
  class BoundExchange extends Exchange {}
  if (mesh !== undefined) Object.defineProperty(BoundExchange.prototype, 'mesh', { value: mesh })

  // One function for all requests: it finds its own by the response it is called on.
  function finish(this: Tracked): void {
    const exchange = this[exchangeKey]
    if (exchange === undefined) return
    exchange.finish()
    if (onServed !== undefined) onServed(exchange)
  }
  return (request, response: Tracked) => {
    const exchange = new BoundExchange(request, response, trace)
    response[exchangeKey] = exchange
    response.on('close', finish)
    runInScope(exchange, () => work(exchange))
  }
}

const exchangeKey: unique symbol = Symbol('exchange')

interface Tracked extends ServerResponse {
  [exchangeKey]?: Exchange
}

/** What all requests of a handler have in common. */
interface Host extends HandlerOptions {
  readonly bodyLimitBytes: number
  readonly checkResponses: boolean
}

/** Answers without a promise when the handler does. */
function serve(context: Context, exchange: Exchange, host: Host): void {
  try {
    const answer = answerOf(context, exchange, host)
    if (answer === handedOver) return
    if (answer instanceof Promise) {
      answer
        .then((value) => sendTo(exchange, value))
        .catch((error: unknown) => void serveError(error, context, exchange, host))
      return
    }
    sendTo(exchange, answer)?.catch((error: unknown) => void serveError(error, context, exchange, host))
  } catch (error) {
    void serveError(error, context, exchange, host)
  }
}

async function serveError(error: unknown, context: Context, exchange: Exchange, host: Host): Promise<void> {
  const { response } = exchange
  if (!(error instanceof HttpError)) exchange.error = error
  // The caller is told that it does not work, the log why.
  else if (error.status >= 500 && error.cause !== undefined) exchange.error = error.cause
  if (response.headersSent) {
    // Half an answer must not look like a whole one.
    response.destroy()
    return
  }
  try {
    const answer = (await ownAnswer(error, context, exchange, host)) ?? problemReply(error, exchange.requestId)
    await sendTo(exchange, answer)
  } catch (second) {
    exchange.error = new AggregateError([error, second], 'The answer to an error failed as well')
    response.destroy()
  }
}

async function ownAnswer(error: unknown, context: Context, exchange: Exchange, host: Host): Promise<unknown> {
  try {
    return await host.onError?.(error, context)
  } catch (second) {
    exchange.error = new AggregateError([error, second], 'The answer to an error failed as well')
    return undefined
  }
}

/** In place of an answer: somebody else will write it. */
const handedOver: unique symbol = Symbol('handed over')

function answerOf(context: Context, exchange: Exchange, host: Host): unknown {
  const { request } = exchange
  const match = host.match === undefined ? nothing : host.match(exchange.method, exchange.path)
  if (host.app !== undefined && match.kind !== 'found') return handOver(host.app, context, exchange, host)
  // Also when its body is refused before anything else is done.
  if (match.kind === 'found') exchange.route = match.route.template
  if (Number(request.headers['content-length'] ?? 0) > host.bodyLimitBytes)
    throw discardBody(request, host.bodyLimitBytes)
  if (match.kind === 'found') return runRoute(context, exchange, host, match.route, match.params)
  if (match.kind === 'malformed') throw problem(400, 'The path has a malformed percent-encoding')
  if (host.fetch) {
    exchange.route = '*'
    return host.fetch(context.request, context)
  }
  if (match.kind === 'not-found') throw problem(404, 'There is nothing at this path')
  exchange.route = match.template
  if (request.method === 'OPTIONS') return reply(undefined, { status: 204, headers: { allow: match.allow } })
  throw new HttpError(405, `The method ${request.method} is not supported here`, { headers: { allow: match.allow } })
}

function handOver(app: HostedApp, context: Context, exchange: Exchange, host: Host): typeof handedOver {
  const { request, response } = exchange
  exchange.app = app
  response.setHeader('x-request-id', exchange.requestId)
  let isFallen = false
  const fall = (error?: unknown): void => {
    if (isFallen) return
    isFallen = true
    const failure = error ?? problem(404, 'There is nothing at this path')
    void serveError(asHttpError(failure), context, exchange, host)
  }
  const done = app.handle(request, response, exchange, fall)
  if (done instanceof Promise) done.catch(fall)
  return handedOver
}

/** Frameworks say with a `status` of 4xx that an error is the caller's (http-errors); then its message is for the caller. */
function asHttpError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof HttpError) return error
  const status = Reflect.get(error, 'statusCode') ?? Reflect.get(error, 'status')
  const isCallers = typeof status === 'number' && status >= 400 && status < 500
  return isCallers ? new HttpError(status, error.message, { cause: error }) : error
}

const nothing: RouteMatch = { kind: 'not-found' }

function runRoute(
  context: Context,
  exchange: Exchange,
  host: Host,
  route: Route,
  params: Readonly<Record<string, string>>,
): unknown {
  context.params = params
  // The context is the one the router's types promised for this route.
  const handler = route.handler as (context: Context) => unknown
  if (!route.hasSchemas) return handler(context)
  const ready = readInput(context, exchange, host, route)
  const answer = ready === undefined ? handler(context) : ready.then(() => handler(context))
  if (!host.checkResponses || route.schemas.response === undefined) return answer
  return Promise.resolve(answer).then((value) => checkAnswer(route, value))
}

/** Undefined when everything could be said at once, which is so when there is no body and no schema takes its time. */
function readInput(context: Context, exchange: Exchange, host: Host, { schemas }: Route): Promise<void> | undefined {
  const { request } = exchange
  const check = new InputCheck()
  if (schemas.params) check.add('params', schemas.params, context.params, (value) => (context.params = value))
  if (schemas.query) {
    const fields = formFields(context.query as URLSearchParams, 'query')
    check.add('query', schemas.query, fields, (value) => (context.query = value))
  }
  if (schemas.headers) check.add('headers', schemas.headers, request.headers, (value) => (context.headers = value))
  const { body } = schemas
  if (body === undefined) return check.end()
  return readBody(request, host.bodyLimitBytes)
    .then((bytes) => parseBody(bytes, request.headers['content-type']))
    .then((value) => {
      check.add('body', body, value, (checked) => (context.body = checked))
      return check.end()
    })
}

/** Getters, because most handlers use two or three of these and some are dear (an AbortSignal costs microseconds). */
class Context implements RequestContext {
  params: unknown = undefined
  body: unknown = undefined
  readonly #exchange: Exchange
  readonly #host: Host
  #headers: unknown
  #query: unknown
  #request: Request | undefined

  constructor(exchange: Exchange, host: Host) {
    this.#exchange = exchange
    this.#host = host
  }

  get log(): Logger {
    return this.#host.log
  }

  get requestId(): string {
    return this.#exchange.requestId
  }

  get trace(): Exchange['trace'] {
    return this.#exchange.trace
  }

  get signal(): AbortSignal {
    return this.#exchange.signal
  }

  get route(): string {
    return this.#exchange.route
  }

  set route(route: string) {
    this.#exchange.route = route
  }

  get node(): RequestContext['node'] {
    const { request, response } = this.#exchange
    // Whoever takes the response may write it alone.
    if (!response.headersSent) response.setHeader('x-request-id', this.#exchange.requestId)
    return { request, response }
  }

  get headers(): unknown {
    return this.#headers ?? this.#exchange.headers
  }

  set headers(headers: unknown) {
    this.#headers = headers
  }

  get query(): unknown {
    return (this.#query ??= new URLSearchParams(this.#exchange.queryText))
  }

  set query(query: unknown) {
    this.#query = query
  }

  get request(): Request {
    return (this.#request ??= createRequest(
      this.#exchange.request,
      this.#host.bodyLimitBytes,
      () => this.#exchange.signal,
    ))
  }
}
