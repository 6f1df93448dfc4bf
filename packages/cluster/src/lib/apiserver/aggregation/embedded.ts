import type { ApiRequest, ApiResponse } from '../exchange.ts'
import type { RemoteResource, RemoteVersion } from './remote.ts'

/** A group-version that a component of this process answers for, until an APIService gives it to another server. */
export interface EmbeddedVersion {
  readonly group: string
  readonly version: string
  readonly resources: readonly RemoteResource[]
  /** Answers a request whose path is below the group-version; it may be made. */
  serve(request: ApiRequest): Promise<ApiResponse>
}

/** The priorities servers of metrics register with. */
export const embeddedPriorities = { groupPriorityMinimum: 100, versionPriority: 100 } as const

/** As discovery sees it: like one of another server that is always there. */
export function toRemote({ group, version, resources }: EmbeddedVersion): RemoteVersion {
  return { group, version, resources, spec: { group, version, ...embeddedPriorities }, isAvailable: true }
}

/** The name of its APIService. */
export function serviceNameOf({ group, version }: Pick<EmbeddedVersion, 'group' | 'version'>): string {
  return `${version}.${group}`
}
