import { statusText } from '../node-http.ts'
import { hoistDefinitions, toJsonSchema } from './json-schema.ts'
import type { JsonSchema, Side } from './json-schema.ts'
import { reply } from './reply.ts'
import type { Reply } from './reply.ts'
import type { Route } from './router.ts'
import { isSchema } from './schema.ts'
import type { StandardSchema } from './schema.ts'

export interface OpenApiOptions {
  /** Default: the service's name. */
  readonly title?: string | undefined
  /** Default: the service's version, else `0.0.0`. */
  readonly version?: string | undefined
  /** Markdown. */
  readonly description?: string | undefined
  /** Base addresses of the API. Default: the one the document came from. */
  readonly servers?: readonly { readonly url: string; readonly description?: string | undefined }[] | undefined
  /** By name, as the OpenAPI specification has them. Routes name those they need in `openapi.security`. */
  readonly securitySchemes?: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined
}

/** What has routes: a service, or a name and a route table. */
export interface Described {
  readonly name: string
  readonly routes: { readonly routes: readonly Route[] }
  readonly definition?: { readonly version?: string | undefined } | undefined
}

/** An OpenAPI 3.1 document. */
export interface OpenApiDocument {
  readonly openapi: '3.1.1'
  readonly info: { readonly title: string; readonly version: string; readonly description?: string }
  readonly servers?: OpenApiOptions['servers']
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly components: Readonly<Record<string, unknown>>
}

/**
 * The OpenAPI document of a service's routes, in the order in which they were added.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_OPENAPI`, `FAIRLEAD_SERVICE_ROUTE`
 */
export async function openApiDocument(service: Described, options: OpenApiOptions = {}): Promise<OpenApiDocument> {
  const components = new Map<string, JsonSchema>([['Problem', problemSchema]])
  const paths: Record<string, Record<string, unknown>> = {}
  for (const route of service.routes.routes) {
    if (route.schemas.openapi?.hidden) continue
    const path = toPath(route.template)
    const operations = (paths[path] ??= {})
    // oxlint-disable-next-line no-await-in-loop -- the order of the routes is that of the document
    operations[route.method.toLowerCase()] = await describeRoute(route, components)
  }
  return {
    openapi: '3.1.1',
    info: {
      title: options.title ?? service.name,
      version: options.version ?? service.definition?.version ?? '0.0.0',
      ...(options.description === undefined ? {} : { description: options.description }),
    },
    ...(options.servers === undefined ? {} : { servers: options.servers }),
    paths,
    components: {
      schemas: Object.fromEntries(components),
      ...(options.securitySchemes === undefined ? {} : { securitySchemes: options.securitySchemes }),
    },
  }
}

/** A handler that answers with the document, which is made once. */
export function serveOpenApi(service: Described, options: OpenApiOptions = {}): () => Promise<Reply> {
  let made: Promise<string> | undefined
  return async () => {
    made ??= openApiDocument(service, options).then((document) => JSON.stringify(document))
    return reply(await made, { headers: { 'content-type': 'application/json; charset=utf-8' } })
  }
}

const problemSchema: JsonSchema = {
  type: 'object',
  description: 'Problem details, RFC 9457.',
  properties: {
    type: { type: 'string', format: 'uri-reference' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    requestId: { type: 'string' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          in: { enum: ['params', 'query', 'headers', 'body'] },
          pointer: { type: 'string', description: 'JSON pointer, RFC 6901.' },
          detail: { type: 'string' },
        },
        required: ['in', 'pointer', 'detail'],
      },
    },
  },
  required: ['type', 'title', 'status'],
}

