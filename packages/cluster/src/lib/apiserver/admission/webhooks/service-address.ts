import type { KubeObject } from '@fairlead/kube/types'
import type { Service } from '@fairlead/kube/types/core-v1'

import type { Store } from '../../../storage/store.ts'
import { slicesOf } from '../../proxy/sources.ts'
import { serviceTarget } from '../../proxy/target.ts'
import { idOf, knownResource, readObject } from '../../resource.ts'
import { notFound } from '../../status.ts'

/** Where a connection to a port of a service goes: finds a program behind it; throws the `Status` that says why not. */
export type ServiceResolver = (
  namespace: string,
  name: string,
  port: number,
) => { readonly host: string; readonly port: number }

/** Resolves to a ready endpoint directly: nothing between this process and the program has to know the service yet. */
export function createServiceResolver(store: Store): ServiceResolver {
  const services = knownResource('', 'v1', 'services')
  return (namespace, name, port) => {
    const entry = store.get(services.collection, idOf(namespace, name))
    if (entry === undefined) throw notFound(services.info, name)
    const service = readObject(services, entry) as KubeObject & Service
    const { type, externalName = '' } = service.spec ?? {}
    if (type === 'ExternalName') return { host: externalName, port }
    const asked = { scheme: 'https', name, port: String(port) } as const
    const { host, port: target } = serviceTarget(service, slicesOf(store, namespace, name), asked)
    return { host, port: target }
  }
}
