import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { isIP } from 'node:net'
import type { AddressInfo } from 'node:net'

import { registryListen, registrySetting } from '../../errors.ts'
import { createRegistryClient } from '../client.ts'
import { createAccess } from './access.ts'
import type { AccessOptions } from './access.ts'
import { checkStore, isIntact } from './check.ts'
import type { CheckOptions, StoreReport } from './check.ts'
import { collectGarbage, recoverCollected } from './collect.ts'
import type { Collected, CollectOptions } from './collect.ts'
import { createHandler } from './handler.ts'
import type { PushEvent } from './call.ts'
import { createImmutability } from './immutability.ts'
import type { TagMutabilityRule } from './immutability.ts'
import { openRegistryStore, RegistryStore } from './store.ts'
import { Uploads } from './uploads.ts'
import type { UploadLimits } from './uploads.ts'
import { PullThrough } from './upstream.ts'
import type { Upstream, UpstreamClient } from './upstream.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { createServer } = process.getBuiltinModule('node:http')

/** Something that happened in a registry. */
export interface RegistryLog {
  level: 'info' | 'warn'
  msg: string
  [field: string]: unknown
}

/** How to keep and serve a registry. */
export interface RegistryOptions extends AccessOptions, Partial<UploadLimits> {
  /** Directory of the store: an OCI layout, or one that becomes one. Images built into it are served as they are. */
  dir: string
  /** Names this registry in tokens; default `fairlead-registry`. */
  service?: string | undefined
  /** Whether tags may be moved; default: they may. */
  tagMutability?: readonly TagMutabilityRule[] | undefined
  /** Other registries that are served through this one. */
  upstreams?: readonly Upstream[] | undefined
  /** Fetches from upstreams; default: an anonymous client. */
  upstreamClient?: UpstreamClient | undefined
  /**
   * Whether a manifest may point at content that is not in the repository: `accept` is for mirrors of parts of images.
   * Default `reject`, with MANIFEST_BLOB_UNKNOWN.
   */
  missingContent?: 'reject' | 'accept' | undefined
  /** What is garbage, and how often it is collected; default: hourly, what nothing has pointed at for 24 hours. */
  collect?: (Pick<CollectOptions, 'graceMs' | 'untaggedAfterMs'> & { everyMs?: number | undefined }) | undefined
  /** How often every blob is read and checked, and how fast; default: never. */
  scrub?: { everyMs: number; maxBytesPerSecond?: number | undefined } | undefined
  /** Called for each manifest that was pushed, after the client was answered: where scanning begins. */
  onPushed?: ((event: PushEvent) => unknown) | undefined
  onLog?: ((entry: RegistryLog) => void) | undefined
}

/** A registry that is open; it answers requests and looks after its store. */
export interface Registry {
  readonly dir: string
  readonly store: RegistryStore
  /** Answers one request of distribution-spec 1.1: what a server of any kind calls. Never rejects. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>
  /** Collects garbage now. */
  collect(options?: CollectOptions): Promise<Collected>
  /** Reads and checks the store now. */
  check(options?: CheckOptions): Promise<StoreReport>
  /** Ends the work in the background; requests that run are not cut off. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Where to listen. */
export interface ServeOptions extends RegistryOptions {
  /** Default: a free one. */
  port?: number | undefined
  /** Default `127.0.0.1`. Any other address needs TLS or `plainHttp`, and logins or an `anonymous` that was asked for. */
  host?: string | undefined
  /** Key and certificate (with its chain) in PEM. */
  tls?: { key: string | Buffer; cert: string | Buffer } | undefined
  /** Serve other machines without TLS; for a proxy in front that has it. */
  plainHttp?: boolean | undefined
  /** Names clients use for it, without port, beside addresses and `localhost`; requests for other names are refused. */
  names?: readonly string[] | undefined
  /** How long a connection may be silent in the middle of a request; default 60 s. */
  idleTimeoutMs?: number | undefined
}

/** A registry that listens. */
export interface ServedRegistry extends Registry {
  /** Such as `http://127.0.0.1:5000`. */
  readonly url: string
  /** What references begin with, such as `127.0.0.1:5000`. */
  readonly address: string
}

const HOUR_MS = 3_600_000
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** Opens the registry in `dir` without listening. Throws FAIRLEAD_OCI_LAYOUT, FAIRLEAD_OCI_REGISTRY_SETTING. */
export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  return open(options, { isTls: false, isAllowedHost: () => true })
}

