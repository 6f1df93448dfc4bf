import type { KubeObject } from '@fairlead/kube/types'
import type { Node } from '@fairlead/kube/types/core-v1'

const notReady = 'node.kubernetes.io/not-ready'
const finalizers: Readonly<Record<string, string>> = {
  persistentvolumeclaims: 'kubernetes.io/pvc-protection',
  persistentvolumes: 'kubernetes.io/pv-protection',
}

/**
 * TaintNodesByCondition and StorageObjectInUseProtection: a node gets no pods, and a claim or volume that is in use does not
 * go, from the moment it is there. Controllers take back both when it is time.
 */
export function guard(collection: string, object: KubeObject): void {
  const finalizer = finalizers[collection]
  if (finalizer !== undefined) addFinalizer(object, finalizer)
  if (collection === 'nodes') taint(object as KubeObject & Node)
}

function addFinalizer({ metadata }: KubeObject, finalizer: string): void {
  const present = metadata.finalizers ?? []
  if (!present.includes(finalizer)) metadata.finalizers = [...present, finalizer]
}

function taint(node: KubeObject & Node): void {
  const taints = node.spec?.taints ?? []
  if (taints.some(({ key, effect }) => key === notReady && effect === 'NoSchedule')) return
  node.spec = { ...node.spec, taints: [...taints, { key: notReady, effect: 'NoSchedule' }] }
}
