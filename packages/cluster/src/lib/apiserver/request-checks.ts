import type { KubeObject } from '@fairlead/kube/types'

import type { Resource } from './resource.ts'
import type { ResourceRoute } from './route.ts'
import { badRequest } from './status.ts'

/** An object written under a URL must be the one the URL names. */
export function checkName(resource: Resource, route: ResourceRoute, object: KubeObject): void {
  const { name = '', namespace = '' } = object.metadata
  if (name !== '' && name !== route.name) {
    throw badRequest(`the name of the object (${name}) does not match the name on the URL (${route.name})`)
  }
  if (resource.info.namespaced && namespace !== '' && namespace !== route.namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
  }
}

/** Whether the request asks for nothing to be stored. */
export function isDryRun(query: URLSearchParams): boolean {
  const asked = query.getAll('dryRun').filter((value) => value !== '')
  const unknown = asked.find((value) => value !== 'All')
  if (unknown !== undefined) throw badRequest(`dryRun: Unsupported value: "${unknown}": supported values: "All"`)
  return asked.length > 0
}
