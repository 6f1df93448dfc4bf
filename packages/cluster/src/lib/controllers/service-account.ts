import { isAlreadyExists } from '@fairlead/kube'
import type { KubeResource } from '@fairlead/kube'
import { fromInformer, keyOf, runController } from '@fairlead/kube/controller'

import { rootCertificateName } from './context.ts'
import type { ControllerContext } from './context.ts'

/** Keeps in every active namespace the ServiceAccount `default` and the ConfigMap that carries the cluster's CA. */
export function runServiceAccountController(context: ControllerContext, caCertificate: string): Promise<void> {
  const { client, informers, signal, onError } = context
  async function ensureServiceAccount(namespace: string): Promise<void> {
    if (informers.serviceAccounts.get(namespace, 'default') === undefined) {
      await ignoreExists(client.resource('v1/ServiceAccount').create({ metadata: { name: 'default', namespace } }))
    }
  }

  async function ensureRootCertificate(namespace: string): Promise<void> {
    const configMaps = client.resource('v1/ConfigMap')
    const current = informers.rootCertificates.get(namespace, rootCertificateName)
    const data = { 'ca.crt': caCertificate }
    if (current === undefined) {
      const metadata = {
        name: rootCertificateName,
        namespace,
        annotations: { 'kubernetes.io/description': 'Certificate authority of the Kubernetes API server' },
      }
      await ignoreExists(configMaps.create({ metadata, data }))
    } else if (current.data?.['ca.crt'] !== caCertificate) {
      await configMaps.update({ ...current, data })
    }
  }

  return runController({
    name: 'service-account',
    sources: [
      fromInformer(informers.namespaces, (namespace) => [keyOf(namespace)]),
      fromInformer(informers.serviceAccounts, (account, event) => (event === 'delete' ? namespaceOf(account) : [])),
      fromInformer(informers.rootCertificates, namespaceOf),
    ],
    async reconcile(name) {
      const namespace = informers.namespaces.get(undefined, name)
      if (namespace !== undefined && namespace.metadata?.deletionTimestamp === undefined) {
        await Promise.all([ensureServiceAccount(name), ensureRootCertificate(name)])
      }
    },
    signal,
    onError,
  })
}

function namespaceOf({ metadata }: KubeResource): string[] {
  return [metadata?.namespace ?? '']
}

async function ignoreExists(write: Promise<unknown>): Promise<void> {
  try {
    await write
  } catch (error) {
    // The cache was behind.
    if (!isAlreadyExists(error)) {
      throw error
    }
  }
}
