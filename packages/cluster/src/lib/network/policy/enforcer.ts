import { setTimeout as sleep } from 'node:timers/promises'
import { createInformer } from '@fairlead/kube/cache'
import type { Informer } from '@fairlead/kube/cache'
import type { KubeClient } from '@fairlead/kube'
import type { Namespace, Pod } from '@fairlead/kube/types/core-v1'
import { networkPolicyUnready } from '../../errors.ts'
import { bridgeName, policyTableName } from '../plan.ts'
import type { NetworkPlan } from '../plan.ts'
import { openRuleWriter } from '../rule-writer.ts'
import type { RuleWriter } from '../rule-writer.ts'
import type { Backend } from '../service-ports.ts'
import { toPolicyPod, trimPod } from './facts.ts'
import type { PolicyDns, PolicyFacts, PolicyPod } from './facts.ts'
import { createGivenAddresses } from './given-addresses.ts'
import { renderChange, renderRemoval } from './parts.ts'
import type { Parts } from './parts.ts'
import { planPolicies } from './plan.ts'

/** Enforces the NetworkPolicies of the cluster. */
export interface PolicyEnforcer {
  /** To be called with the address of each pod before its containers start: resolves when its policies are in force. */
  protect(pod: { readonly uid: string; readonly namespace: string; readonly name: string }, ip: string): Promise<void>
  /** The pod has no address any more. */
  forget(uid: string): void
  /** What decides about who may reach whom now; undefined while there is no policy. For those who pass connections on. */
  readonly facts: PolicyFacts | undefined
  /** Lets pods reach these ports of the node, whose owners hold to policies themselves, and no others; resolves when that is in force. */
  openPassages(places: readonly Backend[]): Promise<void>
  /** Resolves when every change seen so far is in force. */
  settled(): Promise<void>
  /** Stops updating; the rules stay in force. */
  close(): Promise<void>
}

/** Options of {@link openPolicyEnforcer}. */
export interface PolicyEnforcerOptions {
  readonly client: KubeClient
  readonly plan: NetworkPlan
  readonly dns?: PolicyDns | undefined
  /** How long a pod may be unknown to the informer. Default 10,000. */
  readonly unknownPodMs?: number | undefined
  /** Told of failures that are tried again. */
  readonly onError?: ((error: unknown) => void) | undefined
}

const noParts: Parts = new Map()

/**
 * Follows policies, and pods and namespaces from the first policy on: a cluster without any pays for nothing. Each change is
 * one transaction of the packet filter. What an earlier run left stays in force until it is replaced at once.
 */
