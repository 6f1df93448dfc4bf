import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../errors.ts'
import type { Environment } from '../lifecycle/resource.ts'
import type { Clock } from '../resilience/clock.ts'
import { createApi, isRecord, parseJson, textAt } from './api.ts'
import type { Api, ApiAnswer } from './api.ts'
import { tellChanges } from './dns.ts'
import { endpointsOf, parseSlice } from './endpoint-slice.ts'
import type { Slice } from './endpoint-slice.ts'
import { discoveryFailed } from './errors.ts'
import { runLoop } from './loop.ts'
import type { LoopRound } from './loop.ts'
import type { EndpointSource } from './source.ts'
import type { Scheme } from './target.ts'

export interface KubernetesSourceOptions {
  /** Default: that of the cluster this pod is in. `http://127.0.0.1:8001` reaches a `kubectl proxy`. */
  readonly server?: string | undefined
  /** Default: the token of the service account, read for each request, because the kubelet renews it. */
  readonly token?: string | undefined
  /** PEM of the cluster's authority. Default: that of the service account. */
  readonly ca?: string | undefined
  /** Default: IPv4 where there is any, else IPv6. */
  readonly family?: 4 | 6 | undefined
  /** Default `process.env`. SERVICE_ACCOUNT_DIR names another folder than /var/run/secrets/kubernetes.io/serviceaccount. */
  readonly env?: Environment | undefined
  /** For a request; of a watch, beyond the time it was asked for. Default 10,000. */
  readonly timeoutMs?: number | undefined
  /** How long one watch lasts. Default 300,000. */
  readonly watchMs?: number | undefined
  readonly clock?: Clock | undefined
  readonly random?: (() => number) | undefined
}

interface Target {
  readonly namespace?: string | undefined
  readonly service: string
  readonly port?: string | undefined
  readonly scheme?: Scheme | undefined
}

/**
 * The pods of a Service by its EndpointSlices, listed once and then watched. Needs `list` and `watch` on `endpointslices` of
 * `discovery.k8s.io` in that namespace; for a port of the Service given by number also `get` on `services`, without which the number
 * is taken for that of the pods.
 */
export function createKubernetesSource(target: Target, options: KubernetesSourceOptions = {}): EndpointSource {
  const { namespace, service, port } = target
  const name = `k8s://${namespace === undefined ? '' : `${namespace}/`}${service}${port === undefined ? '' : `:${port}`}`
  return {
    name,
    subscribe(observer) {
      const tell = tellChanges(observer)
      const cluster = openCluster(options)
      const watch = new SliceWatch(name, target, options, cluster, tell)
      const loop = runLoop({
        ...options,
        round: (signal, round) => watch.round(signal, round),
        onError: (error) =>
          observer.error(
            error instanceof Error && 'hint' in error
              ? error
              : discoveryFailed(name, messageOf(error), 'Check that this process may reach the API server', error),
          ),
      })
      return {
        close() {
          loop.close()
          cluster.close()
        },
      }
    },
  }
}

/** What is known of the slices, kept from one watch to the next. */
class SliceWatch {
  readonly #name: string
  readonly #target: Target
  readonly #options: KubernetesSourceOptions
  readonly #cluster: ClusterAccess
  readonly #tell: (endpoints: ReturnType<typeof endpointsOf>) => void
  readonly #slices = new Map<string, Slice>()
  /** Where to watch from; undefined: a list comes first. */
  #version: string | undefined
  #port: string | undefined

  constructor(
    name: string,
    target: Target,
    options: KubernetesSourceOptions,
    cluster: ClusterAccess,
    tell: (endpoints: ReturnType<typeof endpointsOf>) => void,
  ) {
    this.#name = name
    this.#target = target
    this.#options = options
    this.#cluster = cluster
    this.#tell = tell
    this.#port = target.port
  }

