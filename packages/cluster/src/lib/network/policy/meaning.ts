import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '@fairlead/kube/types/networking-v1'
import { matchesSelector } from '../../label-selector.ts'
import { cidrContains, parseCidr } from '../cidr.ts'
import type { PolicyFacts, PolicyPod } from './facts.ts'

export type Direction = 'ingress' | 'egress'

/** A rule of either direction: whom it is about, and the ports of the pod that is called. */
export interface Rule {
  readonly peers: readonly NetworkPolicyPeer[]
  readonly ports: readonly NetworkPolicyPort[]
}

/** What a peer is told by: a pod, or what stands for one. */
export type Identity = Pick<PolicyPod, 'namespace' | 'labels'>

export function rulesOf({ spec }: NetworkPolicy, direction: Direction): Rule[] {
  if (direction === 'egress') return (spec?.egress ?? []).map(({ to = [], ports = [] }) => ({ peers: to, ports }))
  return (spec?.ingress ?? []).map(({ from = [], ports = [] }) => ({ peers: from, ports }))
}

/** By default a policy is about ingress, and about egress when it has a rule of that. */
export function isAbout({ spec }: NetworkPolicy, direction: Direction): boolean {
  const types = spec?.policyTypes ?? ['Ingress', ...((spec?.egress ?? []).length > 0 ? ['Egress'] : [])]
  return types.some((type) => type.toLowerCase() === direction)
}

/** Whether the policy is about the pod. */
export function selects({ metadata, spec }: NetworkPolicy, { namespace, labels }: Identity): boolean {
  return namespace === metadata?.namespace && matchesSelector(spec?.podSelector ?? {}, labels)
}

/** Whether a peer by selectors, of a policy in `namespace`, means the pod. */
export function isPeer(
  pod: Identity,
  { namespaceSelector, podSelector }: NetworkPolicyPeer,
  namespace: string,
  { namespaces }: Pick<PolicyFacts, 'namespaces'>,
): boolean {
  const isInNamespace =
    namespaceSelector === undefined
      ? pod.namespace === namespace
      : matchesSelector(namespaceSelector, namespaces.get(pod.namespace))
  return isInNamespace && (podSelector === undefined || matchesSelector(podSelector, pod.labels))
}

/** Whether a peer by address block means the address. */
export function isInBlock(address: string, block: NetworkPolicyPeer['ipBlock']): boolean {
  const range = parseCidr(block?.cidr ?? '')
  if (range === undefined || !cidrContains(range, address)) return false
  return !(block?.except ?? []).some((text) => {
    const except = parseCidr(text)
    return except !== undefined && cidrContains(except, address)
  })
}
