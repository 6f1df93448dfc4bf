import type { KubeObject } from '@fairlead/kube/types'
import type { ComponentStatus } from '@fairlead/kube/types/core-v1'

import type { Entry } from '../storage/collection.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import { respondList } from './list.ts'
import { negotiate } from './negotiate.ts'
import { respondObject } from './render.ts'
import type { Resource } from './resource.ts'
import type { ResourceRoute } from './route.ts'
import { parseSelection } from './selection.ts'
import { methodNotAllowed, notFound } from './status.ts'

/** A component beside the API server, by the name kubectl shows it under. */
export interface Component {
  readonly name: string
  /** What is wrong with it at this moment; undefined when nothing is. */
  readonly problem: () => string | undefined
}

/** Who answers has read its storage: what could be wrong with that would be in the way of any answer. */
const storage: Component = { name: 'etcd-0', problem: () => undefined }

/** Answers `kubectl get componentstatuses`: objects made when they are asked for, of which nothing is kept. */
export async function serveComponentStatuses(
  components: readonly Component[],
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const format = negotiate(request, resource)
  const entries = [...components, storage].map(renderEntry).toSorted((a, b) => (a.id < b.id ? -1 : 1))
  if (route.verb === 'list') {
    const selection = parseSelection(resource, route, request.query)
    const selected = entries.filter((entry) => selection.matches(entry))
    return await respondList(resource, selected, {}, format)
  }
  if (route.verb !== 'get') throw methodNotAllowed()
  const found = entries.find(({ id }) => id === route.name)
  if (found === undefined) throw notFound(resource.info, route.name)
  return respondObject(200, resource, found, format)
}

function renderEntry({ name, problem }: Component): Entry {
  const error = problem()
  const bytes = Buffer.from(JSON.stringify(renderStatus(name, error)))
  const about = { resource: 'componentstatuses', id: name, revision: 0 }
  return { ...about, bytes, size: bytes.length, isFolded: false, piece: bytes, cache: undefined }
}

function renderStatus(name: string, error: string | undefined): KubeObject & ComponentStatus {
  const condition =
    error === undefined
      ? { type: 'Healthy', status: 'True', message: 'ok' }
      : { type: 'Healthy', status: 'False', error }
  return { kind: 'ComponentStatus', apiVersion: 'v1', metadata: { name }, conditions: [condition] }
}
