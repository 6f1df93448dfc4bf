import { fromInformer, keyOf, runController } from '@fairlead/kube/controller'

import type { ControllerContext } from './context.ts'
import { isLiving, namespaceOf } from './namespaces.ts'
import { ignoreExists } from './write.ts'

/** Keeps the ServiceAccount `default` in every active namespace. */
export function runServiceAccountController(context: ControllerContext): Promise<void> {
  const { client, informers, signal, onError } = context
  return runController({
    name: 'service-account',
    sources: [
      fromInformer(informers.namespaces, (namespace) => [keyOf(namespace)]),
      fromInformer(informers.serviceAccounts, (account, event) => (event === 'delete' ? namespaceOf(account) : [])),
    ],
    async reconcile(namespace) {
      if (!isLiving(informers.namespaces.get(undefined, namespace))) return
      if (informers.serviceAccounts.get(namespace, 'default') !== undefined) return
      await ignoreExists(client.resource('v1/ServiceAccount').create({ metadata: { name: 'default', namespace } }))
    },
    signal,
    onError,
  })
}
