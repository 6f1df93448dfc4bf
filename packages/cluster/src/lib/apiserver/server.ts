import type { Transport } from '@fairlead/kube'
import type { KubeObject } from '@fairlead/kube/types'

import type { Store } from '../storage/store.ts'
import { Admission } from './admission.ts'
import { authenticated, Authenticator } from './authentication.ts'
import type { ApiRequest, ApiResponse, Identity } from './exchange.ts'
import { Catalogue } from './catalogue.ts'
import { expireEvents } from './expiry.ts'
import { handle } from './handler.ts'
import type { HandlerContext } from './handler.ts'
import { listen } from './http-server.ts'
import type { Listener, ListenOptions } from './http-server.ts'
import { createOpenApi } from './openapi/document.ts'
import type { Kubelet } from './pod-log.ts'
import { Registry } from './registry.ts'
import { knownResource } from './resource.ts'
import { createTransport } from './transport.ts'

export interface ApiServerOptions {
  /** Where objects are kept; stays open when the server closes. */
  store: Store
  /** Bearer tokens that are believed, and who holds them. Default none. */
  tokens?: ReadonlyMap<string, Identity> | undefined
  /** Where cluster addresses of services come from. Default `10.96.0.0/16`. */
  serviceCidr?: string | undefined
  /** First and last node port. Default `30000-32767`. */
  nodePortRange?: string | undefined
  /** How to reach the agent of a node, for logs. Default: no node can be reached. */
  kubelet?: ((nodeName: string) => Promise<Kubelet>) | undefined
  /** Told of faults inside the server; the client got a 500. Default: ignored. */
  onError?: ((error: unknown) => void) | undefined
  /** Milliseconds since 1970. Default `Date.now`. */
  now?: (() => number) | undefined
}

/** A Kubernetes API on top of a store, reachable in this process and by HTTPS. */
export interface ApiServer {
  /** Resolves when the namespaces every cluster has are there; requests before that wait for it. */
  ready(): Promise<void>
  /** Reaches the server from inside this process as `identity`, which is believed. */
  transport(identity: Identity): Transport
  /** Serves HTTPS; throws `FAIRLEAD_CLUSTER_LISTEN` when the address cannot be had. */
  listen(options: ListenOptions): Promise<{ readonly port: number }>
  /** Ends watches and listeners. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export function createApiServer(options: ApiServerOptions): ApiServer {
  return new Server(options)
}

const firstNamespaces = ['default', 'kube-system', 'kube-public', 'kube-node-lease']

class Server implements ApiServer {
  readonly #context: HandlerContext
  readonly #admission: Admission
  readonly #closing = new AbortController()
  readonly #listeners: Listener[] = []
  readonly #stopExpiry: () => void
  #ready: Promise<void> | undefined

  constructor(options: ApiServerOptions) {
    const { store, serviceCidr = '10.96.0.0/16', nodePortRange = '30000-32767', now = Date.now } = options
    const onError = options.onError ?? (() => undefined)
    const catalogue = new Catalogue()
    this.#admission = new Admission(store, { serviceCidr, nodePortRange })
    this.#context = {
      store,
      registry: new Registry({ store, admission: this.#admission, now }),
      authenticator: new Authenticator(options.tokens ?? new Map()),
      catalogue,
      openApi: createOpenApi(catalogue),
      findKubelet: options.kubelet ?? unreachable,
      onError,
    }
    this.#stopExpiry = expireEvents(store, now, onError)
  }

  ready(): Promise<void> {
    this.#ready ??= createNamespaces(this.#context).catch((error: unknown) => {
      // The next request tries again: a full disk may have space by then.
      this.#ready = undefined
      throw error
    })
    return this.#ready
  }

  transport(identity: Identity): Transport {
    return createTransport(authenticated(identity), (request) => this.#handle(request), this.#closing.signal)
  }

  async listen(options: ListenOptions): Promise<{ readonly port: number }> {
    await this.ready()
    const { authenticator, onError } = this.#context
    const listener = await listen({ authenticator, onError, handle: (request) => this.#handle(request) }, options)
    this.#listeners.push(listener)
    return { port: listener.port }
  }

  async close(): Promise<void> {
    this.#stopExpiry()
    this.#closing.abort()
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close()))
    this.#admission.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #handle(request: ApiRequest): Promise<ApiResponse> {
    // Reads are served even when the first writes failed.
    await this.ready().catch(() => undefined)
    return await handle(this.#context, request)
  }
}

async function createNamespaces({ store, registry }: HandlerContext): Promise<void> {
  const namespaces = knownResource('', 'v1', 'namespaces')
  const missing = firstNamespaces.filter((name) => store.get('namespaces', name) === undefined)
  await Promise.all(
    missing.map((name) => {
      const object: KubeObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
      return registry.create(namespaces, object, { namespace: '', isDryRun: false })
    }),
  )
}

function unreachable(nodeName: string): Promise<never> {
  return Promise.reject(new Error(`no agent is known for node "${nodeName}"`))
}
