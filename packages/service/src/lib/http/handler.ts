import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '../log/logger.ts'
import { runInScope } from '../trace/current.ts'
import { joinTrace } from '../trace/traceparent.ts'
import type { TraceContext } from '../trace/traceparent.ts'
import { discardBody, formFields, parseBody, readBody } from './body.ts'
import type { RequestContext } from './context.ts'
import { HttpError, problem, toProblem } from './problem.ts'
import { reply } from './reply.ts'
import type { Reply } from './reply.ts'
import { createRequest } from './request.ts'
import { requestIdOf } from './request-id.ts'
import type { Route, RouteMatch } from './router.ts'
import { validate } from './schema.ts'
import { send } from './send.ts'

/** One request when it is over: what metrics, access logs and spans are made of. */
export interface ServedRequest {
  readonly method: string
  /** The template, never the raw path. */
  readonly route: string
  readonly path: string
  /** 499 when the caller went away before the answer. */
  readonly status: number
  readonly durationMs: number
  readonly requestId: string
  readonly trace: TraceContext
  /** What the handler threw, if it was not an {@link HttpError}. */
  readonly error?: unknown
}

export interface HandlerOptions {
  readonly match?: ((method: string, path: string) => RouteMatch) | undefined
  /** Answers what no route does. */
  readonly fetch?: ((request: Request, context: RequestContext) => unknown) | undefined
  /** Values by name, visible on every context. */
  readonly uses?: Readonly<Record<string, unknown>> | undefined
  readonly log: Logger
  /** Default 1 MiB. */
  readonly bodyLimitBytes?: number | undefined
  /** Answers in place of problem details whatever was thrown; undefined leaves it to them. */
  readonly onError?: ((error: unknown, context: RequestContext) => unknown) | undefined
  readonly onServed?: ((served: ServedRequest) => void) | undefined
}

/** What the route of a request without one is called. */
const unmatched = 'unmatched'

/** A node:http listener that serves routes and a `fetch` handler. */
export function createHandler(options: HandlerOptions): (request: IncomingMessage, response: ServerResponse) => void {
  const bodyLimitBytes = options.bodyLimitBytes ?? 1024 * 1024
  class BoundContext extends Context {}
  // On the prototype: every request sees the resources and none pays for them.
  for (const [name, value] of Object.entries(options.uses ?? {}))
    Object.defineProperty(BoundContext.prototype, name, { value })

  return (request, response) => {
    const context = new BoundContext(request, response, options.log, bodyLimitBytes)
    response.setHeader('x-request-id', context.requestId)
    response.once('close', () => finish(context, options.onServed))
    void runInScope(context, () => serve(context, options, bodyLimitBytes))
  }
}

async function serve(context: Context, options: HandlerOptions, bodyLimitBytes: number): Promise<void> {
  const { response } = context.node
  try {
    const answer = answerOf(context, options, bodyLimitBytes)
    await send(response, answer instanceof Promise ? await answer : answer)
  } catch (error) {
    if (!(error instanceof HttpError)) context.failure = error
    if (response.headersSent) {
      // Half an answer must not look like a whole one.
      response.destroy()
      return
    }
    await send(response, (await ownAnswer(error, context, options)) ?? problemReply(error, context.requestId))
  }
}

async function ownAnswer(error: unknown, context: Context, options: HandlerOptions): Promise<unknown> {
  try {
    return await options.onError?.(error, context)
  } catch (second) {
    context.failure = new AggregateError([error, second], 'The answer to an error failed as well')
    return undefined
  }
}

function answerOf(context: Context, options: HandlerOptions, bodyLimitBytes: number): unknown {
  const { request } = context.node
  if (Number(request.headers['content-length'] ?? 0) > bodyLimitBytes) throw discardBody(request, bodyLimitBytes)
  const match = options.match?.(request.method ?? 'GET', context.path) ?? { kind: 'not-found' }
  if (match.kind === 'found') return runRoute(context, match.route, match.params, bodyLimitBytes)
  if (match.kind === 'malformed') throw problem(400, 'The path has a malformed percent-encoding')
  if (options.fetch) {
    context.route = '*'
    return options.fetch(context.request, context)
  }
  if (match.kind === 'not-found') throw problem(404, 'There is nothing at this path')
  context.route = match.template
  if (request.method === 'OPTIONS') return reply(undefined, { status: 204, headers: { allow: match.allow } })
  throw new HttpError(405, `The method ${request.method} is not supported here`, { headers: { allow: match.allow } })
}

