import { readBytes } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { Scale } from '@fairlead/kube/types/autoscaling-v1'
import type { CrossVersionObjectReference } from '@fairlead/kube/types/autoscaling-v2'

import { locate } from './metrics-client.ts'

/** Reads and writes the `scale` subresource of whatever has one, with no more rights than to get and to update it. */
export interface ScaleClient {
  get(): Promise<Scale>
  update(scale: Scale, replicas: number): Promise<void>
}

export async function openScale(
  client: KubeClient,
  namespace: string,
  reference: CrossVersionObjectReference,
): Promise<ScaleClient> {
  const { apiVersion = 'v1', name } = reference
  const { plural } = await locate(client, reference)
  const root = apiVersion.includes('/') ? '/apis' : '/api'
  const path = `${root}/${apiVersion}/namespaces/${namespace}/${plural}/${encodeURIComponent(name)}/scale`
  const headers = { accept: 'application/json', 'content-type': 'application/json' }
  return {
    async get() {
      const { body } = await client.request({ method: 'GET', path, headers })
      return JSON.parse(Buffer.from(await readBytes(body)).toString('utf8')) as Scale
    },
    async update(scale, replicas) {
      const changed = { ...scale, spec: { ...scale.spec, replicas } }
      const { body } = await client.request({ method: 'PUT', path, headers, body: JSON.stringify(changed) })
      await readBytes(body)
    },
  }
}