export async function openPolicyEnforcer(options: PolicyEnforcerOptions): Promise<PolicyEnforcer> {
  const { client, plan, dns, unknownPodMs = 10_000, onError } = options
  const table = `ip ${policyTableName(plan)}`
  const stop = new AbortController()
  const watching = { signal: stop.signal, onError }
  const policies = createInformer(client.resource('networking.k8s.io/v1/NetworkPolicy'), watching)
  const addresses = createGivenAddresses()
  const arrivals = new Set<() => void>()
  let selected: { pods: Informer<Pod>; namespaces: Informer<Namespace> } | undefined
  let selecting: Promise<void> | undefined
  let writer: RuleWriter | undefined
  let loaded: Parts = noParts
  let facts: PolicyFacts | undefined
  let passages: readonly Backend[] = []
  // What is in the kernel may be of an earlier run.
  let isKnown = false
  let stale = true
  let working: Promise<void> | undefined

  policies.on(touch)
  await policies.start()
  if (policies.list().length > 0) await (working ??= startWork())
  else void (working ??= startWork())

  function touch(): void {
    stale = true
    if (stop.signal.aborted || working !== undefined || !policies.isSynced) return
    working = startWork()
  }

  async function startWork(): Promise<void> {
    // One turn later: changes that come together are one transaction.
    await new Promise((resolve) => setImmediate(resolve))
    try {
      for (let delayMs = 10; stale && !stop.signal.aborted; delayMs = Math.min(delayMs * 2, 5_000)) {
        stale = false
        try {
          await bringIntoForce()
        } catch (error) {
          if (stop.signal.aborted) return
          onError?.(error)
          isKnown = false
          stale = true
          await sleep(delayMs, undefined, { signal: stop.signal }).catch(() => {})
        }
      }
    } finally {
      working = undefined
    }
  }

  async function bringIntoForce(): Promise<void> {
    if (policies.list().length === 0) return await removeTable()
    await (selecting ??= startSelecting())
    facts = readFacts()
    const next = planPolicies(facts, bridgeName(plan))
    writer ??= openRuleWriter(policyTableName(plan))
    const before = isKnown ? loaded : noParts
    const renew =
      isKnown && loaded.size > 0 ? [] : [`add table ${table}`, `delete table ${table}`, `add table ${table}`]
    await writer.apply([...renew, ...renderChange(table, before, next)])
    loaded = next
    isKnown = true
    await writer.apply(renderRemoval(table, before, next))
  }

  async function removeTable(): Promise<void> {
    facts = undefined
    if (isKnown && loaded.size === 0) return
    const own = writer ?? openRuleWriter(policyTableName(plan))
    writer = undefined
    try {
      await own.apply([`add table ${table}`, `delete table ${table}`])
    } finally {
      own.close()
    }
    loaded = noParts
    isKnown = true
  }

  async function startSelecting(): Promise<void> {
    const pods = createInformer(client.resource('v1/Pod'), { ...watching, transform: trimPod })
    const namespaces = createInformer(client.resource('v1/Namespace'), { ...watching, metadataOnly: true })
    await Promise.all([pods.start(), namespaces.start()])
    selected = { pods, namespaces }
    pods.on(() => {
      for (const arrival of arrivals) arrival()
      touch()
    })
    namespaces.on(touch)
  }

  function readFacts(): PolicyFacts {
    const all = selected?.pods.list() ?? []
    addresses.forgetOthers(all)
    const pods = all.map((pod) => policyPodOf(pod)).filter((pod) => pod !== undefined)
    const namespaces = new Map(
      (selected?.namespaces.list() ?? []).map(({ metadata }) => [metadata?.name ?? '', metadata?.labels ?? {}]),
    )
    return { policies: policies.list(), pods, namespaces, dns, passages }
  }

  function policyPodOf(pod: Pod): PolicyPod | undefined {
    const ip = addresses.of(pod)
    return ip === undefined ? undefined : toPolicyPod(pod, ip)
  }

  async function whenKnown({ uid, namespace, name }: Parameters<PolicyEnforcer['protect']>[0]): Promise<void> {
    const pods = selected?.pods
    const isThere = (): boolean => pods?.get(namespace, name)?.metadata?.uid === uid
    if (isThere()) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const check = (): void => void (isThere() && resolve())
    const timer = setTimeout(() => reject(networkPolicyUnready(`${namespace}/${name}`)), unknownPodMs)
    arrivals.add(check)
    await promise.finally(() => {
      clearTimeout(timer)
      arrivals.delete(check)
    })
  }

  async function settled(): Promise<void> {
    if (working === undefined) return
    await working
    // Something changed in between.
    await settled()
  }

  return {
    async protect(pod, ip) {
      addresses.give(pod.uid, ip)
      if (policies.list().length === 0) return
      await (selecting ??= startSelecting())
      await whenKnown(pod)
      touch()
      await settled()
    },
    forget(uid) {
      if (!addresses.takeBack(uid)) return
      if (selected === undefined) addresses.forgetOthers([])
      else touch()
    },
    get facts() {
      return facts
    },
    async openPassages(places) {
      passages = places
      if (policies.list().length === 0) return
      touch()
      await settled()
    },
    settled,
    async close() {
      stop.abort()
      await settled()
      writer?.close()
    },
  }
}
