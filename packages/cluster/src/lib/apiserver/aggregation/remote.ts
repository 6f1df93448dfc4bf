import type { APIServiceSpec } from '@fairlead/kube/types/apiregistration-v1'

/** A resource as another server lists it (`APIResourceList`). */
export interface RemoteResource {
  readonly name: string
  readonly singularName?: string
  readonly namespaced?: boolean
  readonly group?: string
  readonly version?: string
  readonly kind: string
  readonly verbs?: readonly string[]
  readonly shortNames?: readonly string[]
  readonly categories?: readonly string[]
}

/** A group-version that another server answers for. */
export interface RemoteVersion {
  readonly group: string
  readonly version: string
  readonly spec: APIServiceSpec
  /** What it serves, as of the last time it was asked; empty while it does not answer. */
  readonly resources: readonly RemoteResource[]
  /** Whether it answered the last time. */
  readonly isAvailable: boolean
}

/** The resources of a remote version as aggregated discovery shows them: subresources below what they belong to. */
export function renderRemote({ group, version, resources }: RemoteVersion): unknown[] {
  const kindOf = (resource: RemoteResource): unknown => ({
    group: resource.group ?? group,
    version: resource.version ?? version,
    kind: resource.kind,
  })
  return resources
    .filter(({ name }) => !name.includes('/'))
    .map((resource) => {
      const { name, namespaced, singularName = '', verbs = [], shortNames = [], categories = [] } = resource
      const subresources = resources
        .filter((other) => other.name.startsWith(`${name}/`))
        .map((other) => ({
          subresource: other.name.slice(name.length + 1),
          responseKind: kindOf(other),
          verbs: other.verbs ?? [],
        }))
      return {
        resource: name,
        responseKind: kindOf(resource),
        scope: namespaced === true ? 'Namespaced' : 'Cluster',
        singularResource: singularName,
        verbs,
        ...(shortNames.length > 0 ? { shortNames } : {}),
        ...(categories.length > 0 ? { categories } : {}),
        ...(subresources.length > 0 ? { subresources } : {}),
      }
    })
}
