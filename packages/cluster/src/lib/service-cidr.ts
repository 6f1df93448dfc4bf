import { isAlreadyExists, isNotFound } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { ServiceCIDR } from '@fairlead/kube/types/networking-v1'

const name = 'kubernetes'

/** Publishes the range that addresses of Services come from, as kube-apiserver does. A range of before is replaced. */
export async function publishServiceCidr(client: KubeClient, cidr: string, signal: AbortSignal): Promise<void> {
  const ranges = client.resource('networking.k8s.io/v1/ServiceCIDR')
  const found = await ranges.get(name, { signal }).catch((error: unknown) => {
    if (isNotFound(error)) return
    throw error
  })
  const isSame = found?.spec?.cidrs?.join() === cidr
  if (isSame && found.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true)
    return
  if (found !== undefined && !isSame) await ranges.delete(name, { signal })
  if (!isSame) {
    const range: ServiceCIDR = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'ServiceCIDR',
      metadata: { name },
      spec: { cidrs: [cidr] },
    }
    await ranges.create(range, { signal }).catch((error: unknown) => {
      if (!isAlreadyExists(error)) throw error
    })
  }
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: '',
    message: 'Kubernetes default Service CIDR is ready',
    lastTransitionTime: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
  }
  const body = { status: { conditions: [ready] } }
  await ranges.patch(name, { type: 'merge', body }, { subresource: 'status', signal })
}
