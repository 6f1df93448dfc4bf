import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { type } from 'arktype'
import * as v from 'valibot'
import { z } from 'zod'
import { openApiDocument, serveOpenApi } from './openapi.ts'
import { createRouteTable } from './router.ts'
import type { Router } from './router.ts'
import type { StandardSchema } from './schema.ts'
import { serveHandler } from './serve.fixture.ts'

const User = z.object({ name: z.string() }).meta({ id: 'User' })
const Tree = z.object({
  get children() {
    return z.array(Tree)
  },
})

function describeShop(router: Router): unknown {
  return router
    .get('/', () => 'x')
    .get(
      '/orders/:id',
      {
        params: z.object({ id: z.uuid() }),
        query: z.object({ page: z.coerce.number().int().default(1), q: z.string().describe('What to look for') }),
        headers: z.object({ 'x-tenant': z.string(), authorization: z.string() }),
        response: { 200: z.object({ user: User, total: z.number() }), 404: z.object({ why: z.string() }) },
        openapi: { summary: 'One order', tags: ['orders'], security: ['token'] },
      },
      () => ({}),
    )
    .post('/orders', { body: v.object({ sku: v.string(), count: v.optional(v.number()) }), response: User }, () => ({}))
    .put('/trees/:id', { body: Tree, response: Tree }, () => ({}))
    .patch('/stock/:sku', { body: type({ count: 'number > 0', 'note?': 'string' }) }, () => ({}))
    .get('/files/:name/*', () => 'x')
    .get('/secret', { openapi: { hidden: true } }, () => 'x')
}

function shop() {
  const routes = createRouteTable()
  describeShop(routes.router)
  return { name: 'shop', routes, definition: { version: '1.2.3' } }
}

const options = {
  securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
  servers: [{ url: 'https://shop.example' }],
}

describe('openApiDocument', () => {
  it('is a valid OpenAPI 3.1 document', async () => {
    const document = await openApiDocument(shop(), options)
    const { valid, errors } = await new Validator().validate(
      JSON.parse(JSON.stringify(document)) as Record<string, unknown>,
    )
    assert.deepEqual({ valid, errors }, { valid: true, errors: undefined })
  })

  it('has a path for each route that is not hidden, in the syntax of OpenAPI', async () => {
    const { paths, info } = await openApiDocument(shop(), options)
    assert.deepEqual(info, { title: 'shop', version: '1.2.3' })
    assert.deepEqual(
      Object.entries(paths).map(([path, operations]) => `${Object.keys(operations).join()} ${path}`),
      [
        'get /',
        'get /orders/{id}',
        'post /orders',
        'put /trees/{id}',
        'patch /stock/{sku}',
        'get /files/{name}/{rest}',
      ],
    )
  })

  it('describes the input of a route', async () => {
    const { paths } = await openApiDocument(shop(), options)
    const operation = paths['/orders/{id}']?.['get'] as { parameters: Record<string, unknown>[] }
    assert.partialDeepStrictEqual(operation, {
      operationId: 'get_orders_id',
      summary: 'One order',
      tags: ['orders'],
      security: [{ token: [] }],
    })
    assert.deepEqual(
      operation.parameters.map(({ name, in: place, required }) => [name, place, required]),
      [
        ['id', 'path', true],
        ['page', 'query', false],
        ['q', 'query', true],
        ['x-tenant', 'header', true],
      ],
    )
    assert.partialDeepStrictEqual(operation.parameters[0], { schema: { type: 'string', format: 'uuid' } })
    assert.partialDeepStrictEqual(operation.parameters[1], { schema: { type: 'integer', default: 1 } })
    assert.equal(operation.parameters[2]?.['description'], 'What to look for')
  })

  it('has named and recursive schemas once, as components', async () => {
    const { paths, components } = await openApiDocument(shop(), options)
    const schemas = components['schemas'] as Record<string, unknown>
    assert.deepEqual(Object.keys(schemas).toSorted(), [
      'Problem',
      'User',
      'put_trees_id_body',
      'put_trees_id_response_200',
    ])
    assert.partialDeepStrictEqual(schemas['put_trees_id_body'], {
      properties: { children: { items: { $ref: '#/components/schemas/put_trees_id_body' } } },
    })
    assert.partialDeepStrictEqual(paths['/orders/{id}'], {
      get: {
        responses: {
          '200': {
            content: {
              'application/json': { schema: { properties: { user: { $ref: '#/components/schemas/User' } } } },
            },
          },
          '404': { content: { 'application/problem+json': {} } },
          default: { content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } } },
        },
      },
    })
  })

  it('offers forms for bodies that are flat', async () => {
    const { paths } = await openApiDocument(shop(), options)
    const types = (path: string, method: string): string[] => {
      const operation = paths[path]?.[method] as { requestBody: { content: object } }
      return Object.keys(operation.requestBody.content)
    }
    assert.deepEqual(types('/stock/{sku}', 'patch'), ['application/json', 'application/x-www-form-urlencoded'])
    assert.deepEqual(types('/trees/{id}', 'put'), ['application/json'])
  })

  it('says which schema it cannot describe', async () => {
    const refused = (schema: StandardSchema): Promise<unknown> => {
      const routes = createRouteTable()
      routes.router.post('/a', { body: schema }, () => 'x')
      return openApiDocument({ name: 'a', routes })
    }
    await assert.rejects(refused(z.object({ at: z.date() })), {
      code: 'FAIRLEAD_SERVICE_OPENAPI',
      message: /^Cannot describe the schema of "POST \/a, body": /,
    })
    const unknown = {
      '~standard': { version: 1, vendor: 'homemade', validate: (value: unknown) => ({ value }) },
    } as const
    await assert.rejects(refused(unknown), { message: /schemas of "homemade" do not say what they are/ })
  })

  it('is served as a route', async () => {
    const described = shop()
    await using server = await serveHandler({
      http: (router) => router.get('/openapi.json', { openapi: { hidden: true } }, serveOpenApi(described, options)),
    })
    const response = await fetch(`${server.url}/openapi.json`)
    assert.equal(response.headers.get('content-type'), 'application/json; charset=utf-8')
    assert.deepEqual(await response.json(), JSON.parse(JSON.stringify(await openApiDocument(described, options))))
  })
})
