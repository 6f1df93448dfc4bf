import type { KubeObject } from '@fairlead/kube/types'
import type { Container, PersistentVolumeClaim, Pod, Service } from '@fairlead/kube/types/core-v1'
import type { DeviceRequest, ResourceClaim } from '@fairlead/kube/types/resource-v1'

import { add, amountOf, amountsOf, podAmounts } from '../plugins/amounts.ts'
import type { Amounts } from '../plugins/amounts.ts'

/** What an object counts for in quotas, by the names quotas use. */
export function usageOf(collection: string, object: KubeObject, now: number): Amounts {
  const counted = { [countName(collection)]: 1 }
  switch (collection) {
    case 'pods':
      return isOver(object as KubeObject & Pod, now) ? counted : { ...counted, ...podUsage(object as KubeObject & Pod) }
    case 'services':
      return { ...counted, ...serviceUsage(object as KubeObject & Service) }
    case 'persistentvolumeclaims':
      return { ...counted, ...claimUsage(object as KubeObject & PersistentVolumeClaim) }
    case 'resource.k8s.io/resourceclaims':
      return { ...counted, ...deviceUsage(object as KubeObject & ResourceClaim) }
    default:
      return plain.has(collection) ? { ...counted, [collection]: 1 } : counted
  }
}

/** `count/pods`, `count/deployments.apps`. */
function countName(collection: string): string {
  const [group, plural] = collection.split('/')
  return plural === undefined ? `count/${group}` : `count/${plural}.${group}`
}

const plain = new Set(['configmaps', 'secrets', 'replicationcontrollers', 'resourcequotas'])

/** The collections whose objects a name of a quota counts; undefined for names nothing counts for. */
export function collectionOf(name: string): string | undefined {
  if (name.startsWith('count/')) {
    const [plural = '', ...group] = name.slice('count/'.length).split('.')
    return group.length === 0 ? plural : `${group.join('.')}/${plural}`
  }
  if (plain.has(name)) return name
  if (name.startsWith('services')) return 'services'
  if (name.endsWith(devicesOfClass)) return 'resource.k8s.io/resourceclaims'
  const isClaims = name === 'persistentvolumeclaims' || name === 'requests.storage'
  if (isClaims || name.includes('.storageclass.storage.k8s.io/')) return 'persistentvolumeclaims'
  const isCompute = /^(pods|cpu|memory|ephemeral-storage|hugepages-.+|(requests|limits)\..+)$/.test(name)
  return isCompute ? 'pods' : undefined
}

/** One that has ended, or should have by now, needs nothing more. */
function isOver({ status, metadata }: KubeObject & Pod, now: number): boolean {
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return true
  const { deletionTimestamp, deletionGracePeriodSeconds = 0 } = metadata
  return deletionTimestamp !== undefined && now > Date.parse(deletionTimestamp) + deletionGracePeriodSeconds * 1000
}

function podUsage({ spec }: Pod): Amounts {
  if (spec === undefined) return { pods: 1 }
  return { pods: 1, ...computeUsage(podAmounts(spec, 'requests'), podAmounts(spec, 'limits')) }
}

const native = new Set(['cpu', 'memory', 'ephemeral-storage'])

function computeUsage(requests: Amounts, limits: Amounts): Record<string, number> {
  const usage: Record<string, number> = {}
  for (const [name, amount] of Object.entries(requests)) {
    usage[`requests.${name}`] = amount
    if (native.has(name) || name.startsWith('hugepages-')) usage[name] = amount
  }
  for (const [name, amount] of Object.entries(limits)) if (native.has(name)) usage[`limits.${name}`] = amount
  return usage
}

function serviceUsage({ spec }: Service): Amounts {
  const ports = spec?.ports ?? []
  const isBalanced = spec?.type === 'LoadBalancer'
  const allocates = spec?.allocateLoadBalancerNodePorts !== false
  const given = ports.filter(({ nodePort = 0 }) => nodePort !== 0).length
  const nodePorts = spec?.type === 'NodePort' || (isBalanced && allocates) ? ports.length : isBalanced ? given : 0
  return { services: 1, 'services.nodeports': nodePorts, 'services.loadbalancers': isBalanced ? 1 : 0 }
}

function claimUsage({ spec, metadata }: KubeObject & PersistentVolumeClaim): Amounts {
  const storage = amountOf(spec?.resources?.requests?.['storage'])
  const usage = { persistentvolumeclaims: 1, 'requests.storage': storage }
  const name = metadata.annotations?.['volume.beta.kubernetes.io/storage-class'] ?? spec?.storageClassName ?? ''
  if (name === '') return usage
  const prefix = `${name}.storageclass.storage.k8s.io/`
  return { ...usage, [`${prefix}persistentvolumeclaims`]: 1, [`${prefix}requests.storage`]: storage }
}

const devicesOfClass = '.deviceclass.resource.k8s.io/devices'
/** What a request for all devices may be given at most. */
const allDevices = 32

/** The devices of each class that a claim may be given; of several choices, the most of each class. */
function deviceUsage({ spec }: ResourceClaim): Amounts {
  const requests = spec.devices?.requests ?? []
  return requests.map(devicesOf).reduce((sum, each) => add(sum, each), {})
}

function devicesOf({ exactly, firstAvailable = [] }: DeviceRequest): Amounts {
  const most: Record<string, number> = {}
  for (const { deviceClassName, allocationMode, count = 0 } of exactly === undefined ? firstAvailable : [exactly]) {
    const wanted = { ExactCount: count, All: allDevices }[allocationMode ?? ''] ?? 0
    const name = `${deviceClassName}${devicesOfClass}`
    most[name] = Math.max(most[name] ?? 0, wanted)
  }
  return most
}

const mustBeSpecified = ['cpu', 'limits.cpu', 'limits.memory', 'memory', 'requests.cpu', 'requests.memory']

/** What containers would have to say, as a quota counts it, and do not; empty when nothing is missing. */
export function missingOf({ spec }: Pod, names: readonly string[]): string {
  // Who says it for the pod as a whole need not say it for each container.
  if (spec === undefined || spec.resources !== undefined) return ''
  const containers: Container[] = [...spec.containers, ...(spec.initContainers ?? [])]
  const missing = mustBeSpecified.flatMap((name) => {
    if (!names.includes(name)) return []
    const without = containers.filter(({ resources }) => {
      return computeUsage(amountsOf(resources?.requests), amountsOf(resources?.limits))[name] === undefined
    })
    const list = without.map((container) => container.name).toSorted()
    return list.length === 0 ? [] : [`${name} for: ${list.join(',')}`]
  })
  return missing.join('; ')
}

/** What a change adds to usage; names it leaves as they are do not appear. */
export function difference(after: Amounts, before: Amounts): Amounts {
  return Object.fromEntries(Object.entries(add(after, before, -1)).filter(([, amount]) => amount !== 0))
}
