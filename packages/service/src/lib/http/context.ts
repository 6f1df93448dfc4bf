import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '../log/logger.ts'
import type { TraceContext } from '../trace/traceparent.ts'
import type { SchemaOutput, StandardSchema } from './schema.ts'

/** What every handler is given, beside the service's resources by their names. */
export interface RequestContext {
  /** The request as the Web platform knows it, built as far as it is looked at. */
  readonly request: Request
  /** `x-request-id` of the caller if it is reasonable, else a new one; echoed in the answer. */
  readonly requestId: string
  readonly trace: TraceContext
  /** The service's logger; lines written while serving carry the request and trace ids. */
  readonly log: Logger
  /** Aborts when the connection ends before the answer: the caller has gone away, or a stopping service ran out of time. */
  readonly signal: AbortSignal
  /** The node:http pair, for what the Web platform has no word for. */
  readonly node: { readonly request: IncomingMessage; readonly response: ServerResponse }
  /** What metrics and logs call this route. A `fetch` handler with a router of its own assigns the template it matched. */
  route: string
}

/** Names a resource may not take. */
export const contextNames: ReadonlySet<string> = new Set([
  'body',
  'config',
  'log',
  'node',
  'params',
  'query',
  'request',
  'requestId',
  'route',
  'signal',
  'trace',
] satisfies (keyof RequestContext | 'params' | 'query' | 'body' | 'config')[])

/** Schemas of a route's inputs, by any Standard Schema library. */
export interface RouteSchemas {
  readonly params?: StandardSchema | undefined
  readonly query?: StandardSchema | undefined
  /** Of a JSON body or the fields of an urlencoded form. */
  readonly body?: StandardSchema | undefined
}

/** The parameters a path template names: `/orders/:id` has `{ id: string }`, a final `*` the rest of the path. */
export type PathParams<Path extends string> = Path extends `${infer Head}/${infer Rest}`
  ? SegmentParams<Head> & PathParams<Rest>
  : SegmentParams<Path>

type SegmentParams<Segment extends string> = Segment extends `:${infer Name}`
  ? { readonly [K in Name]: string }
  : Segment extends '*'
    ? { readonly '*': string }
    : unknown

/** What a route's handler is given: the common context, the resources, and its validated input. */
export type RouteContext<Uses, Path extends string, Schemas extends RouteSchemas> = RequestContext &
  Uses & {
    readonly params: Schemas extends { readonly params: infer S extends StandardSchema }
      ? SchemaOutput<S>
      : PathParams<Path>
    readonly query: Schemas extends { readonly query: infer S extends StandardSchema }
      ? SchemaOutput<S>
      : URLSearchParams
    readonly body: Schemas extends { readonly body: infer S extends StandardSchema } ? SchemaOutput<S> : undefined
  }