function runRoute(
  context: Context,
  route: Route,
  params: Readonly<Record<string, string>>,
  bodyLimitBytes: number,
): unknown {
  context.route = route.template
  context.params = params
  const { schemas } = route
  // The context is the one the router's types promised for this route.
  const handler = route.handler as (context: Context) => unknown
  if (schemas.params || schemas.query || schemas.body) {
    return readInput(context, route, bodyLimitBytes).then(() => handler(context))
  }
  return handler(context)
}

async function readInput(context: Context, { schemas }: Route, bodyLimitBytes: number): Promise<void> {
  if (schemas.params) context.params = await validate(schemas.params, context.params, 'params', 400)
  if (schemas.query)
    context.query = await validate(schemas.query, formFields(context.query as URLSearchParams), 'query', 400)
  if (schemas.body) {
    const { request } = context.node
    const bytes = await readBody(request, bodyLimitBytes)
    context.body = await validate(schemas.body, parseBody(bytes, request.headers['content-type']), 'body', 422)
  }
}

function problemReply(error: unknown, requestId: string): Reply {
  const { status, body } = toProblem(error, requestId)
  const headers = error instanceof HttpError ? error.headers : {}
  return reply(JSON.stringify(body), { status, headers: { ...headers, 'content-type': 'application/problem+json' } })
}

function finish(context: Context, onServed: HandlerOptions['onServed']): void {
  const { response } = context.node
  context.close()
  onServed?.({
    method: context.node.request.method ?? 'GET',
    route: context.route,
    path: context.path,
    status: response.writableFinished ? response.statusCode : 499,
    durationMs: performance.now() - context.startedAt,
    requestId: context.requestId,
    trace: context.trace,
    ...(context.failure === undefined ? {} : { error: context.failure }),
  })
}

/** Getters, because most handlers use two or three of these and some are dear (an AbortSignal costs microseconds). */
class Context implements RequestContext {
  readonly node: { readonly request: IncomingMessage; readonly response: ServerResponse }
  readonly log: Logger
  readonly startedAt = performance.now()
  readonly requestId: string
  route = unmatched
  params: unknown = undefined
  body: unknown = undefined
  failure: unknown = undefined
  readonly #bodyLimitBytes: number
  #trace: TraceContext | undefined
  #request: Request | undefined
  #query: unknown
  #abort: AbortController | undefined
  #isClosed = false

  constructor(request: IncomingMessage, response: ServerResponse, log: Logger, bodyLimitBytes: number) {
    this.node = { request, response }
    this.log = log
    this.requestId = requestIdOf(request)
    this.#bodyLimitBytes = bodyLimitBytes
  }

  get path(): string {
    const url = this.node.request.url ?? '/'
    const end = url.indexOf('?')
    return end === -1 ? url : url.slice(0, end)
  }

  get query(): unknown {
    const url = this.node.request.url ?? '/'
    const start = url.indexOf('?')
    return (this.#query ??= new URLSearchParams(start === -1 ? '' : url.slice(start + 1)))
  }

  set query(query: unknown) {
    this.#query = query
  }

  get trace(): TraceContext {
    const { traceparent, tracestate } = this.node.request.headers
    return (this.#trace ??= joinTrace(single(traceparent), single(tracestate)))
  }

  get request(): Request {
    return (this.#request ??= createRequest(this.node.request, this.#bodyLimitBytes, () => this.signal))
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#isClosed) this.close()
    }
    return this.#abort.signal
  }

  /** The response is over, one way or the other. */
  close(): void {
    this.#isClosed = true
    if (!this.node.response.writableFinished) this.#abort?.abort(new Error('The caller has gone away'))
  }
}

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header
}
