import type { Transport } from '@fairlead/kube'
import type { KubeObject } from '@fairlead/kube/types'

import type { Store } from '../storage/store.ts'
import { Admission } from './admission.ts'
import { ApiServices } from './aggregation/api-services.ts'
import type { FrontProxy } from './aggregation/forward.ts'
import { AdmittedRegistry } from './admission/admitted-registry.ts'
import { DynamicAdmission } from './admission/dynamic-admission.ts'
import { followPolicies } from './admission/policies/type-checking.ts'
import { followQuotas } from './admission/quota/quota-status.ts'
import { systemClasses } from './admission/plugins/priority.ts'
import { createServiceResolver } from './admission/webhooks/service-address.ts'
import { Access } from './access/access.ts'
import type { Auditor } from './access/audit/auditor.ts'
import { authenticated } from './access/authenticator.ts'
import type { Attributes } from './access/attributes.ts'
import { asksImpersonation } from './access/impersonation.ts'
import { askedAttributes } from './access/request-attributes.ts'
import { OriginCheck } from './access/origin.ts'
import { bootstrapRoles } from './access/rbac/bootstrap.ts'
import { WriteGuard } from './access/write-guard.ts'
import type { ApiRequest, ApiResponse, Identity } from './exchange.ts'
import { Catalogue } from './catalogue.ts'
import type { Component } from './component-status.ts'
import { compactHistory } from './compaction.ts'
import { expireEvents } from './expiry.ts'
import { FanOut } from './fan-out.ts'
import { handle, renderError } from './handler.ts'
import type { HandlerContext } from './handler-context.ts'
import { listen } from './http-server.ts'
import type { Listener, ListenOptions } from './http-server.ts'
import { Definitions } from './custom-resources/definitions.ts'
import { followDangling, reviewDangling } from './flow-control/dangling.ts'
import { ensureFlowControl, keepFlowControl } from './flow-control/keep.ts'
import { createOpenApi } from './openapi/document.ts'
import { RequestMetrics } from './metrics/request-metrics.ts'
import { createCustomMetricsApi } from '../addons/custom-metrics/custom-metrics-api.ts'
import { createMetricsApi } from '../addons/metrics/metrics-api.ts'
import type { Kubelet } from './kubelet.ts'
import { knownResource } from './resource.ts'
import { createTransport } from './transport.ts'

export interface ApiServerOptions {
  /** Where objects are kept; stays open when the server closes. */
  store: Store
  /** Bearer tokens that are believed, and who holds them. Default none. */
  tokens?: ReadonlyMap<string, Identity> | undefined
  /**
   * Whether requests without credentials are those of `system:anonymous`, who may ask for health and version. Default true;
   * false: they are refused (401), as by kube-apiserver with `--anonymous-auth=false`.
   */
  anonymous?: boolean | undefined
  /**
   * Whether a pod must be of a service account that is there, and gets a token of it. Default false: without the
   * controller that makes them, no namespace would have one.
   */
  serviceAccounts?: boolean | undefined
  /**
   * Whether controllers run that undo what guards new objects: new nodes are tainted until they are ready, claims and
   * volumes have finalizers while they are in use. Default false: without them, nodes would get no pods and claims never go.
   */
  controllers?: boolean | undefined
  /** PEM (PKCS #8, P-256) of the key that signs tokens of service accounts. Default: a new one, which no token survives. */
  serviceAccountKey?: string | undefined
  /** PEM of public keys whose tokens are believed as well: those of keys that signed before. Default none. */
  earlierServiceAccountKeys?: readonly string[] | undefined
  /** Where cluster addresses of services come from. Default `10.96.0.0/16`. */
  serviceCidr?: string | undefined
  /** First and last node port. Default `30000-32767`. */
  nodePortRange?: string | undefined
  /** How to reach the agent of a node, for logs. Default: no node can be reached. */
  kubelet?: ((nodeName: string) => Promise<Kubelet>) | undefined
  /** What this server proves itself with to servers behind it (APIServices). Default: nothing, which few believe. */
  frontProxy?: FrontProxy | undefined
  /** What runs beside this server, as `kubectl get componentstatuses` shows it. Default: nothing but the storage. */
  components?: readonly Component[] | undefined
  /** Writes down who asks for what. Default: nobody does. Closed by whoever opened it. */
  audit?: Auditor | undefined
  /** Told of faults inside the server; the client got a 500. Default: ignored. */
  onError?: ((error: unknown) => void) | undefined
  /** Milliseconds since 1970. Default `Date.now`. */
  now?: (() => number) | undefined
}

/** A Kubernetes API on top of a store, reachable in this process and by HTTPS. */
export interface ApiServer {
  /** Resolves when the namespaces and roles every cluster has are there; requests before that wait for it. */
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
  readonly #options: ApiServerOptions
  readonly #admission: Admission
  readonly #dynamic: DynamicAdmission
  readonly #definitions: Definitions
  readonly #closing = new AbortController()
  readonly #listeners: Listener[] = []
  readonly #stopExpiry: () => void
  readonly #stopCompaction: () => void
  readonly #stopQuotas: () => void
  readonly #stopPolicies: () => void
  readonly #stopFlowControl: () => void
  readonly #stopDangling: () => void
  #ready: Promise<void> | undefined
  #isReady = false