  /** One watch, after a list where needed. Gives how long to wait before the next. */
  async round(signal: AbortSignal, round: LoopRound): Promise<number> {
    if (this.#version === undefined) {
      await this.#list(signal)
      round.succeed()
    }
    const { watchMs = 300_000, timeoutMs = 10_000, random = Math.random } = this.#options
    // Not all watches of a deployment are renewed at once.
    const lastsMs = watchMs * (0.8 + random() * 0.2)
    const url = await this.#url({
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: this.#version ?? '',
      timeoutSeconds: String(Math.ceil(lastsMs / 1000)),
    })
    let fault: unknown
    const answer = await this.#cluster.lines(url, signal, lastsMs + timeoutMs, (line) => {
      if (fault !== undefined || signal.aborted) return
      try {
        this.#apply(line)
        round.succeed()
      } catch (error) {
        fault = error
      }
    })
    if (fault !== undefined) {
      this.#version = undefined
      if (fault instanceof Expired) return 0
      throw fault
    }
    // What was watched from is compacted away: everything is listed anew, while what is known stays in use.
    if (answer.status === 410) {
      this.#version = undefined
      return 0
    }
    if (answer.status !== 200) throw toFault(this.#name, answer)
    return 100 * random()
  }

  async #list(signal: AbortSignal): Promise<void> {
    this.#port = await this.#findPort(signal)
    const found = new Map<string, Slice>()
    let version: string | undefined
    let next: string | undefined
    do {
      const url = await this.#url(next === undefined ? { limit: '500' } : { limit: '500', continue: next })
      const answer = await this.#cluster.get(url, signal)
      if (answer.status === 410 && next !== undefined) {
        // The list grew old between two of its pages.
        found.clear()
        next = undefined
        continue
      }
      if (answer.status !== 200) throw toFault(this.#name, answer)
      const list = parseJson(answer.body)
      const items = isRecord(list) ? list['items'] : undefined
      version = textAt(list, 'metadata', 'resourceVersion')
      if (version === undefined || (items !== null && items !== undefined && !Array.isArray(items)))
        throw discoveryFailed(
          this.#name,
          'the answer is not a list of EndpointSlices',
          'Check what the address of the API server leads to',
        )
      for (const item of Array.isArray(items) ? items : []) {
        const slice = parseSlice(item)
        found.set(slice.name, slice)
      }
      next = textAt(list, 'metadata', 'continue') || undefined
      if (next === undefined) break
    } while (!signal.aborted)
    if (signal.aborted) return
    this.#slices.clear()
    for (const [name, slice] of found) this.#slices.set(name, slice)
    this.#version = version
    this.#publish()
  }

  #apply(line: string): void {
    const event = parseJson(line)
    const type = textAt(event, 'type')
    const object = isRecord(event) ? event['object'] : undefined
    if (type === 'ERROR') {
      const code = isRecord(object) ? object['code'] : undefined
      if (code === 410) throw new Expired()
      throw new Error(`the watch ended: ${textAt(object, 'message') ?? 'no reason given'}`)
    }
    const version = textAt(object, 'metadata', 'resourceVersion')
    if (version !== undefined) this.#version = version
    if (type === 'BOOKMARK') return
    const slice = parseSlice(object)
    if (type === 'DELETED') this.#slices.delete(slice.name)
    else this.#slices.set(slice.name, slice)
    this.#publish()
  }

  #publish(): void {
    const { scheme = 'http' } = this.#target
    this.#tell(endpointsOf(this.#slices.values(), { scheme, port: this.#port, family: this.#options.family }))
  }

  /** Slices know ports by the names the Service gives them, and not by its numbers. */
  async #findPort(signal: AbortSignal): Promise<string | undefined> {
    const { port, service } = this.#target
    if (port === undefined || !/^\d+$/.test(port)) return port
    const namespace = await this.#namespace()
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/services/${encodeURIComponent(service)}`
    const answer = await this.#cluster.get(await this.#cluster.url(path, {}), signal)
    if (answer.status !== 200) return port
    const object = parseJson(answer.body)
    const spec = isRecord(object) ? object['spec'] : undefined
    const ports: unknown = isRecord(spec) ? spec['ports'] : undefined
    const found = (Array.isArray(ports) ? ports : []).find((one) => isRecord(one) && one['port'] === Number(port))
    return found === undefined ? port : (textAt(found, 'name') ?? '')
  }

  async #namespace(): Promise<string> {
    return this.#target.namespace ?? (await this.#cluster.namespace())
  }

  async #url(query: Readonly<Record<string, string>>): Promise<URL> {
    const path = `/apis/discovery.k8s.io/v1/namespaces/${encodeURIComponent(await this.#namespace())}/endpointslices`
    return await this.#cluster.url(path, {
      labelSelector: `kubernetes.io/service-name=${this.#target.service}`,
      ...query,
    })
  }
}

