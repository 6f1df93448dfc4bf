import type { KubeObject } from '@fairlead/kube/types'
import type { ParamKind, ParamRef } from '@fairlead/kube/types/admissionregistration-v1'

import type { Store } from '../../../storage/store.ts'
import type { Catalogue } from '../../catalogue.ts'
import { idOf, readObject } from '../../resource.ts'
import { selects } from '../label-selectors.ts'

/** The parameters of a binding: one evaluation for each; throws an `Error` when there should be some and are not. */
export function findParams(
  { store, catalogue }: { readonly store: Store; readonly catalogue: Catalogue },
  kind: ParamKind | undefined,
  ref: ParamRef | undefined,
  requestNamespace: string,
): readonly (KubeObject | undefined)[] {
  if (kind === undefined || ref === undefined) return [undefined]
  const resource = catalogue.findKind(kind.apiVersion ?? '', kind.kind ?? '')
  if (resource === undefined) {
    throw new Error(`failed to find resource referenced by paramKind: '${kind.apiVersion}, Kind=${kind.kind}'`)
  }
  const { namespaced } = resource.info
  const { name = '', selector, parameterNotFoundAction } = ref
  const namespace = namespaced ? (ref.namespace ?? requestNamespace) : ''
  if (namespaced && namespace === '')
    throw new Error('cannot use namespaced paramRef in policy binding that matches cluster-scoped resources')
  if (!namespaced && (ref.namespace ?? '') !== '')
    throw new Error('paramRef.namespace must not be provided for a cluster-scoped `paramKind`')
  const found: KubeObject[] = []
  if (name === '') {
    for (const entry of store.list(resource.collection, { prefix: namespaced ? `${namespace}/` : '' })) {
      const object = readObject(resource, entry)
      if (selects(selector, object.metadata.labels)) found.push(object)
    }
  } else {
    const entry = store.get(resource.collection, idOf(namespace, name))
    if (entry !== undefined) found.push(readObject(resource, entry))
  }
  if (found.length > 0 || parameterNotFoundAction === 'Allow') return found
  throw new Error('no params found for policy binding with `Deny` parameterNotFoundAction')
}
