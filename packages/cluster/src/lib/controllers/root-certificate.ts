import { fromInformer, keyOf, runController } from '@fairlead/kube/controller'

import { rootCertificateName } from './context.ts'
import type { ControllerContext } from './context.ts'
import { isLiving, namespaceOf } from './namespaces.ts'
import { ignoreExists } from './write.ts'

/** Keeps in every active namespace the ConfigMap that carries the cluster's CA. */
export function runRootCertificateController(context: ControllerContext, caCertificate: string): Promise<void> {
  const { client, informers, signal, onError } = context
  const data = { 'ca.crt': caCertificate }

  async function ensure(namespace: string): Promise<void> {
    const configMaps = client.resource('v1/ConfigMap')
    const current = informers.rootCertificates.get(namespace, rootCertificateName)
    if (current === undefined) {
      const annotations = { 'kubernetes.io/description': 'Certificate authority of the Kubernetes API server' }
      const metadata = { name: rootCertificateName, namespace, annotations }
      await ignoreExists(configMaps.create({ metadata, data }))
    } else if (current.data?.['ca.crt'] !== caCertificate) {
      await configMaps.update({ ...current, data })
    }
  }

  return runController({
    name: 'root-ca-certificate-publisher',
    sources: [
      fromInformer(informers.namespaces, (namespace) => [keyOf(namespace)]),
      fromInformer(informers.rootCertificates, namespaceOf),
    ],
    async reconcile(namespace) {
      if (isLiving(informers.namespaces.get(undefined, namespace))) await ensure(namespace)
    },
    signal,
    onError,
  })
}
