import type { KubeObject } from '@fairlead/kube/types'
import type { Node, Pod } from '@fairlead/kube/types/core-v1'
import type { TokenRequest } from '@fairlead/kube/types/authentication-v1'

import type { Store } from '../../../storage/store.ts'
import type { Identity } from '../../exchange.ts'
import { isEqual } from '../../metadata.ts'
import { idOf, knownResource, readObject } from '../../resource.ts'
import type { Resource } from '../../resource.ts'
import { forbiddenObject } from '../../status.ts'
import { nodeNameOf } from './node-authorizer.ts'
import { referencesOf } from './references.ts'

/** One write, as admission sees it. */
export interface Write {
  readonly identity: Identity
  readonly resource: Resource
  readonly operation: 'create' | 'update' | 'delete'
  /** Of the request: some rights tell the one way to change something from the other. */
  readonly verb: 'create' | 'update' | 'patch' | 'delete'
  readonly subresource: string
  readonly namespace: string
  readonly name: string
  /** What is written; for a deletion what is there. */
  readonly object: KubeObject
  readonly old?: KubeObject | undefined
}

/** Throws 403 when a node writes anything that is not about itself or the pods bound to it (NodeRestriction). */
export function restrictNode(store: Store, write: Write): void {
  const nodeName = nodeNameOf(write.identity)
  if (nodeName === undefined) return
  const why = nodeName === '' ? unknownNode(write.identity) : refusal(store, nodeName, write)
  if (why !== undefined) throw forbiddenObject(write.resource.info, write.name, why)
}

function unknownNode({ user }: Identity): string {
  return `could not determine node from user ${JSON.stringify(user)}`
}

function refusal(store: Store, nodeName: string, write: Write): string | undefined {
  const { group, plural } = write.resource.info
  switch (`${group}/${plural}`) {
    case '/pods':
      return refusePod(nodeName, write)
    case '/nodes':
      return refuseNode(nodeName, write)
    case '/serviceaccounts':
      return write.subresource === 'token' ? refuseToken(store, nodeName, write) : undefined
    case '/persistentvolumeclaims':
      return write.subresource === 'status' ? undefined : 'may only update PVC status'
    case 'coordination.k8s.io/leases':
      return refuseLease(nodeName, write)
    case 'storage.k8s.io/csinodes':
      return write.name === nodeName ? undefined : 'can only access CSINode with the same name as the requesting node'
    case 'certificates.k8s.io/certificatesigningrequests':
      return undefined
    default:
      return undefined
  }
}

function refusePod(nodeName: string, { operation, subresource, object, old }: Write): string | undefined {
  const node = JSON.stringify(nodeName)
  const bound = ((old ?? object) as KubeObject & Pod).spec?.nodeName
  if (subresource === 'status') {
    if (bound !== nodeName) return `node ${node} can only update pod status for pods with spec.nodeName set to itself`
    const isRelabelled = !isEqual(object.metadata.labels ?? {}, old?.metadata.labels ?? {})
    return isRelabelled ? `node ${node} cannot update labels through pod status` : undefined
  }
  if (subresource === 'eviction') {
    return bound === nodeName ? undefined : `node ${nodeName} can only evict pods with spec.nodeName set to itself`
  }
  if (subresource !== '') {
    return `unexpected pod subresource ${JSON.stringify(subresource)}, only 'status' and 'eviction' are allowed`
  }
  if (operation === 'delete') {
    return bound === nodeName ? undefined : `node ${node} can only delete pods with spec.nodeName set to itself`
  }
  if (operation === 'create') return refuseMirror(nodeName, object as KubeObject & Pod)
  return `unexpected operation "UPDATE", node ${node} can only create and delete mirror pods`
}

const mirrorAnnotation = 'kubernetes.io/config.mirror'

/** Mirrors of pods a node runs by itself: they name nothing of the API. */
function refuseMirror(nodeName: string, pod: KubeObject & Pod): string | undefined {
  const node = JSON.stringify(nodeName)
  if (pod.metadata.annotations?.[mirrorAnnotation] === undefined) {
    return `pod does not have "${mirrorAnnotation}" annotation, node ${node} can only create mirror pods`
  }
  if (pod.spec?.nodeName !== nodeName) return `node ${node} can only create pods with spec.nodeName set to itself`
  const owners = pod.metadata.ownerReferences ?? []
  const isOwn = owners.every(
    ({ kind, name, controller }) => kind === 'Node' && name === nodeName && controller === true,
  )
  if (owners.length > 1 || !isOwn) {
    return `node ${node} can only create pods with a single owner reference set to itself`
  }
  const [reference] = [...referencesOf(pod)].filter((named) => named !== 'serviceaccounts/default')
  return reference === undefined
    ? undefined
    : `node ${node} can not create pods that reference ${reference.split('/')[0]}`
}

