import type { KubeObject } from '@fairlead/kube/types'
import type { PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'
import type { Ingress, IngressClass } from '@fairlead/kube/types/networking-v1'
import type { StorageClass } from '@fairlead/kube/types/storage-v1'
import { parseQuantity } from '@fairlead/kube/types'

import type { Store } from '../../../storage/store.ts'
import { knownResource } from '../../resource.ts'
import { forbiddenObject } from '../../status.ts'
import { KeptObjects } from '../kept-objects.ts'

const oldClassAnnotation = 'volume.beta.kubernetes.io/storage-class'

/** What a claim or an ingress without a class gets; growing claims are looked at too, as their class decides. */
export class DefaultClasses {
  readonly #storage: KeptObjects<KubeObject & StorageClass>
  readonly #ingress: KeptObjects<KubeObject & IngressClass>

  constructor(store: Store) {
    this.#storage = new KeptObjects(store, knownResource('storage.k8s.io', 'v1', 'storageclasses'))
    this.#ingress = new KeptObjects(store, knownResource('networking.k8s.io', 'v1', 'ingressclasses'))
  }

  /** DefaultStorageClass. */
  completeClaim({ spec, metadata }: KubeObject & PersistentVolumeClaim): void {
    if (spec === undefined || spec.storageClassName !== undefined) return
    if (metadata.annotations?.[oldClassAnnotation] !== undefined) return
    const keys = ['storageclass.kubernetes.io/is-default-class', 'storageclass.beta.kubernetes.io/is-default-class']
    const name = newestDefault(this.#storage.list(), keys)
    if (name !== undefined) spec.storageClassName = name
  }

  /** DefaultIngressClass. */
  completeIngress({ spec, metadata }: KubeObject & Ingress): void {
    if (spec === undefined || spec.ingressClassName !== undefined) return
    if (metadata.annotations?.['kubernetes.io/ingress.class'] !== undefined) return
    const name = newestDefault(this.#ingress.list(), ['ingressclass.kubernetes.io/is-default-class'])
    if (name !== undefined) spec.ingressClassName = name
  }

  /** PersistentVolumeClaimResize. */
  validateGrowth(claim: KubeObject & PersistentVolumeClaim, old: KubeObject & PersistentVolumeClaim): void {
    const [asked, before] = [sizeOf(claim), sizeOf(old)]
    if (asked <= before) return
    const refuse = (why: string): never => {
      throw forbiddenObject(knownResource('', 'v1', 'persistentvolumeclaims').info, claim.metadata.name ?? '', why)
    }
    if (old.status?.phase !== 'Bound') refuse('Only bound persistent volume claims can be expanded')
    const name = claim.metadata.annotations?.[oldClassAnnotation] ?? claim.spec?.storageClassName ?? ''
    const found = name === '' ? undefined : this.#storage.get('', name)
    if (found?.allowVolumeExpansion === true) return
    refuse(
      'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize',
    )
  }
}

/** The default class created last; of several created at once, the first by name. */
function newestDefault(classes: readonly KubeObject[], keys: readonly string[]): string | undefined {
  const defaults = classes.filter(({ metadata }) => keys.some((key) => metadata.annotations?.[key] === 'true'))
  const [newest] = defaults.toSorted((a, b) => {
    const [left = '', right = ''] = [a.metadata.creationTimestamp, b.metadata.creationTimestamp]
    if (left !== right) return left > right ? -1 : 1
    return (a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1
  })
  return newest?.metadata.name
}

function sizeOf({ spec }: PersistentVolumeClaim): number {
  return parseQuantity(spec?.resources?.requests?.['storage'] ?? '0') ?? 0
}