/**
 * Opens the registry in `dir` and serves it by HTTP/1.1. Throws FAIRLEAD_OCI_LAYOUT, FAIRLEAD_OCI_REGISTRY_SETTING,
 * FAIRLEAD_OCI_REGISTRY_LISTEN.
 *
 * @example
 * ```ts
 * import { serveRegistry } from '@fairlead/oci/server'
 *
 * await using registry = await serveRegistry({ dir: '/tmp/fairlead-registry-example' })
 * const answer = await fetch(`${registry.url}/v2/_catalog`) // { repositories: [] }
 * ```
 */
export async function serveRegistry(options: ServeOptions): Promise<ServedRegistry> {
  const { host = '127.0.0.1', port = 0, tls } = options
  checkExposure(options, host)
  const isAllowedHost = createHostCheck(host, options.names ?? [])
  const registry = await open(options, { isTls: tls !== undefined, isAllowedHost })
  try {
    const server = createListener(options, registry.handle)
    const bound = await listen(server, host, port)
    const shown = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
    const address = `${isIP(shown) === 6 ? `[${shown}]` : shown}:${bound}`
    const close = async (): Promise<void> => {
      await closeServer(server)
      await registry.close()
    }
    return { ...registry, url: `${tls ? 'https' : 'http'}://${address}`, address, close, [Symbol.asyncDispose]: close }
  } catch (error) {
    await registry.close()
    throw error
  }
}

async function open(
  options: RegistryOptions,
  listening: { isTls: boolean; isAllowedHost: (host: string | undefined) => boolean },
): Promise<Registry> {
  const log = options.onLog ?? (() => {})
  const access = createAccess(options, options.service ?? 'fairlead-registry', listening.isTls)
  const isImmutable = createImmutability(options.tagMutability ?? [])
  const store = await openRegistryStore(options.dir)
  const uploads = new Uploads(store, {
    maxUploads: options.maxUploads ?? 1000,
    maxBlobBytes: options.maxBlobBytes ?? 20 * 2 ** 30,
    uploadIdleMs: options.uploadIdleMs ?? 24 * HOUR_MS,
  })
  await recoverCollected(store)
  await uploads.load()
  const upstreams = options.upstreams ?? []
  const client = options.upstreamClient ?? (upstreams.length > 0 ? createRegistryClient() : undefined)
  const pullThrough = client ? new PullThrough(store, upstreams, client) : undefined
  const handle = createHandler({
    store,
    uploads,
    access,
    isImmutable,
    pullThrough,
    missingContent: options.missingContent ?? 'reject',
    isAllowedHost: listening.isAllowedHost,
    onPushed: (event) => void notify(options, event),
    onError: (err, request) => log({ level: 'warn', msg: 'registry request failed', ...request, err }),
  })
  const { everyMs = HOUR_MS, ...kept } = options.collect ?? {}
  const collect = (now: CollectOptions = {}): Promise<Collected> => collectGarbage(store, { ...kept, ...now })
  const check = (now: CheckOptions = {}): Promise<StoreReport> => checkStore(store, now)
  const background = new Background(log)
  background.repeat('collection', everyMs, async (signal) => {
    await uploads.expire()
    const collected = await collect({ signal })
    if (collected.blobs + collected.manifests > 0) log({ level: 'info', msg: 'garbage collected', ...collected })
  })
  if (options.scrub) {
    const { everyMs: scrubMs, maxBytesPerSecond } = options.scrub
    background.repeat('scrub', scrubMs, async (signal) => {
      const { problems, blobs, bytes } = await check({ signal, maxBytesPerSecond })
      const level = isIntact({ problems } as StoreReport) ? 'info' : 'warn'
      log({ level, msg: 'store scrubbed', blobs, bytes, problems })
    })
  }
  const close = (): Promise<void> => background.close()
  return { dir: store.dir, store, handle, collect, check, close, [Symbol.asyncDispose]: close }
}

