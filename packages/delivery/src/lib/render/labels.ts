import type { App } from '../app/definition.ts'

// https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
/** Label with the name of the app. */
export const appLabel = 'app.kubernetes.io/part-of'
/** Label with the name of the service. */
export const serviceLabel = 'app.kubernetes.io/name'
/** Label with the version of the service. */
export const versionLabel = 'app.kubernetes.io/version'
/** Label that says who made the object; see {@link managerName}. */
export const managedByLabel = 'app.kubernetes.io/managed-by'
/** Value of {@link managedByLabel}, and our field manager. */
export const managerName = 'fairlead'

/** A service, or a database or broker it uses. */
interface Labelled {
  readonly name: string
  readonly version: string
}

/** What selects the pods of a service. Immutable in a Deployment, so it holds nothing that changes. */
export function selectorLabels(app: App, service: Labelled): Record<string, string> {
  return { [serviceLabel]: service.name, [appLabel]: app.name }
}

/** Labels of every object made for a service. */
export function objectLabels(app: App, service: Labelled): Record<string, string> {
  return {
    ...selectorLabels(app, service),
    [versionLabel]: toLabelValue(service.version),
    [managedByLabel]: managerName,
  }
}

/** A label value allows no "+", which build metadata of a version starts with. */
function toLabelValue(version: string): string {
  return version
    .replaceAll(/[^-._A-Za-z0-9]+/g, '_')
    .slice(0, 63)
    .replaceAll(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '')
}
