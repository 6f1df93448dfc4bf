/**
 * Delivers the objects of an app to a Kubernetes cluster, and waits until they are up.
 *
 * ```ts no-run
 * import { applyObjects, waitForReady } from '@fairlead/delivery'
 * import { loadApp } from '@fairlead/delivery/app'
 * import { renderKubernetes } from '@fairlead/delivery/render'
 * import { connectKube } from '@fairlead/kube'
 *
 * const client = connectKube()
 * const app = await loadApp('examples/shop')
 * const objects = renderKubernetes(app, { web: 'registry.example/web:1' })
 * const applied = await applyObjects(client, objects, { pruneApp: app.name })
 * const services = await waitForReady(client, applied.map(({ object }) => object))
 * for (const { service, url } of services) console.log(service, url)
 * ```
 */
export { applyObjects, nameObject } from './lib/apply/apply.ts'
export type { Applied, ApplyOptions } from './lib/apply/apply.ts'
export { ensureCredentials } from './lib/backing/credentials.ts'
export { waitForReady } from './lib/apply/wait.ts'
export type { ReadyService, ServiceProgress, WaitOptions } from './lib/apply/wait.ts'
export { findPods, followLogs, readLogs } from './lib/status/logs.ts'
export type { LogLine, LogOptions } from './lib/status/logs.ts'
export { listServicePorts, listServices } from './lib/status/status.ts'
export type { ServicePort, ServiceStatus, StatusOptions } from './lib/status/status.ts'
