import type { NetworkPolicy } from '@fairlead/kube/types/networking-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'
import type { Labels } from '../../label-selector.ts'
import { toProtocol } from '../protocol.ts'
import type { Protocol } from '../protocol.ts'

/** A port of a container, in the spelling of the packet filter. */
export interface PodPort {
  readonly name: string
  readonly protocol: Protocol
  readonly port: number
}

/** What policies look at in a pod. Pods of the host's network are none of these: they are the node. */
export interface PolicyPod {
  readonly uid: string
  readonly namespace: string
  readonly labels: Labels
  readonly ip: string
  /** Those that have names. */
  readonly ports: readonly PodPort[]
}

/** The cluster's name server: a process of the host that policies see as the pods of the Service `kube-dns`. */
export interface PolicyDns {
  readonly host: string
  readonly port: number
  /** Of the Service, for address blocks. */
  readonly address: string
}

/** All that decides about who may reach whom. */
export interface PolicyFacts {
  readonly policies: readonly NetworkPolicy[]
  readonly pods: readonly PolicyPod[]
  /** Labels of namespaces. */
  readonly namespaces: ReadonlyMap<string, Labels>
  readonly dns?: PolicyDns | undefined
  /** TCP ports of the node that pass connections on to pods and hold to policies themselves, which is by `allows`. */
  readonly passages?: readonly { readonly ip: string; readonly port: number }[] | undefined
}

/** The pod as policies see it at `ip`; undefined for pods of the host's network. */
export function toPolicyPod({ metadata, spec }: Pod, ip: string): PolicyPod | undefined {
  if (spec?.hostNetwork === true) return undefined
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])]
  return {
    uid: metadata?.uid ?? '',
    namespace: metadata?.namespace ?? '',
    labels: metadata?.labels ?? {},
    ip,
    ports: containers.flatMap(({ ports = [] }) =>
      ports.flatMap(({ name, protocol, containerPort }) =>
        name === undefined ? [] : [{ name, protocol: toProtocol(protocol), port: containerPort }],
      ),
    ),
  }
}

/** Drops what policies do not look at: pods are kept for as long as there are policies. */
export function trimPod(pod: Pod): Pod {
  const { metadata, spec, status } = pod
  const { name, namespace, uid, labels } = metadata ?? {}
  const trimmed = (containers: NonNullable<Pod['spec']>['containers'] = []): typeof containers =>
    containers.map(({ name: container, ports }) => ({ name: container, ...(ports === undefined ? {} : { ports }) }))
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      uid,
      ...(labels === undefined ? {} : { labels }),
      resourceVersion: metadata?.resourceVersion,
    },
    spec: {
      containers: trimmed(spec?.containers),
      initContainers: trimmed(spec?.initContainers),
      ...(spec?.hostNetwork === true ? { hostNetwork: true } : {}),
    },
    status: { phase: status?.phase, podIP: status?.podIP },
  }
}
