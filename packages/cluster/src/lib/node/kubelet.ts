import { access } from 'node:fs/promises'

import type { ContainerRuntime } from '@fairlead/oci/runtime'

import { createKubeletStreams } from './kubelet-streams.ts'
import type { KubeletStreams } from './kubelet-streams.ts'
import { readLog } from './log-reader.ts'
import type { LogOptions } from './log-reader.ts'
import type { PodWorker } from './pod-worker.ts'
import { renderResourceMetrics, renderSummary } from './usage/render-usage.ts'
import type { Readings } from './usage/usage-meter.ts'

/** A request to a node's agent, as the API server sends it. */
export interface KubeletRequest {
  readonly method: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: Uint8Array | undefined
  readonly signal?: AbortSignal | undefined
}

export interface KubeletResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: AsyncIterable<Uint8Array>
}

/** The kubelet's own API, as far as the API server needs it. */
export interface Kubelet extends KubeletStreams {
  fetch(request: KubeletRequest): Promise<KubeletResponse>
}

/** Serves `/containerLogs/<namespace>/<pod>/<container>`, `/pods`, `/stats/summary`, `/metrics/resource` and `/healthz`. */
export function createKubelet(
  findPod: (namespace: string, name: string) => PodWorker | undefined,
  pods: () => readonly PodWorker[],
  runtime: ContainerRuntime,
  usage: { readonly nodeName: string; readonly read: () => Promise<Readings> },
): Kubelet {
  return {
    ...createKubeletStreams(findPod, runtime),
    async fetch({ method, path, signal }) {
      const url = new URL(path, 'http://node')
      if (method !== 'GET') return answer(405, 'method not allowed\n')
      if (url.pathname === '/healthz') return answer(200, 'ok')
      if (url.pathname === '/stats/summary') {
        return answer(200, JSON.stringify(renderSummary(usage.nodeName, await usage.read())), 'application/json')
      }
      if (url.pathname === '/metrics/resource') {
        return answer(200, renderResourceMetrics(await usage.read()), 'text/plain; version=0.0.4')
      }
      if (url.pathname === '/pods') {
        const items = pods().map(({ pod }) => pod)
        return answer(
          200,
          JSON.stringify({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items }),
          'application/json',
        )
      }
      const [, route, namespace = '', name = '', container = ''] = url.pathname.split('/').map(decodeURIComponent)
      if (route !== 'containerLogs') return answer(404, `no such path: ${url.pathname}\n`)
      const worker = findPod(namespace, name)
      if (!worker) return answer(404, `pod ${name}_${namespace} is not on this node\n`)
      return containerLogs(worker, container, url.searchParams, signal)
    },
  }
}

async function containerLogs(
  worker: PodWorker,
  container: string,
  query: URLSearchParams,
  signal: AbortSignal | undefined,
): Promise<KubeletResponse> {
  const log = worker.logOf(container)
  if (!log) return answer(404, `container ${container} not found in pod ${worker.pod.metadata?.name}\n`)
  const wantsPrevious = query.get('previous') === 'true'
  const path = wantsPrevious ? log.previous : log.current
  const subject = `container "${container}" in pod "${worker.pod.metadata?.name}"`
  if (path === undefined) return answer(400, `previous terminated ${subject} not found\n`)
  if (!wantsPrevious && !worker.hasLog(container) && !(await exists(path))) {
    return answer(400, `${subject} is waiting to start\n`)
  }
  const options = readOptions(query)
  if (options instanceof Error) return answer(400, `${options.message}\n`)
  const isOpen = wantsPrevious ? () => false : log.isOpen
  const follow = options.follow === true && !wantsPrevious
  return {
    status: 200,
    headers: { 'content-type': 'text/plain' },
    body: readLog(path, { ...options, follow, isOpen, signal }),
  }
}

function readOptions(query: URLSearchParams): LogOptions | Error {
  const number = (name: string): number | undefined => {
    const text = query.get(name)
    if (text === null || text === '') return undefined
    if (!/^\d+$/.test(text)) throw new RangeError(`${name} must be a whole number, not "${text}"`)
    return Number(text)
  }
  try {
    const seconds = number('sinceSeconds')
    const time = query.get('sinceTime')
    const since = seconds === undefined ? (time ? Date.parse(time) : undefined) : Date.now() - seconds * 1000
    if (since !== undefined && Number.isNaN(since)) throw new RangeError(`sinceTime must be a time, not "${time}"`)
    const stream = query.get('stream')?.toLowerCase()
    return {
      follow: query.get('follow') === 'true',
      timestamps: query.get('timestamps') === 'true',
      tailLines: number('tailLines'),
      limitBytes: number('limitBytes'),
      since,
      ...(stream === 'stdout' || stream === 'stderr' ? { stream } : {}),
    }
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

function answer(status: number, text: string, type = 'text/plain'): KubeletResponse {
  return {
    status,
    headers: { 'content-type': type },
    body: (async function* body() {
      yield Buffer.from(text)
    })(),
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
