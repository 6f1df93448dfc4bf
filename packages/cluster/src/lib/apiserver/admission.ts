import type { KubeObject } from '@fairlead/kube/types'
import type { Pod, PodSpec } from '@fairlead/kube/types/core-v1'

import type { Entry } from '../storage/collection.ts'
import type { Store, Subscription } from '../storage/store.ts'
import { admitAccount, nameAccount } from './access/pod-account.ts'
import { Plugins } from './admission/plugins.ts'
import { keepPriority } from './admission/plugins/priority.ts'
import type { Quotas } from './admission/quota/quotas.ts'
import { Reservation } from './admission/reservation.ts'
import type { Write } from './admission/write.ts'
import type { UpdateOptions } from './registry.ts'
import { knownResource, readObject } from './resource.ts'
import type { Resource } from './resource.ts'
import { ServiceAddresses } from './service-addresses.ts'
import { forbidden, invalid, notFound, qualifiedResource } from './status.ts'

export interface AdmissionOptions {
  /** Where cluster addresses of services come from. */
  serviceCidr: string
  /** First and last node port, `30000-32767`. */
  nodePortRange: string
  /** Whether a pod must be of a service account that is there, and gets its token. */
  serviceAccounts: boolean
  /** Whether controllers run that undo what guards new nodes, claims and volumes. */
  controllers: boolean
  /** Milliseconds since 1970. */
  now: () => number
}

/**
 * What the server decides about an object in view of others: its namespace must be alive, a service gets its
 * addresses, a pod its account, tolerations and priority. Runs synchronously inside the write.
 */
export class Admission {
  readonly #store: Store
  readonly #plugins: Plugins
  readonly #addresses: ServiceAddresses
  readonly #serviceAccounts: boolean
  readonly #namespaces: Resource = knownResource('', 'v1', 'namespaces')
  readonly #services: Resource = knownResource('', 'v1', 'services')
  readonly #terminating = new WeakMap<Entry, boolean>()
  readonly #subscription: Subscription

  constructor(store: Store, options: AdmissionOptions) {
    this.#store = store
    this.#serviceAccounts = options.serviceAccounts
    this.#plugins = new Plugins(store, options)
    this.#addresses = new ServiceAddresses(options.serviceCidr, options.nodePortRange)
    for (const entry of store.list('services')) this.#addresses.take(readObject(this.#services, entry))
    this.#subscription = store.subscribe('services', undefined, ({ operation, entry, previous }) => {
      const object = readObject(this.#services, entry)
      if (previous !== undefined) {
        this.#addresses.release(readObject(this.#services, previous), operation === 'put' ? object : undefined)
      }
      if (operation === 'put') this.#addresses.take(object)
    })
  }

  /** What quotas count. */
  get quotas(): Quotas {
    return this.#plugins.quotas
  }

  close(): void {
    this.#subscription.unsubscribe()
    this.#plugins.close()
  }

  /**
   * Admits a new object, changing it; throws a `StatusError` otherwise. One whose name `holder` has is only to be judged:
   * addresses are known by the names of their services, so that it would give back those of the holder. That one of them
   * is taken is told before that the name is, as upstream does.
   */
  create(resource: Resource, object: KubeObject, holder?: Entry): Reservation {
    this.#checkNamespace(resource, object)
    this.#plugins.complete(resource, object)
    if (resource.collection === 'pods') this.#completePod(object as Pod)
    const reservation = new Reservation()
    if (resource.collection === 'services')
      this.#assign(object, undefined, holder === undefined ? reservation : undefined)
    return reservation
  }

  update(resource: Resource, object: KubeObject, old: KubeObject, { part }: Pick<UpdateOptions, 'part'>): Reservation {
    const reservation = new Reservation()
    const { spec } = object as KubeObject & Pod
    if (part === 'object' && resource.collection === 'pods' && spec !== undefined) {
      keepPriority(spec, (old as KubeObject & Pod).spec)
      tolerateShortFailures(spec)
    }
    if (part === 'object' && resource.collection === 'services') this.#assign(object, old, reservation)
    return reservation
  }

  /** Judges an object that is as it will be stored; what it takes goes into `reservation`. Throws a `StatusError`. */
  validate(write: Write, reservation: Reservation): void {
    this.#plugins.validate(write, reservation)
  }

  /** Without a reservation nothing is taken. */
  #assign(object: KubeObject, old: KubeObject | undefined, reservation: Reservation | undefined): void {
    const errors = this.#addresses.assign(object, old)
    if (errors.length > 0) throw invalid(this.#services.info, object.metadata.name ?? '', errors)
    if (reservation === undefined) return
    // Taken at once: the next create may be decided before this one is on disk.
    this.#addresses.take(object)
    reservation.add(() => this.#addresses.release(object, old))
  }

  #checkNamespace(resource: Resource, object: KubeObject): void {
    if (!resource.info.namespaced) return
    const { namespace = '', name = '' } = object.metadata
    const entry = this.#store.get('namespaces', namespace)
    if (entry === undefined) throw notFound(this.#namespaces.info, namespace)
    if (!this.#isTerminating(entry)) return
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`
    const cause = {
      reason: 'NamespaceTerminating',
      message: `namespace ${namespace} is being terminated`,
      field: 'metadata.namespace',
    }
    throw forbidden(`${qualifiedResource(resource.info)} "${name}" is forbidden: ${why}`, {
      name,
      kind: resource.info.plural,
      causes: [cause],
    })
  }

  /** Known per version of a namespace, as every create in it asks. */
  #isTerminating(entry: Entry): boolean {
    let isTerminating = this.#terminating.get(entry)
    if (isTerminating === undefined) {
      isTerminating = readObject(this.#namespaces, entry).metadata.deletionTimestamp !== undefined
      this.#terminating.set(entry, isTerminating)
    }
    return isTerminating
  }

  #completePod(pod: Pod): void {
    const { spec } = pod
    if (spec === undefined) return
    if (this.#serviceAccounts) {
      nameAccount(spec)
      admitAccount(this.#store, pod as KubeObject & Pod)
    }
    tolerateShortFailures(spec)
  }
}

/** DefaultTolerationSeconds admission: pods stay five minutes on a node that is not well, unless they say otherwise. */
function tolerateShortFailures(spec: PodSpec): void {
  const tolerations = spec.tolerations ?? []
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    const isTolerated = tolerations.some(
      (item) =>
        (item.key === undefined || item.key === '' || item.key === key) && (item.effect ?? 'NoExecute') === 'NoExecute',
    )
    if (!isTolerated) tolerations.push({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 })
  }
  spec.tolerations = tolerations
}
