import type { KubeObject } from '@fairlead/kube/types'
import type { APIService, APIServiceCondition } from '@fairlead/kube/types/apiregistration-v1'

import type { Store, Subscription } from '../../storage/store.ts'
import type { ServiceResolver } from '../admission/webhooks/service-address.ts'
import type { Catalogue } from '../catalogue.ts'
import type { ApiRequest, ApiResponse } from '../exchange.ts'
import { renderTime } from '../metadata.ts'
import type { Registry } from '../registry.ts'
import { idOf, knownResource, readObject } from '../resource.ts'
import { StatusError, unavailable } from '../status.ts'
import { forwardAs, targetOf } from './forward.ts'
import type { FrontProxy } from './forward.ts'
import { isBuiltInGroup } from './priorities.ts'
import { serviceNameOf, toRemote } from './embedded.ts'
import type { EmbeddedVersion } from './embedded.ts'
import { probe } from './probe.ts'
import { RemoteDocuments } from './remote-documents.ts'
import type { RemoteVersion } from './remote.ts'
import { automanaged, renderAuthorities, renderEmbedded, renderLocal } from './render.ts'

type Service = KubeObject & APIService

export interface ApiServicesOptions {
  readonly store: Store
  readonly registry: Registry
  readonly catalogue: Catalogue
  readonly resolveService: ServiceResolver
  readonly frontProxy: FrontProxy | undefined
  /** What components of this process answer for. Default: nothing. */
  readonly embedded?: readonly EmbeddedVersion[] | undefined
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly onError: (error: unknown) => void
}

const services = knownResource('apiregistration.k8s.io', 'v1', 'apiservices')
/** How often a server behind this one is asked whether it still is there, and what it serves. */
const probeMs = 30_000

/**
 * API aggregation: group-versions that other servers answer for, and an APIService for each one this server answers for
 * itself. What a server behind serves is in discovery as soon as it has answered once.
 */
export class ApiServices {
  /** The OpenAPI documents of other servers. */
  readonly documents: RemoteDocuments
  readonly #options: ApiServicesOptions
  readonly #remotes = new Map<string, RemoteVersion>()
  readonly #embedded: ReadonlyMap<string, EmbeddedVersion>
  readonly #subscriptions: Subscription[]
  readonly #timer: NodeJS.Timeout
  readonly #probing = new Set<string>()
  #isClosed = false
  #isSyncing = false
  #isSyncWanted = false

  constructor(options: ApiServicesOptions) {
    this.#options = options
    const { store, embedded = [], now } = options
    this.documents = new RemoteDocuments(now)
    this.#embedded = new Map(embedded.map((each) => [serviceNameOf(each), each]))
    this.#publish()
    this.#subscriptions = [
      store.subscribe(services.collection, undefined, ({ operation, entry }) => {
        if (operation === 'put') this.#changed(readObject(services, entry) as Service)
        else this.#forget(entry.id)
      }),
      // What definitions define gets an APIService too; the catalogue knows it by the next turn.
      store.subscribe('apiextensions.k8s.io/customresourcedefinitions', undefined, () => {
        setImmediate(() => this.#wantSync())
      }),
      store.subscribe('discovery.k8s.io/endpointslices', undefined, () => this.#probeUnavailable()),
    ]
    for (const entry of store.list(services.collection)) this.#changed(readObject(services, entry) as Service)
    this.#timer = setInterval(() => {
      for (const name of this.#remotes.keys()) this.#probe(name)
    }, probeMs)
    this.#timer.unref()
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
  }

