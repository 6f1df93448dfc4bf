import { Buffer } from 'node:buffer'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { HttpError } from '../http/problem.ts'
import { problemReply } from '../http/problem-reply.ts'
import type { HostedApp, HostedScope } from '../http/hosted.ts'
import { currentScope } from '../trace/current.ts'

export interface FastifyAppOptions {
  /** Runs before Fastify's own `ready()`: `() => nest.init()`. */
  readonly start?: (() => unknown) | undefined
  /** Runs in place of Fastify's own `close()`: `() => nest.close()`. */
  readonly stop?: (() => unknown) | undefined
}

/** What Fastify publishes on its tracing channel when a handler begins, and when it throws. */
interface HandlerEvent {
  readonly request: FastifyRequest
  readonly error?: unknown
}

/**
 * Hosts a Fastify application that does not listen itself. Its requests have the kit's request id as `request.id`; its routes'
 * templates are what telemetry says. Errors and unknown paths are answered with problem details, unless the application has a
 * handler for them.
 *
 * Give it the application before `ready()`. Of one that is ready already it finds the route of requests that reach a handler.
 */
export function fastifyApp(app: FastifyInstance, options: FastifyAppOptions = {}): HostedApp {
  // Fastify tells everybody in the process; only requests of this application have a scope in here.
  const scopes = new WeakMap<object, HostedScope>()
  const noteRoute = (request: FastifyRequest): HostedScope | undefined => {
    const scope = scopes.get(request.raw)
    const template = request.is404 ? undefined : request.routeOptions.url
    if (scope !== undefined && template !== undefined) scope.route = template
    return scope
  }
  const onStart = (event: unknown): void => void noteRoute((event as HandlerEvent).request)
  const onError = (event: unknown): void => {
    const { request, error } = event as HandlerEvent
    const scope = noteRoute(request)
    if (scope !== undefined && isFault(error)) scope.error = error
  }
  return {
    kind: 'fastify',
    async start() {
      await options.start?.()
      if (!isReady(app)) prepare(app, noteRoute)
      subscribe('tracing:fastify.request.handler:start', onStart)
      subscribe('tracing:fastify.request.handler:error', onError)
      await app.ready()
    },
    async stop() {
      unsubscribe('tracing:fastify.request.handler:start', onStart)
      unsubscribe('tracing:fastify.request.handler:error', onError)
      await (options.stop ? options.stop() : app.close())
    },
    handle(request, response, scope) {
      scopes.set(request, scope)
      app.routing(request, response)
    },
  }
}

function prepare(app: FastifyInstance, noteRoute: (request: FastifyRequest) => unknown): void {
  app.setGenReqId(() => currentScope()?.requestId ?? '')
  // Earlier than the handler: a hook that refuses a request must not make it one without a route.
  app.addHook('onRequest', (request, _reply, done) => {
    noteRoute(request)
    done()
  })
  app.addHook('onError', (request, _reply, error, done) => {
    const scope = noteRoute(request) as HostedScope | undefined
    if (scope !== undefined && isFault(error)) scope.error = error
    done()
  })
  // There is no way to ask; a second handler is refused.
  attempt(() =>
    app.setNotFoundHandler((request, reply) =>
      answer(reply, request, new HttpError(404, 'There is nothing at this path')),
    ),
  )
  if (app.errorHandler.name === 'defaultErrorHandler')
    app.setErrorHandler((error, request, reply) => answer(reply, request, toHttpError(error)))
}

function answer(reply: FastifyReply, request: FastifyRequest, error: unknown): FastifyReply {
  const { status, headers, body } = problemReply(error, request.id)
  return reply
    .code(status)
    .headers(headers as Record<string, string>)
    .send(Buffer.from(String(body)))
}

/** Fastify's own errors, validation included, have a `statusCode`, and messages that are for the caller below 500. */
function toHttpError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof HttpError || isFault(error)) return error
  return new HttpError(statusOf(error), error.message, { cause: error })
}

function isFault(error: unknown): boolean {
  return !(error instanceof HttpError) && (statusOf(error) < 400 || statusOf(error) >= 500)
}

function statusOf(error: unknown): number {
  if (typeof error !== 'object' || error === null) return 500
  if ('validation' in error && error.validation) return 400
  return 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
}

function isReady(app: FastifyInstance): boolean {
  try {
    app.addHook('onReady', (done: () => void) => done())
    return false
  } catch {
    return true
  }
}

function attempt(work: () => unknown): void {
  try {
    work()
  } catch {
    // The application has its own.
  }
}