  constructor(options: ApiServerOptions) {
    this.#options = options
    const { store, serviceCidr = '10.96.0.0/16', nodePortRange = '30000-32767', now = Date.now } = options
    const onError = options.onError ?? (() => undefined)
    const catalogue = new Catalogue()
    this.#admission = new Admission(store, {
      serviceCidr,
      nodePortRange,
      serviceAccounts: options.serviceAccounts ?? false,
      controllers: options.controllers ?? false,
      now,
    })
    const access = new Access({
      store,
      tokens: options.tokens ?? new Map(),
      issuer: serviceAccountIssuer,
      signingKey: options.serviceAccountKey,
      earlierKeys: options.earlierServiceAccountKeys,
      anonymous: options.anonymous,
      now,
    })
    const guard = new WriteGuard(store, access.authorizer)
    const { authorizer } = access
    const resolveService = createServiceResolver(store)
    this.#dynamic = new DynamicAdmission({ store, authorizer, catalogue, resolveService })
    const registry = new AdmittedRegistry({ store, admission: this.#admission, guard, now }, this.#dynamic)
    const { frontProxy } = options
    const findKubelet = options.kubelet ?? unreachable
    const embedded =
      options.kubelet === undefined
        ? []
        : [createMetricsApi({ store, findKubelet }), createCustomMetricsApi({ store, now })]
    const about = { store, registry, catalogue, resolveService, frontProxy, embedded, now, onError }
    this.#context = {
      store,
      fanOut: new FanOut(store),
      registry,
      apiServices: new ApiServices(about),
      access,
      guard,
      serviceAccounts: options.serviceAccounts ?? false,
      catalogue,
      openApi: createOpenApi(catalogue),
      components: options.components ?? [],
      metrics: new RequestMetrics(),
      findKubelet,
      onError,
    }
    this.#definitions = new Definitions({
      store,
      registry: this.#context.registry,
      catalogue,
      now,
      onError,
      // oxlint-disable-next-line require-await -- what it throws is to be a rejection
      resolveService: async (namespace, name, port) => resolveService(namespace, name, port),
    })
    this.#stopQuotas = followQuotas(this.#admission.quotas, this.#context.registry, onError)
    this.#stopPolicies = followPolicies({ store, registry: this.#context.registry, catalogue }, onError)
    this.#stopFlowControl = keepFlowControl(this.#context.registry, onError)
    this.#stopDangling = followDangling(this.#context.registry, now, onError)
    this.#stopExpiry = expireEvents(store, now, onError)
    this.#stopCompaction = compactHistory(store)
  }

  ready(): Promise<void> {
    this.#ready ??= this.#createFirstObjects()
    return this.#ready
  }

  async #createFirstObjects(): Promise<void> {
    try {
      await createFirstObjects(this.#context, this.#options.now ?? Date.now)
      this.#isReady = true
    } catch (error) {
      // The next request tries again: a full disk may have space by then.
      this.#ready = undefined
      throw error
    }
  }

  transport(identity: Identity): Transport {
    const known = authenticated(identity)
    return createTransport(known, (request) => this.#handleInProcess(request), this.#closing.signal)
  }

  async listen(options: ListenOptions): Promise<{ readonly port: number }> {
    await this.ready()
    const { access, onError } = this.#context
    const listener = await listen(
      { access, origin: new OriginCheck(options.tls.cert), onError, handle: (request) => this.#handle(request) },
      options,
    )
    this.#listeners.push(listener)
    return { port: listener.port }
  }

  async close(): Promise<void> {
    this.#stopExpiry()
    this.#stopCompaction()
    this.#context.apiServices.close()
    this.#stopQuotas()
    this.#stopPolicies()
    this.#stopFlowControl()
    this.#stopDangling()
    this.#definitions.close()
    this.#closing.abort()
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close()))
    this.#admission.close()
    this.#dynamic.close()
    this.#context.access.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #handleInProcess(request: ApiRequest): Promise<ApiResponse> {
    if (!asksImpersonation(request.headers)) return await this.#handle(request)
    let impersonated: ApiRequest
    try {
      impersonated = this.#impersonated(request)
    } catch (error) {
      return renderError(error, this.#context.onError)
    }
    return await this.#handle(impersonated)
  }

  /** In this process a header has one value. */
  #impersonated(request: ApiRequest): ApiRequest {
    const values = Object.entries(request.headers).map(([name, value]) => [name, value === undefined ? [] : [value]])
    const headers = Object.fromEntries(values) as Record<string, string[]>
    const { identity } = request
    const { impersonation } = this.#context.access
    const asked = (): Attributes => askedAttributes(request.method, request.path, request.query)
    return { ...request, identity: impersonation.impersonate(identity, headers, asked), impersonator: identity }
  }

  #handle(request: ApiRequest): Promise<ApiResponse> {
    if (this.#isReady) return this.#observe(request)
    // Reads are served even when the first writes failed.
    const proceed = (): Promise<ApiResponse> => this.#observe(request)
    return this.ready().then(proceed, proceed)
  }

  #observe(request: ApiRequest): Promise<ApiResponse> {
    const { audit } = this.#options
    if (audit === undefined) return handle(this.#context, request)
    return audit.observe(request, (observed) => handle(this.#context, observed))
  }
}

const serviceAccountIssuer = 'https://kubernetes.default.svc.cluster.local'

async function createFirstObjects(context: HandlerContext, now: () => number): Promise<void> {
  await createNamespaces(context)
  await createPriorityClasses(context)
  await Promise.all([bootstrapRoles(context.registry), ensureFlowControl(context.registry)])
  // Now, and not a moment after the first answer: who lists then would see the revision move though nobody wrote.
  await reviewDangling(context.registry, now)
  await context.apiServices.sync()
  await context.apiServices.publishAuthorities()
}

async function createPriorityClasses({ store, registry }: HandlerContext): Promise<void> {
  const classes = knownResource('scheduling.k8s.io', 'v1', 'priorityclasses')
  const missing = systemClasses.filter(
    ({ metadata }) => store.get(classes.collection, metadata.name ?? '') === undefined,
  )
  await Promise.all(
    missing.map((each) => registry.create(classes, structuredClone(each), { namespace: '', isDryRun: false })),
  )
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
