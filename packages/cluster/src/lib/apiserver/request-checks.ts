import type { KubeObject } from '@fairlead/kube/types'

import { parseDuration } from '../cron/duration.ts'
import type { ApiRequest } from './exchange.ts'
import { isLongRunning } from './in-flight.ts'
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

/** Refuses a `timeout` that is no duration; what lasts by nature is not asked for one. */
export function checkTimeout(request: Pick<ApiRequest, 'path' | 'query' | 'isUpgrade'>): void {
  const timeout = request.query.size === 0 ? null : request.query.get('timeout')
  if (timeout === null || timeout === '' || parseDuration(timeout) !== undefined || isLongRunning(request)) return
  throw badRequest(`invalid timeout specified in the request URL - time: invalid duration ${JSON.stringify(timeout)}`)
}
