/**
 * Endpoints to look into a running process: log levels, configuration, heap snapshots, CPU profiles. For an admin port only.
 *
 * ```ts
 * import { createServer } from 'node:http'
 * import { createDebug } from '@fairlead/service/debug'
 * import { createLogger } from '@fairlead/service/log'
 *
 * const debug = createDebug({ log: createLogger(), token: process.env['DEBUG_TOKEN'] })
 * const admin = createServer((request, response) => {
 *   if (!debug.handle(request, response)) response.writeHead(404).end()
 * })
 * debug.stop()
 * admin.close()
 * ```
 */
export { createDebug } from './lib/debug/endpoints.ts'
export type { Debug, DebugOptions } from './lib/debug/endpoints.ts'
