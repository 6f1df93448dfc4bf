import type { KubeObject } from '@fairlead/kube/types'
import type { PersistentVolumeClaim, Pod } from '@fairlead/kube/types/core-v1'
import type { Ingress } from '@fairlead/kube/types/networking-v1'
import type { PriorityClass } from '@fairlead/kube/types/scheduling-v1'

import type { Store } from '../../storage/store.ts'
import type { Resource } from '../resource.ts'
import { DefaultClasses } from './plugins/default-classes.ts'
import { guard } from './plugins/guarded.ts'
import { LimitRanger } from './plugins/limit-ranger.ts'
import { Priority } from './plugins/priority.ts'
import { RuntimeClasses } from './plugins/runtime-class.ts'
import { PodSecurity } from './pod-security/pod-security.ts'
import { Quotas } from './quota/quotas.ts'
import type { Reservation } from './reservation.ts'
import type { Write } from './write.ts'

/** The admission plugins that are part of the server, in upstream's order. They run inside the write and never wait. */
export class Plugins {
  readonly #limits: LimitRanger
  readonly #priority: Priority
  readonly #classes: DefaultClasses
  readonly #runtimes: RuntimeClasses

  readonly #security: PodSecurity
  readonly quotas: Quotas
  readonly #guards: boolean

  constructor(store: Store, { now, controllers }: { readonly now: () => number; readonly controllers: boolean }) {
    this.#guards = controllers
    this.quotas = new Quotas(store, now)
    this.#limits = new LimitRanger(store)
    this.#priority = new Priority(store)
    this.#classes = new DefaultClasses(store)
    this.#runtimes = new RuntimeClasses(store)
    this.#security = new PodSecurity(store)
  }

  close(): void {
    this.quotas.close()
    this.#priority.close()
  }

  /** Fills in a new object what others decide; throws a `StatusError` when they do not have it. */
  complete(resource: Resource, object: KubeObject): void {
    if (this.#guards) guard(resource.collection, object)
    switch (resource.collection) {
      case 'pods':
        this.#limits.completePod(object as KubeObject & Pod)
        this.#priority.complete(object as KubeObject & Pod)
        this.#runtimes.complete(object as KubeObject & Pod)
        return
      case 'persistentvolumeclaims':
        this.#classes.completeClaim(object as KubeObject & PersistentVolumeClaim)
        return
      case 'networking.k8s.io/ingresses':
        this.#classes.completeIngress(object as KubeObject & Ingress)
    }
  }

  /** Throws a `StatusError` when an object may not be. */
  validate(write: Write, reservation: Reservation): void {
    this.#judge(write)
    // Last: what is refused for another reason uses nothing.
    this.quotas.admit(write, reservation)
  }

  #judge(write: Write): void {
    const { resource, subresource, object, old } = write
    const isAboutPods = workloads.has(resource.collection) && subresource === '' && resource.collection !== 'pods'
    if (isAboutPods) this.#security.judge(write)
    switch (resource.collection) {
      case 'pods':
        if (old === undefined) this.#limits.validate(resource, object)
        if (old === undefined || subresource === 'ephemeralcontainers') this.#security.judge(write)
        return
      case 'namespaces':
        if (subresource === '') this.#security.checkLabels(object)
        return
      case 'persistentvolumeclaims':
        if (subresource !== '') return
        this.#limits.validate(resource, object)
        if (old !== undefined) {
          this.#classes.validateGrowth(
            object as KubeObject & PersistentVolumeClaim,
            old as KubeObject & PersistentVolumeClaim,
          )
        }
        return
      case 'scheduling.k8s.io/priorityclasses':
        this.#priority.validateClass(object as unknown as KubeObject & PriorityClass)
    }
  }
}

/** What makes pods of a template. */
const workloads = new Set([
  'replicationcontrollers',
  'podtemplates',
  'apps/deployments',
  'apps/replicasets',
  'apps/statefulsets',
  'apps/daemonsets',
  'batch/jobs',
  'batch/cronjobs',
])
