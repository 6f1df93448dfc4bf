/**
 * The OpenAPI 3.1 document of a service, out of its routes and their schemas.
 *
 * ```ts
 * import { service } from '@fairlead/service'
 * import { openApiDocument } from '@fairlead/service/openapi'
 * import { z } from 'zod'
 *
 * const orders = service({
 *   name: 'orders',
 *   http: (router) => router.get('/orders/:id', { params: z.object({ id: z.uuid() }) }, ({ params }) => ({ id: params.id })),
 * })
 * console.log(JSON.stringify(await openApiDocument(orders), undefined, 2))
 * ```
 */
export { openApiDocument, serveOpenApi } from './lib/http/openapi.ts'
export type { Described, OpenApiDocument, OpenApiOptions } from './lib/http/openapi.ts'
export type { JsonSchema } from './lib/http/json-schema.ts'
