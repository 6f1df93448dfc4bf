// An API server for the tests of this package: it stores, patches, lists, watches and deletes, and knows no defaults.
import { createKubeClient, type KubeClient, type Transport, type TransportResponse } from '@fairlead/kube'
import { applyStrategicMergePatch } from '@fairlead/kube/patch'
import { findResource, type KubeObject } from '@fairlead/kube/types'

/** A cluster in memory. */
export interface Double {
  readonly client: KubeClient
  /** Objects by path. */
  readonly store: ReadonlyMap<string, KubeObject>
  /** Requests that may change something, such as `PATCH /api/v1/...`. */
  readonly writes: string[]
  /** Writes an object past the API, as a controller or another client would. */
  readonly put: (path: string, object: KubeObject) => void
}

export interface DoubleOptions {
  /** Called before each request is answered; may interfere. */
  readonly before?: (method: string, path: string, double: Double) => void
  /** Logs by the name of the pod; with `previous`, those of the container before. */
  readonly logs?: Readonly<Record<string, { readonly current?: string; readonly previous?: string }>>
}

interface Change {
  readonly version: number
  readonly path: string
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly object: KubeObject
}

/** Makes an empty cluster. */
export function createDouble(options: DoubleOptions = {}): Double {
  const store = new Map<string, KubeObject>()
  const writes: string[] = []
  const changes: Change[] = []
  const listeners = new Set<() => void>()

  const record = (path: string, type: Change['type'], object: KubeObject): KubeObject => {
    const version = changes.length + 1
    const versioned = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } }
    if (type === 'DELETED') store.delete(path)
    else store.set(path, versioned)
    changes.push({ version, path, type, object: versioned })
    for (const wake of listeners) wake()
    return versioned
  }
  const save = (path: string, object: KubeObject): KubeObject =>
    record(path, store.has(path) ? 'MODIFIED' : 'ADDED', object)

  const transport: Transport = {
    async send({ method, path, body, signal }) {
      const url = new URL(path, 'http://double')
      options.before?.(method, url.pathname, double)
      if (method !== 'GET') writes.push(`${method} ${url.pathname}`)
      if (url.pathname.endsWith('/log')) return answerLog(url)
      // As a server without WatchList.
      if (url.searchParams.has('sendInitialEvents'))
        return answer(422, { kind: 'Status', code: 422, reason: 'Invalid' })
      if (method === 'GET' && isCollection(url.pathname)) {
        return url.searchParams.get('watch') === 'true' ? watch(url, signal) : answer(200, list(url))
      }
      const sent: KubeObject | undefined =
        method === 'POST' || method === 'PATCH' ? JSON.parse(String(body)) : undefined
      return method === 'POST' && sent ? post(url.pathname, sent) : change(method, url.pathname, sent)
    },
  }
  const double: Double = { client: createKubeClient({ transport }), store, writes, put: save }
  return double

  function post(path: string, sent: KubeObject): TransportResponse {
    const key = `${path}/${sent.metadata.name}`
    return store.has(key) ? refuse(409, 'AlreadyExists') : answer(201, save(key, sent))
  }

  function change(method: string, path: string, sent: KubeObject | undefined): TransportResponse {
    const known = store.get(path)
    if (!known) return refuse(404, 'NotFound')
    if (method === 'DELETE') return answer(200, record(path, 'DELETED', known))
    if (method !== 'PATCH') return answer(200, known)
    const patched = applyStrategicMergePatch(known, sent, definitionOf(path))
    return isObject(patched) ? answer(200, save(path, patched)) : refuse(422, 'Invalid')
  }

  function list(url: URL): unknown {
    const items = [...store].filter(([path, object]) => matches(url, path, object)).map(([, object]) => object)
    return { apiVersion: 'v1', kind: 'List', metadata: { resourceVersion: String(changes.length) }, items }
  }

  function watch(url: URL, signal: AbortSignal | undefined): TransportResponse {
    return { status: 200, headers: { 'content-type': 'application/json' }, body: stream(url, signal) }
  }

  async function* stream(url: URL, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    let next = Number(url.searchParams.get('resourceVersion') ?? 0)
    for (;;) {
      signal?.throwIfAborted()
      for (; next < changes.length; next++) {
        const { type, object, path } = changes[next] ?? {}
        if (object && matches(url, path ?? '', object)) yield Buffer.from(`${JSON.stringify({ type, object })}\n`)
      }
      await nextChange(signal)
    }
  }

  async function nextChange(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    listeners.add(resolve)
    signal?.addEventListener('abort', () => resolve(), { once: true })
    await promise
    listeners.delete(resolve)
  }

  function answerLog(url: URL): TransportResponse {
    const pod = url.pathname.split('/').at(-2) ?? ''
    const text = options.logs?.[pod]?.[url.searchParams.get('previous') === 'true' ? 'previous' : 'current']
    return text === undefined ? refuse(400, 'BadRequest') : { status: 200, headers: {}, body: toBody(text) }
  }
}

function isObject(value: unknown): value is KubeObject {
  return typeof value === 'object' && value !== null && 'metadata' in value
}

/** `/api/v1/pods`, `/apis/apps/v1/namespaces/x/deployments`: an object has a name more. */
function isCollection(path: string): boolean {
  const parts = path.split('/').slice(path.startsWith('/apis/') ? 4 : 3)
  return parts.length === 3 || (parts.length === 1 && parts[0] !== 'namespaces')
}

function matches(url: URL, path: string, object: KubeObject): boolean {
  const terms = (url.searchParams.get('labelSelector') ?? '').split(',').filter((term) => term !== '')
  const isLabelled = terms.every((term) => object.metadata.labels?.[term.split('=')[0] ?? ''] === term.split('=')[1])
  const inAnyNamespace = path.replace(/\/namespaces\/[^/]+(?=\/[^/]+\/[^/]+$)/, '')
  return (path.startsWith(`${url.pathname}/`) || inAnyNamespace.startsWith(`${url.pathname}/`)) && isLabelled
}

function definitionOf(path: string): string {
  const parts = path.split('/')
  const [group, version, plural] = path.startsWith('/apis/') ? [parts[2], parts[3], parts[6]] : ['', parts[2], parts[5]]
  return findResource(group ?? '', version ?? '', plural ?? '')?.definition ?? ''
}

function answer(status: number, value: unknown): TransportResponse {
  return { status, headers: { 'content-type': 'application/json' }, body: toBody(JSON.stringify(value)) }
}

function refuse(code: number, reason: string): TransportResponse {
  return answer(code, { apiVersion: 'v1', kind: 'Status', status: 'Failure', code, reason, message: reason })
}

async function* toBody(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text)
}
