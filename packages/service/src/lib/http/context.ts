import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
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
  'headers',
  'log',
  'node',
  'params',
  'query',
  'request',
  'requestId',
  'route',
  'signal',
  'trace',
] satisfies (keyof RequestContext | 'params' | 'query' | 'headers' | 'body' | 'config')[])

/** What a route is told about its input and its answers: schemas of any Standard Schema library. */
export interface RouteSchemas {
  /** Of the path's parameters, which are text: a schema that wants a number converts it (`z.coerce.number()`). */
  readonly params?: StandardSchema | undefined
  /** Of the query's fields, text as well; a field that stands there twice is a list. */
  readonly query?: StandardSchema | undefined
  /** Of the headers, their names in lower case. */
  readonly headers?: StandardSchema | undefined
  /** Of a JSON body or the fields of an urlencoded form. */
  readonly body?: StandardSchema | undefined
  /**
   * Of the answers: one schema for those that are no errors, or one per status. They are documented, and held against what
   * handlers return outside of production. An answer is sent as the handler returned it.
   */
  readonly response?: StandardSchema | Readonly<Record<number, StandardSchema>> | undefined
  /** What the OpenAPI document says beside the schemas. */
  readonly openapi?: RouteDocumentation | undefined
}

/** The members of an OpenAPI operation that do not follow from its route and schemas. */
export interface RouteDocumentation {
  readonly summary?: string | undefined
  /** Markdown. */
  readonly description?: string | undefined
  readonly operationId?: string | undefined
  readonly tags?: readonly string[] | undefined
  readonly deprecated?: boolean | undefined
  /** Names of `securitySchemes` that are needed, all of them. */
  readonly security?: readonly string[] | undefined
  /** Leaves the route out of the document. */
  readonly hidden?: boolean | undefined
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
    readonly headers: Schemas extends { readonly headers: infer S extends StandardSchema }
      ? SchemaOutput<S>
      : IncomingHttpHeaders
    readonly body: Schemas extends { readonly body: infer S extends StandardSchema } ? SchemaOutput<S> : undefined
  }