  /** What answers requests for a path of another server; undefined when the path is ours. */
  find(path: string): ((request: ApiRequest) => Promise<ApiResponse>) | undefined {
    if (this.#remotes.size === 0 && this.#embedded.size === 0) return undefined
    const [, root, group = '', version = ''] = path.split('/')
    if (root !== 'apis') return undefined
    const name = serviceNameOf({ group, version })
    const remote = this.#remotes.get(name)
    if (remote !== undefined) return async (request) => await this.#forward(remote, request)
    const embedded = this.#isGivenAway(name) ? undefined : this.#embedded.get(name)
    return embedded === undefined ? undefined : async (request) => await embedded.serve(request)
  }

  /** Answers for a document of OpenAPI version 3 that another server has; undefined when nobody has it. */
  readonly forwardDocument = async (path: string, request: ApiRequest): Promise<ApiResponse | undefined> => {
    const remote = this.#remotes.get(this.documents.ownerOf(path) ?? '')
    return remote === undefined ? undefined : await this.#forward(remote, request)
  }

  /** Writes the APIServices of what this server answers for. */
  async sync(): Promise<void> {
    const { catalogue, store, registry } = this.#options
    const local = new Map<string, Service>(
      catalogue.groups.flatMap(({ name: group, versions }) =>
        versions.flatMap(({ version, resources }, index) =>
          resources.length === 0 || group === services.info.group
            ? []
            : [[`${version}.${group}`, renderLocal(group, version, index)] as const],
        ),
      ),
    )
    for (const [name, each] of this.#embedded) if (!this.#isGivenAway(name)) local.set(name, renderEmbedded(each))
    const missing = [...local].filter(([name]) => store.get(services.collection, name) === undefined)
    await Promise.all(missing.map(([, object]) => this.#create(object)))
    for (const entry of store.list(services.collection)) {
      const { metadata } = readObject(services, entry)
      const isOurs = metadata.labels?.[automanaged] !== undefined
      if (!isOurs || local.has(entry.id)) continue
      const deletion = { gracePeriodSeconds: 0, propagationPolicy: undefined, preconditions: {}, isDryRun: false }
      await registry.delete(services, '', entry.id, deletion)
    }
  }

  /** Tells servers behind this one, where they look for it, whom they may believe. */
  async publishAuthorities(): Promise<void> {
    const { frontProxy, registry, store } = this.#options
    if (frontProxy === undefined) return
    const data = renderAuthorities(frontProxy)
    const place = { namespace: 'kube-system', isDryRun: false }
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: authorities }, data }
    if (store.get(configMaps.collection, `kube-system/${authorities}`) === undefined) {
      await registry.create(configMaps, object, place)
    } else {
      const options = { ...place, name: authorities, part: 'object' } as const
      await registry.update(configMaps, options, (current) => ({ ...current, data }))
    }
  }

  async #create(object: Service): Promise<void> {
    try {
      await this.#options.registry.create(services, object, { namespace: '', isDryRun: false })
    } catch (error) {
      if (!(error instanceof StatusError) || error.status.code !== 409) throw error
    }
  }

  /** One after the other; what is wanted meanwhile is done afterwards. */
  #wantSync(): void {
    this.#isSyncWanted = true
    if (this.#isSyncing || this.#isClosed) return
    this.#isSyncing = true
    this.#isSyncWanted = false
    void this.sync()
      .catch((error: unknown) => this.#fault(error))
      .finally(() => {
        this.#isSyncing = false
        if (this.#isSyncWanted) this.#wantSync()
      })
  }

  #fault(error: unknown): void {
    const isRace = error instanceof StatusError && (error.status.code === 404 || error.status.code === 409)
    if (!this.#isClosed && !isRace) this.#options.onError(error)
  }

  #changed(service: Service): void {
    const { metadata, spec } = service
    const { name = '' } = metadata
    if (spec?.service === undefined) {
      this.#forget(name)
      if (!isAvailable(service)) this.#setAvailable(name, local).catch((error: unknown) => this.#fault(error))
      return
    }
    const { group = '', version = '' } = spec
    // What this server answers for itself stays its own.
    if (isBuiltInGroup(group)) return
    const known = this.#remotes.get(name)
    this.#set(name, {
      group,
      version,
      spec,
      resources: known?.resources ?? [],
      isAvailable: known?.isAvailable ?? false,
    })
    if (known !== undefined && JSON.stringify(known.spec) === JSON.stringify(spec)) return
    this.documents.forget(name)
    this.#probe(name)
  }

  #forget(name: string): void {
    const remote = this.#remotes.get(name)
    if (!this.#remotes.delete(name)) return
    this.documents.forget(name)
    this.#publish()
    this.#syncGroup(remote)
  }

