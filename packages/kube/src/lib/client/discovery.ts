import { kindUnknown } from './errors.ts'
import { isNotFound } from './kube-error.ts'
import type { ResourceLocation } from './resource-client.ts'
import { readJson } from './transport.ts'
import type { TransportRequest, TransportResponse } from './transport.ts'

type Request = (request: TransportRequest) => Promise<TransportResponse>

/** A resource the server serves now, by discovery. */
export interface ServedResource extends ResourceLocation {
  readonly apiVersion: string
  readonly kind: string
  readonly verbs: readonly string[]
}

/** The resource of a kind in one group version. Throws FAIRLEAD_KUBE_KIND when the server has none. */
export async function discoverKind(request: Request, apiVersion: string, kind: string): Promise<ServedResource> {
  try {
    const resources = await discoverGroupVersion(request, apiVersion)
    const found = resources.find((resource) => resource.kind === kind)
    if (found !== undefined) {
      return found
    }
  } catch (error) {
    throw isNotFound(error) ? kindUnknown(apiVersion, kind, error) : error
  }
  throw kindUnknown(apiVersion, kind)
}

/**
 * Everything the server serves, each resource once in its group's preferred version, subresources left out. Group
 * versions that fail (an aggregated API that is down) are given to `onError` and skipped.
 */
export async function discoverResources(
  client: { request: Request },
  options: {
    readonly onError?: (error: unknown, apiVersion: string) => void
    readonly signal?: AbortSignal | undefined
  } = {},
): Promise<ServedResource[]> {
  const apiVersions = ['v1', ...(await preferredVersions(client.request, options.signal))]
  const lists = await Promise.all(
    apiVersions.map(async (apiVersion) => {
      try {
        return await discoverGroupVersion(client.request, apiVersion, options.signal)
      } catch (error) {
        options.onError?.(error, apiVersion)
        return []
      }
    }),
  )
  return lists.flat()
}

async function preferredVersions(request: Request, signal: AbortSignal | undefined): Promise<string[]> {
  const response = await request({ method: 'GET', path: '/apis', headers: { accept: 'application/json' }, signal })
  const list = (await readJson(response.body)) as { groups?: GroupJson[] }
  return (list.groups ?? []).flatMap(({ preferredVersion, versions }) => {
    const groupVersion = preferredVersion?.groupVersion ?? versions?.[0]?.groupVersion
    return groupVersion === undefined ? [] : [groupVersion]
  })
}

async function discoverGroupVersion(
  request: Request,
  apiVersion: string,
  signal?: AbortSignal,
): Promise<ServedResource[]> {
  const path = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const response = await request({ method: 'GET', path, headers: { accept: 'application/json' }, signal })
  const list = (await readJson(response.body)) as { resources?: ResourceJson[] }
  const slash = apiVersion.indexOf('/')
  const group = apiVersion.slice(0, Math.max(slash, 0))
  const version = apiVersion.slice(slash + 1)
  return (list.resources ?? [])
    .filter(({ name }) => !name.includes('/'))
    .map(({ name, kind, namespaced, verbs }) => {
      return { apiVersion, group, version, kind, plural: name, namespaced, verbs: verbs ?? [] }
    })
}

interface GroupJson {
  preferredVersion?: { groupVersion?: string }
  versions?: { groupVersion?: string }[]
}

interface ResourceJson {
  name: string
  kind: string
  namespaced: boolean
  verbs?: string[]
}