function refuseNode(nodeName: string, { operation, object, old, name }: Write): string | undefined {
  const node = JSON.stringify(nodeName)
  if (name !== nodeName) return `node ${node} is not allowed to modify node ${JSON.stringify(name)}`
  if (operation === 'create') {
    const labels = forbiddenLabels(object, undefined)
    if (labels.length === 0) return undefined
    return `node ${node} is not allowed to set the following labels: ${labels.join(', ')}`
  }
  const [after, before] = [object as KubeObject & Node, old as (KubeObject & Node) | undefined]
  if (!isEqual(after.spec?.taints ?? [], before?.spec?.taints ?? [])) {
    return `node ${node} is not allowed to modify taints`
  }
  if (!isEqual(after.metadata.ownerReferences ?? [], before?.metadata.ownerReferences ?? [])) {
    return `node ${node} is not allowed to modify ownerReferences`
  }
  const labels = forbiddenLabels(object, old)
  return labels.length === 0 ? undefined : `is not allowed to modify labels: ${labels.join(', ')}`
}

const kubeletLabels = new Set([
  'kubernetes.io/hostname',
  'kubernetes.io/os',
  'kubernetes.io/arch',
  'topology.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'failure-domain.beta.kubernetes.io/region',
  'node.kubernetes.io/instance-type',
  'beta.kubernetes.io/instance-type',
  'beta.kubernetes.io/os',
  'beta.kubernetes.io/arch',
  'node.kubernetes.io/windows-build',
])

/** Labels by which somebody steers pods to nodes: a node must not steer them to itself. */
function forbiddenLabels(object: KubeObject, old: KubeObject | undefined): string[] {
  const [after, before] = [object.metadata.labels ?? {}, old?.metadata.labels ?? {}]
  const changed = [...new Set([...Object.keys(after), ...Object.keys(before)])].filter(
    (key) => after[key] !== before[key],
  )
  return changed.filter(isForbiddenLabel).toSorted()
}

function isForbiddenLabel(key: string): boolean {
  const at = key.indexOf('/')
  const domain = at < 0 ? '' : key.slice(0, at)
  if (isWithin(domain, 'node-restriction.kubernetes.io')) return true
  if (!isWithin(domain, 'kubernetes.io') && !isWithin(domain, 'k8s.io')) return false
  const isOpen = isWithin(domain, 'kubelet.kubernetes.io') || isWithin(domain, 'node.kubernetes.io')
  return !kubeletLabels.has(key) && !isOpen
}

function isWithin(domain: string, parent: string): boolean {
  return domain === parent || domain.endsWith(`.${parent}`)
}

function refuseLease(nodeName: string, { namespace, name }: Write): string | undefined {
  if (namespace !== 'kube-node-lease') return 'can only access leases in the "kube-node-lease" system namespace'
  return name === nodeName ? undefined : 'can only access node lease with the same name as the requesting node'
}

function refuseToken(store: Store, nodeName: string, { namespace, object }: Write): string | undefined {
  const { apiVersion, kind, name = '', uid = '' } = (object as unknown as TokenRequest).spec?.boundObjectRef ?? {}
  if (apiVersion !== 'v1' || kind !== 'Pod' || name === '') return 'node requested token not bound to a pod'
  if (uid === '') return 'node requested token with a pod binding without a uid'
  const pods = knownResource('', 'v1', 'pods')
  const entry = store.get(pods.collection, idOf(namespace, name))
  const pod = entry === undefined ? undefined : (readObject(pods, entry) as KubeObject & Pod)
  if (pod?.metadata.uid !== uid) {
    return `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`
  }
  if (pod.spec?.nodeName !== nodeName) return 'node requested token bound to a pod scheduled on a different node'
  return refuseAudience(pod, (object as unknown as TokenRequest).spec?.audiences ?? [])
}

/** A node gets tokens for the audiences that volumes of the pod ask for, and no others. */
function refuseAudience(pod: Pod, audiences: readonly string[]): string | undefined {
  if (audiences.length > 1) return 'node may only request 0 or 1 audiences'
  const [wanted = ''] = audiences
  const sources = (pod.spec?.volumes ?? []).flatMap(({ projected }) => projected?.sources ?? [])
  const isAsked = sources.some(
    ({ serviceAccountToken: token }) => token !== undefined && (token.audience ?? '') === wanted,
  )
  return isAsked ? undefined : `audience ${JSON.stringify(wanted)} not found in pod spec volume`
}
