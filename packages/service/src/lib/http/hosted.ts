import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '../log/logger.ts'
import { currentScope } from '../trace/current.ts'
import type { RequestScope } from '../trace/current.ts'
import { Exchange } from './exchange.ts'

/** What an application of another framework is told when the service starts it. */
export interface HostContext {
  readonly log: Logger
  /** Whether the service takes traffic: false while it starts, drains, or a critical component is down. */
  readonly isReady: () => boolean | Promise<boolean>
  /** Of a request's body, for applications that leave its reading to the host. */
  readonly bodyLimitBytes?: number | undefined
}

/** The request an application is serving. What it assigns here is what metrics, logs and spans say. */
export interface HostedScope extends RequestScope {
  /** The template that was matched, never the raw path. */
  route: string
  /** What was thrown, when the application has answered for it itself. */
  error: unknown
  /** The code of a gRPC call. */
  grpcStatus: number | undefined
  /** Aborts when the connection ends before the answer. */
  readonly signal: AbortSignal
}

/**
 * An application made with another framework, as a service hosts it. The service owns the listener, health, drain and
 * telemetry; the application answers requests.
 */
export interface HostedApp {
  /** The framework, for messages. */
  readonly kind: string
  /** Called once, before the first request. */
  start?(host: HostContext): unknown
  /** Called once, when the service begins to stop: ends what would otherwise go on until it is cut. */
  drain?(): unknown
  /** Called once, when the last request is over. */
  stop?(): unknown
  /** Answers on `response`, or calls `next`: without an argument there is nothing at this path, with one it failed. */
  handle(
    request: IncomingMessage,
    response: ServerResponse,
    scope: HostedScope,
    next: (error?: unknown) => void,
  ): unknown
  /** The template of a request that is over, for those who did not assign `scope.route`. */
  routeOf?(request: IncomingMessage): string | undefined
}

/** Tells telemetry of an error that the application answers for itself. Does nothing outside of a request. */
export function recordError(error: unknown): void {
  const scope = currentScope()
  if (scope instanceof Exchange) scope.error = error
}

export interface ListenerOptions {
  /** The template of a request that is over; without it, every request has the route `*`. */
  readonly routeOf?: ((request: IncomingMessage) => string | undefined) | undefined
  readonly start?: (() => unknown) | undefined
  readonly stop?: (() => unknown) | undefined
}

/** Hosts a plain node:http listener. What it never answers stays unanswered, as anywhere. */
export function listenerApp(
  listener: (request: IncomingMessage, response: ServerResponse) => unknown,
  options: ListenerOptions = {},
): HostedApp {
  return {
    kind: 'listener',
    ...(options.start ? { start: options.start } : {}),
    ...(options.stop ? { stop: options.stop } : {}),
    handle: listener,
    routeOf: options.routeOf ?? (() => '*'),
  }
}