/** The client has its answer: a callback that fails is told of in the log. */
async function notify({ onPushed, onLog }: RegistryOptions, event: PushEvent): Promise<void> {
  try {
    await onPushed?.(event)
  } catch (err) {
    onLog?.({ level: 'warn', msg: 'push callback failed', repository: event.repository, digest: event.digest, err })
  }
}

/** Work that is done again and again until the registry is closed. */
class Background {
  readonly #controller = new AbortController()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #running = new Set<Promise<void>>()
  readonly #log: (entry: RegistryLog) => void

  constructor(log: (entry: RegistryLog) => void) {
    this.#log = log
  }

  /** 0 means never. */
  repeat(name: string, everyMs: number, act: (signal: AbortSignal) => Promise<void>): void {
    if (everyMs <= 0) return
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer)
        const running = this.#once(name, act).finally(() => {
          this.#running.delete(running)
          if (!this.#controller.signal.aborted) this.repeat(name, everyMs, act)
        })
        this.#running.add(running)
      },
      Math.min(everyMs, LONGEST_TIMER_MS),
    )
    timer.unref()
    this.#timers.add(timer)
  }

  async #once(name: string, act: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = this.#controller
    try {
      await act(signal)
    } catch (err) {
      if (!signal.aborted) this.#log({ level: 'warn', msg: `registry ${name} failed`, err })
    }
  }

  async close(): Promise<void> {
    this.#controller.abort()
    for (const timer of this.#timers) clearTimeout(timer)
    await Promise.all(this.#running)
  }
}

function createListener(options: ServeOptions, handle: Registry['handle']): Server {
  const listener = (request: IncomingMessage, response: ServerResponse): void => void handle(request, response)
  // Uploads may take hours, as long as something arrives: a limit on silence, none on the whole.
  const limits = { requestTimeout: 0, headersTimeout: 20_000, keepAliveTimeout: 65_000, maxHeaderSize: 32_768 }
  const { tls } = options
  const server = tls
    ? createTlsServer({ ...limits, ...tls, minVersion: 'TLSv1.2' }, listener)
    : createServer(limits, listener)
  server.setTimeout(options.idleTimeoutMs ?? 60_000)
  return server
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.once('error', (error: NodeJS.ErrnoException) =>
    reject(registryListen(`${host}:${port}`, stateOf(error), error)),
  )
  server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  return promise
}

function stateOf({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'EADDRINUSE') return 'the port is in use'
  if (code === 'EACCES') return 'this user may not listen there'
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') return 'this machine does not have that address'
  return message
}

/** Answers what is under way, for a short while. */
async function closeServer(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  server.close(() => resolve())
  server.closeIdleConnections()
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS)
  await promise
  clearTimeout(timer)
}

const CLOSE_GRACE_MS = 5000

function checkExposure(options: ServeOptions, host: string): void {
  if (isLoopback(host)) return
  if (!options.tls && !options.plainHttp) {
    throw registrySetting(
      `address "${host}"`,
      'other machines could reach it without TLS',
      'Give it a key and a certificate, or say plainHttp (--plain-http) where a proxy in front has TLS',
    )
  }
  const isOpen = [options.htpasswd, options.tokens, options.owner?.password].every((login) => login === undefined)
  if (isOpen && options.anonymous === undefined && options.rules === undefined) {
    throw registrySetting(
      `address "${host}"`,
      'other machines could push to it without a login',
      'Name a password file (htpasswd), or say what anonymous users may do',
    )
  }
}

/** On a loopback address only its own names are answered: a name of somebody else's that leads here is an attack. */
function createHostCheck(host: string, names: readonly string[]): (header: string | undefined) => boolean {
  const known = new Set(['localhost', host, ...names].map((name) => name.toLowerCase()))
  const isOpen = !isLoopback(host) && names.length === 0
  return (header) => {
    if (isOpen) return true
    const name = /^(?:\[([0-9a-fA-F:.]+)\]|([^:]*))(?::\d+)?$/.exec(header ?? '')
    const bare = (name?.[1] ?? name?.[2] ?? '').toLowerCase()
    return known.has(bare) || isIP(bare) !== 0
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}
