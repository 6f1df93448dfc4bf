/**
 * The objects an app becomes.
 *
 * ```ts
 * import { loadApp } from '@fairlead/delivery/app'
 * import { renderKubernetes } from '@fairlead/delivery/render'
 *
 * const app = await loadApp('examples/shop')
 * const images = Object.fromEntries(app.services.map(({ name }) => [name, `registry.example/${name}:1`]))
 * for (const object of renderKubernetes(app, images)) console.log(object.kind, object.metadata.name)
 * ```
 */
export { appLabel, managedByLabel, managerName, serviceLabel, versionLabel } from './lib/render/labels.ts'
export { renderKubernetes } from './lib/render/kubernetes.ts'
export { renderCredentials } from './lib/backing/credentials.ts'
export { listBackingContainers, listLocalVariables } from './lib/backing/containers.ts'
export type { BackingContainer, LocalText } from './lib/backing/containers.ts'
export { renderBacking } from './lib/render/backing.ts'