async function describeRoute(route: Route, components: Map<string, JsonSchema>): Promise<object> {
  const { schemas } = route
  const { summary, description, tags, deprecated, security, operationId = defaultId(route) } = schemas.openapi ?? {}
  const convert: Convert = async (schema, side, part) => {
    const found = await toJsonSchema(schema, side, `${route.method} ${route.template}, ${part}`)
    return hoistDefinitions(found, `${operationId}_${part.replaceAll(' ', '_')}`, components)
  }
  const parameters = [
    ...(await describePath(route, convert)),
    ...(schemas.query ? await describeFields('query', schemas.query, convert) : []),
    ...(schemas.headers ? await describeFields('header', schemas.headers, convert) : []),
  ]
  return {
    operationId,
    ...withoutUndefined({ summary, description, tags, deprecated }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(schemas.body ? { requestBody: await describeBody(schemas.body, convert) } : {}),
    responses: await describeAnswers(route, convert),
    ...(security === undefined ? {} : { security: [Object.fromEntries(security.map((name) => [name, []]))] }),
  }
}

type Convert = (schema: StandardSchema, side: Side, part: string) => Promise<JsonSchema>

/** `GET /orders/:id` is `get_orders_id`. */
function defaultId({ method, template }: Route): string {
  const words = template.replaceAll('*', 'rest').match(/\w+/g) ?? []
  return [method.toLowerCase(), ...words].join('_')
}

/** `/files/:name/*` is `/files/{name}/{rest}`. */
function toPath(template: string): string {
  return template
    .split('/')
    .map((segment) => (segment === '*' ? '{rest}' : segment.startsWith(':') ? `{${segment.slice(1)}}` : segment))
    .join('/')
}

async function describePath({ names, schemas }: Route, convert: Convert): Promise<object[]> {
  const schema = schemas.params ? await convert(schemas.params, 'input', 'params') : {}
  const properties = propertiesOf(schema)
  return names.map((name) => ({
    name: name === '*' ? 'rest' : name,
    in: 'path',
    required: true,
    schema: properties[name] ?? { type: 'string' },
  }))
}

/** What HTTP says elsewhere: OpenAPI has it ignored among parameters. */
const reservedHeaders = new Set(['accept', 'authorization', 'content-type'])

async function describeFields(place: 'query' | 'header', schema: StandardSchema, convert: Convert): Promise<object[]> {
  const found = await convert(schema, 'input', place === 'query' ? 'query' : 'headers')
  const required = Array.isArray(found['required']) ? (found['required'] as unknown[]) : []
  return Object.entries(propertiesOf(found))
    .filter(([name]) => place === 'query' || !reservedHeaders.has(name))
    .map(([name, property]) => ({
      name,
      in: place,
      // One with a default is asked for by nobody.
      required: required.includes(name) && !(isObject(property) && 'default' in property),
      ...(isObject(property) && typeof property['description'] === 'string'
        ? { description: property['description'] }
        : {}),
      schema: property,
    }))
}

async function describeBody(body: StandardSchema, convert: Convert): Promise<object> {
  const schema = await convert(body, 'input', 'body')
  const isFlat = Object.values(propertiesOf(schema)).every(
    (property) => isObject(property) && property['type'] !== 'object' && property['$ref'] === undefined,
  )
  return {
    required: true,
    content: {
      'application/json': { schema },
      ...(isFlat && schema['type'] === 'object' ? { 'application/x-www-form-urlencoded': { schema } } : {}),
    },
  }
}

async function describeAnswers({ schemas }: Route, convert: Convert): Promise<object> {
  const { response } = schemas
  const byStatus: readonly (readonly [string, StandardSchema])[] =
    response === undefined ? [] : isSchema(response) ? [['200', response]] : Object.entries(response)
  const answers: Record<string, unknown> = {}
  for (const [status, schema] of byStatus) {
    const isProblem = Number(status) >= 400
    answers[status] = {
      description: statusText(Number(status)) ?? `Status ${status}`,
      content: {
        // oxlint-disable-next-line no-await-in-loop -- names of components are given in this order
        [isProblem ? 'application/problem+json' : 'application/json']: {
          schema: await convert(schema, 'output', `response ${status}`),
        },
      },
    }
  }
  if (!Object.keys(answers).some((status) => status.startsWith('2'))) answers['200'] = { description: 'OK' }
  const problem = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } }
  if (schemas.params ?? schemas.query ?? schemas.headers ?? schemas.body)
    answers['400'] ??= { description: 'The request is not as expected', content: problem }
  if (schemas.body) answers['422'] ??= { description: 'The body is not as expected', content: problem }
  return { ...answers, default: { description: 'Any other error', content: problem } }
}

function propertiesOf(schema: JsonSchema): Readonly<Record<string, unknown>> {
  return isObject(schema['properties']) ? schema['properties'] : {}
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function withoutUndefined(members: Record<string, unknown>): object {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}
