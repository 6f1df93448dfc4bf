import type { Pod } from '@fairlead/kube/types/core-v1'

/** Where a pod tells its metrics. */
export interface ScrapeTarget {
  readonly host: string
  readonly port: number
  readonly path: string
}

const prefix = 'prometheus.io'

/**
 * Where the annotations `prometheus.io/scrape`, `port` and `path` say that a running pod tells its metrics; undefined for a pod
 * without them. Default: `/metrics` at the first port of its containers.
 */
export function scrapeTargetOf({ metadata, spec, status }: Pod): ScrapeTarget | undefined {
  const { annotations = {} } = metadata ?? {}
  const host = status?.podIP ?? ''
  if (annotations[`${prefix}/scrape`] !== 'true' || status?.phase !== 'Running' || host === '') return undefined
  const declared = spec?.containers.flatMap(({ ports = [] }) => ports)[0]?.containerPort ?? 80
  const port = Number(annotations[`${prefix}/port`] ?? declared)
  const path = annotations[`${prefix}/path`] ?? '/metrics'
  const isValid = Number.isInteger(port) && port > 0 && port < 65_536 && path.startsWith('/')
  return isValid && (annotations[`${prefix}/scheme`] ?? 'http') === 'http' ? { host, port, path } : undefined
}
