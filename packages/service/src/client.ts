/**
 * Calls to other services: a deadline on every call, the current trace carried along, one kind of error.
 *
 * ```ts
 * import { CallError, client } from '@fairlead/service/client'
 *
 * const catalog = client('http://127.0.0.1:9', { timeoutMs: 2000 })
 * const product = await catalog.json('/products/mug-01').catch((error: unknown) => {
 *   if (error instanceof CallError) return { sku: 'mug-01', isAvailable: false, why: error.reason }
 *   throw error
 * })
 * console.log(product)
 * ```
 */
export type { Balancer, PickedEndpoint } from './lib/client/balancer.ts'
export { CallError } from './lib/client/call-error.ts'
export type { CallFailure } from './lib/client/call-error.ts'
export { client } from './lib/client/client.ts'
export type {
  CallOptions,
  Client,
  ClientHealth,
  ClientOptions,
  RequestCallOptions,
  ResponseSchema,
  StreamedAnswer,
} from './lib/client/client.ts'
export type { BalanceOptions } from './lib/client/discovered.ts'
export type { ConnectionOptions } from './lib/client/transport.ts'
