import type { NetworkPolicyPort } from '@fairlead/kube/types/networking-v1'
import { toProtocol } from '../protocol.ts'
import type { PodPort, PolicyFacts, PolicyPod } from './facts.ts'
import { isAbout, isInBlock, isPeer, rulesOf, selects } from './meaning.ts'
import type { Direction, Identity, Rule } from './meaning.ts'

/** A connection somebody may want to make. */
export interface Flow {
  readonly source: string
  readonly destination: string
  readonly protocol: PodPort['protocol']
  /** Of the destination, no Service's. */
  readonly port: number
  /** Whether the node itself asks, which ingress policies always let in. */
  readonly isFromNode?: boolean | undefined
  /** Someone who asks in place of the source and may be allowed instead of it, such as the gateway for a client outside of the cluster. */
  readonly inPlace?: Identity | undefined
}

/**
 * Whether the policies let a connection through that the packet filter does not see as one, because the node passes it on: the same answer
 * as the rules of `planPolicies` give to packets. Pure.
 */
export function allows(facts: PolicyFacts, flow: Flow): boolean {
  const { source, destination } = flow
  if (source === destination) return true
  const from = podAt(facts, source)
  const to = podAt(facts, destination)
  const mayLeave = from === undefined || isAllowed('egress', from, { facts, flow, other: to, called: to })
  if (!mayLeave || to === undefined || flow.isFromNode === true) return mayLeave
  return isAllowed('ingress', to, { facts, flow, other: from, called: to })
}

function podAt({ pods }: PolicyFacts, address: string): PolicyPod | undefined {
  return pods.find(({ ip }) => ip === address)
}

interface Question {
  readonly facts: PolicyFacts
  readonly flow: Flow
  /** The pod at the other end, where there is one. */
  readonly other: PolicyPod | undefined
  /** The pod whose names of ports count. */
  readonly called: PolicyPod | undefined
}

function isAllowed(direction: Direction, pod: PolicyPod, question: Question): boolean {
  const own = question.facts.policies.filter((policy) => isAbout(policy, direction) && selects(policy, pod))
  return (
    own.length === 0 ||
    own.some((policy) =>
      rulesOf(policy, direction).some(
        (rule) =>
          coversPeer(direction, rule, policy.metadata?.namespace ?? '', question) &&
          (rule.ports.length === 0 || rule.ports.some((port) => coversPort(port, question))),
      ),
    )
  )
}

function coversPeer(direction: Direction, { peers }: Rule, namespace: string, question: Question): boolean {
  const { facts, flow, other } = question
  const address = direction === 'ingress' ? flow.source : flow.destination
  const identities = [other, direction === 'ingress' ? flow.inPlace : undefined].filter((one) => one !== undefined)
  return (
    peers.length === 0 ||
    peers.some((peer) =>
      peer.ipBlock === undefined
        ? identities.some((one) => isPeer(one, peer, namespace, facts))
        : isInBlock(address, peer.ipBlock),
    )
  )
}

function coversPort({ protocol, port, endPort }: NetworkPolicyPort, { flow, called }: Question): boolean {
  if (toProtocol(protocol) !== flow.protocol) return false
  if (port === undefined) return true
  if (typeof port === 'number') return port <= flow.port && flow.port <= (endPort ?? port)
  return (called?.ports ?? []).some(
    (own) => own.name === port && own.protocol === flow.protocol && own.port === flow.port,
  )
}