/** What was watched from is too old: it has to be listed again. */
class Expired extends Error {}

interface ClusterAccess {
  url(path: string, query: Readonly<Record<string, string>>): Promise<URL>
  namespace(): Promise<string>
  get(url: URL, signal: AbortSignal): Promise<ApiAnswer>
  lines(url: URL, signal: AbortSignal, timeoutMs: number, onLine: (line: string) => void): Promise<ApiAnswer>
  close(): void
}

function openCluster(options: KubernetesSourceOptions): ClusterAccess {
  const env = options.env ?? process.env
  const timeoutMs = options.timeoutMs ?? 10_000
  let opened: { readonly ca: string | undefined; readonly api: Api } | undefined
  let isClosed = false

  const account = async (file: 'token' | 'ca.crt' | 'namespace'): Promise<string> => {
    const path = join(env['SERVICE_ACCOUNT_DIR'] || '/var/run/secrets/kubernetes.io/serviceaccount', file)
    try {
      return await readFile(path, 'utf8')
    } catch (error) {
      throw discoveryFailed(
        'k8s',
        `the service account has no ${JSON.stringify(path)}`,
        'Let the pod mount its service account token (automountServiceAccountToken)',
        error,
      )
    }
  }
  const isOwn = options.server === undefined
  const openApi = async (): Promise<Api> => {
    const ca = options.ca ?? (isOwn ? await account('ca.crt') : undefined)
    if (opened === undefined || opened.ca !== ca) {
      opened?.api.close()
      opened = { ca, api: createApi(ca === undefined ? {} : { ca }) }
      if (isClosed) opened.api.close()
    }
    return opened.api
  }
  const headers = async (): Promise<Record<string, string>> => {
    const token = options.token ?? (isOwn ? (await account('token')).trim() : undefined)
    return { accept: 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) }
  }
  const server = (): string => {
    if (options.server !== undefined) return options.server
    const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env
    if (!host)
      throw discoveryFailed(
        'k8s',
        'this process is not in a pod: KUBERNETES_SERVICE_HOST is not set',
        'Outside of a cluster give the option server, such as the address of kubectl proxy, or use another address',
      )
    return `https://${host.includes(':') ? `[${host}]` : host}:${port}`
  }
  return {
    async url(path, query) {
      const url = new URL(path, server())
      for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value)
      return url
    },
    namespace: async () => (isOwn ? (await account('namespace')).trim() : 'default'),
    get: async (url, signal) => await (await openApi()).call({ url, headers: await headers(), signal, timeoutMs }),
    lines: async (url, signal, lastsMs, onLine) =>
      await (await openApi()).lines({ url, headers: await headers(), signal, timeoutMs: lastsMs }, onLine),
    close() {
      isClosed = true
      opened?.api.close()
    },
  }
}

function toFault(name: string, { status, body }: ApiAnswer): Error {
  const message = textAt(parseJson(body), 'message')?.slice(0, 300)
  const state = `the API server answered ${status}${message ? `: ${message}` : ''}`
  if (status === 401 || status === 403)
    return discoveryFailed(
      name,
      state,
      'Bind a Role to the service account that allows "list" and "watch" on endpointslices of discovery.k8s.io',
    )
  return discoveryFailed(name, state, 'Look at the API server of the cluster')
}
