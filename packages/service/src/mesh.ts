/**
 * Life in a service mesh: headers to pass on, the caller's deadline, and who retries.
 *
 * ```ts
 * import { currentDeadline, meshHeaders } from '@fairlead/service/mesh'
 *
 * const incoming = { 'x-b3-traceid': '0af7651916cd43dd8448eb211c80319c', authorization: 'secret', 'end-user': 'jason' }
 * console.log(meshHeaders(incoming, { headers: ['end-user'] }), currentDeadline())
 * ```
 */
export { currentDeadline, isMeshRetrying } from './lib/mesh/current.ts'
export { callerTimeoutMs } from './lib/mesh/deadline.ts'
export { meshHeaders } from './lib/mesh/headers.ts'
export { parseMeshSettings, readMeshSettings } from './lib/mesh/settings.ts'
export type { MeshSettings } from './lib/mesh/settings.ts'
