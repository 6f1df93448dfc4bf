import type { KubeObject } from '@fairlead/kube/types'
import type { Pod, PodSpec } from '@fairlead/kube/types/core-v1'
import type { PriorityClass } from '@fairlead/kube/types/scheduling-v1'

import type { Store, Subscription } from '../../../storage/store.ts'
import { knownResource } from '../../resource.ts'
import { forbiddenObject } from '../../status.ts'
import { KeptObjects } from '../kept-objects.ts'

const pods = knownResource('', 'v1', 'pods')
const classes = knownResource('scheduling.k8s.io', 'v1', 'priorityclasses')

/** Priority admission: what a pod's class, or the default class, makes of `priority` and `preemptionPolicy`. */
export class Priority {
  readonly #classes: KeptObjects<KubeObject & PriorityClass>
  readonly #subscription: Subscription
  /** The default class, looked for again after a change of any class: every pod asks. */
  #known: { readonly default: (KubeObject & PriorityClass) | undefined } | undefined

  constructor(store: Store) {
    this.#classes = new KeptObjects(store, classes)
    this.#subscription = store.subscribe(classes.collection, undefined, () => (this.#known = undefined))
  }

  close(): void {
    this.#subscription.unsubscribe()
  }

  complete(pod: KubeObject & Pod): void {
    const { spec, metadata } = pod
    if (spec === undefined) return
    const refuse = (why: string): never => {
      throw forbiddenObject(pods.info, metadata.name ?? '', why)
    }
    const { priorityClassName: name = '' } = spec
    const found = name === '' ? this.#default() : (this.#classes.get('', name) ?? builtIn.get(name))
    if (name !== '' && found === undefined) refuse(`no PriorityClass with name ${name} was found`)
    if (name === '' && found?.metadata?.name !== undefined) spec.priorityClassName = found.metadata.name
    const priority = found?.value ?? 0
    if (spec.priority !== undefined && spec.priority !== priority) {
      refuse(
        `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${priority} from the given PriorityClass name`,
      )
    }
    spec.priority = priority
    const policy = found?.preemptionPolicy ?? 'PreemptLowerPriority'
    if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== policy) {
      refuse(
        `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${policy} from the given PriorityClass name`,
      )
    }
    spec.preemptionPolicy = policy
  }

  /** There is one default class at most. */
  validateClass(object: KubeObject & PriorityClass): void {
    if (object.globalDefault !== true) return
    const { name = '' } = object.metadata
    const other = this.#default()
    if (other === undefined || other.metadata.name === name) return
    const why = `PriorityClass ${other.metadata.name} is already marked as default. Only one default can exist`
    throw forbiddenObject(classes.info, name, why)
  }

  #default(): (KubeObject & PriorityClass) | undefined {
    this.#known ??= { default: this.#findDefault() }
    return this.#known.default
  }

  /** Of several, which only older releases let be, the one with the lowest value. */
  #findDefault(): (KubeObject & PriorityClass) | undefined {
    return this.#classes
      .list()
      .filter(({ globalDefault }) => globalDefault === true)
      .toSorted((a, b) => (a.value ?? 0) - (b.value ?? 0))[0]
  }
}

/** A pod that is replaced without the priority it was given when it was made still has it. */
export function keepPriority(spec: PodSpec, old: PodSpec | undefined): void {
  if (spec.priority === undefined && old?.priority !== undefined) spec.priority = old.priority
  if (spec.preemptionPolicy === undefined && old?.preemptionPolicy !== undefined) {
    spec.preemptionPolicy = old.preemptionPolicy
  }
}

/** The classes every cluster has. */
export const systemClasses: readonly (KubeObject & PriorityClass)[] = [
  systemClass(
    'system-node-critical',
    2000001000,
    'Used for system critical pods that must not be moved from their current node.',
  ),
  systemClass(
    'system-cluster-critical',
    2000000000,
    'Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.',
  ),
]

const builtIn = new Map(systemClasses.map((each) => [each.metadata.name ?? '', each]))

function systemClass(name: string, value: number, description: string): KubeObject & PriorityClass {
  return {
    apiVersion: 'scheduling.k8s.io/v1',
    kind: 'PriorityClass',
    metadata: { name },
    value,
    description,
    preemptionPolicy: 'PreemptLowerPriority',
  }
}
