import type { KubeObject } from '@fairlead/kube/types'

import type { Store } from '../../storage/store.ts'
import { knownResource, readObject } from '../resource.ts'
import type { AdmissionAttributes } from './attributes.ts'

type About = Pick<AdmissionAttributes, 'operation' | 'resource' | 'subresource' | 'namespace' | 'object'>

const namespaces = knownResource('', 'v1', 'namespaces')

/**
 * The namespace whose labels a `namespaceSelector` looks at; undefined when a request is about something in no namespace,
 * which every selector lets through. Of a namespace being written it is the namespace as it will be.
 */
export function namespaceOf(store: Store, about: About): KubeObject | undefined {
  const { resource, operation, subresource, namespace, object } = about
  const isNamespace = resource.info.group === '' && resource.info.kind === 'Namespace'
  if (!resource.info.namespaced && !isNamespace) return undefined
  if (isNamespace && subresource === '' && operation !== 'DELETE' && object !== undefined) return object
  const entry = store.get(namespaces.collection, namespace)
  return entry === undefined ? undefined : readObject(namespaces, entry)
}