  #set(name: string, remote: RemoteVersion): void {
    const isNew = !this.#remotes.has(name)
    this.#remotes.set(name, remote)
    this.#publish()
    if (isNew) this.#syncGroup(remote)
  }

  /** An embedded version comes and goes with the servers of its group. */
  #syncGroup(remote: RemoteVersion | undefined): void {
    if ([...this.#embedded.values()].some(({ group }) => group === remote?.group)) this.#wantSync()
  }

  #publish(): void {
    const own = [...this.#embedded].filter(([name]) => !this.#remotes.has(name) && !this.#isGivenAway(name))
    const embedded = own.map(([, each]) => toRemote(each))
    this.#options.catalogue.setRemotes([...embedded, ...this.#remotes.values()])
  }

  /** Whether another version of its group is a server's: clients would mix the two. */
  #isGivenAway(name: string): boolean {
    const group = this.#embedded.get(name)?.group
    return [...this.#remotes].some(([other, remote]) => other !== name && remote.group === group)
  }

  #probeUnavailable(): void {
    for (const [name, { isAvailable: isThere }] of this.#remotes) if (!isThere) this.#probe(name)
  }

  #probe(name: string): void {
    if (this.#probing.has(name) || this.#isClosed) return
    this.#probing.add(name)
    void this.#probeNow(name)
      .catch((error: unknown) => this.#fault(error))
      .finally(() => this.#probing.delete(name))
  }

  async #probeNow(name: string): Promise<void> {
    const remote = this.#remotes.get(name)
    if (remote === undefined) return
    const obstacle = this.#obstacle(remote)
    const found = obstacle ?? (await this.#discover(remote))
    if (this.#isClosed || this.#remotes.get(name)?.spec !== remote.spec) return
    const isThere = Array.isArray(found)
    this.#set(name, { ...remote, resources: isThere ? found : remote.resources, isAvailable: isThere })
    if (isThere) this.#readDocuments(name, remote)
    await this.#setAvailable(name, isThere ? passed : (found as Availability))
  }

  /** Beside everything else: discovery does not wait for it. */
  #readDocuments(name: string, { group, version, spec }: RemoteVersion): void {
    const { resolveService, frontProxy } = this.#options
    const server = { name, group, version, priority: spec.groupPriorityMinimum }
    void this.documents.refresh(server, () => targetOf(spec, resolveService, frontProxy))
  }

  #obstacle({ spec }: RemoteVersion): Availability | undefined {
    const { namespace = '', name = '', port = 443 } = spec.service ?? {}
    const subject = `service/${name} in ${JSON.stringify(namespace)}`
    if (this.#options.store.get('services', idOf(namespace, name)) === undefined) {
      return { status: 'False', reason: 'ServiceNotFound', message: `${subject} is not present` }
    }
    try {
      this.#options.resolveService(namespace, name, port)
      return undefined
    } catch {
      const message = `endpoints for ${subject} have no addresses with port name ""`
      return { status: 'False', reason: 'MissingEndpoints', message }
    }
  }

  async #discover(remote: RemoteVersion): Promise<RemoteVersion['resources'] | Availability> {
    const { spec, group, version } = remote
    try {
      return await probe(targetOf(spec, this.#options.resolveService, this.#options.frontProxy), group, version)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      const message = `failing or missing response from https://${spec.service?.name}.${spec.service?.namespace}.svc:${spec.service?.port ?? 443}/apis/${group}/${version}: ${why}`
      return { status: 'False', reason: 'FailedDiscoveryCheck', message }
    }
  }

  async #setAvailable(name: string, availability: Availability): Promise<void> {
    const { registry, now } = this.#options
    const options = { namespace: '', name, part: 'status', isDryRun: false } as const
    await registry.update(services, options, (current) => {
      const { conditions = [] } = (current as Service).status ?? {}
      const known = conditions.find(({ type }) => type === 'Available')
      const isSame = known?.status === availability.status
      const lastTransitionTime = (isSame ? known?.lastTransitionTime : undefined) ?? renderTime(now())
      const condition: APIServiceCondition = { lastTransitionTime, type: 'Available', ...availability }
      const others = conditions.filter(({ type }) => type !== 'Available')
      return { ...current, status: { conditions: [...others, condition] } }
    })
  }

  async #forward(remote: RemoteVersion, request: ApiRequest): Promise<ApiResponse> {
    if (!remote.isAvailable) throw unavailable('service unavailable')
    return await forwardAs(request, targetOf(remote.spec, this.#options.resolveService, this.#options.frontProxy))
  }
}

const configMaps = knownResource('', 'v1', 'configmaps')
const authorities = 'extension-apiserver-authentication'

interface Availability {
  readonly status: 'True' | 'False'
  readonly reason: string
  readonly message: string
}

const local: Availability = { status: 'True', reason: 'Local', message: 'Local APIServices are always available' }
const passed: Availability = { status: 'True', reason: 'Passed', message: 'all checks passed' }

function isAvailable({ status }: Service): boolean {
  return (status?.conditions ?? []).some((each) => each.type === 'Available' && each.reason === 'Local')
}
