import type { KubeObject } from '@fairlead/kube/types'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'

import type { Store } from '../../storage/store.ts'
import type { ApiRequest, ApiResponse } from '../exchange.ts'
import type { Kubelet } from '../kubelet.ts'
import { knownResource, readObject } from '../resource.ts'
import { unavailable } from '../status.ts'

/** The slices with the endpoints of a service. */
export function slicesOf(store: Store, namespace: string, service: string): EndpointSlice[] {
  const slices = knownResource('discovery.k8s.io', 'v1', 'endpointslices')
  return [...store.list(slices.collection, { prefix: `${namespace}/` })]
    .map((entry) => readObject(slices, entry) as KubeObject & EndpointSlice)
    .filter(({ metadata }) => metadata?.labels?.['kubernetes.io/service-name'] === service)
}

/** Serves `nodes/proxy`: the agent of the node answers. */
export async function serveNode(
  nodeName: string,
  request: ApiRequest,
  prefix: string,
  findKubelet: (nodeName: string) => Promise<Kubelet>,
): Promise<ApiResponse> {
  const query = request.query.size === 0 ? '' : `?${request.query.toString()}`
  const path = `${encodeURI(request.path.slice(prefix.length)) || '/'}${query}`
  const asked = { method: request.method, path, signal: request.signal }
  const answer = await findKubelet(nodeName)
    .then((kubelet) => kubelet.fetch(asked))
    .catch((error: unknown) => {
      throw unavailable(`error trying to reach service: ${error instanceof Error ? error.message : String(error)}`)
    })
  return {
    status: answer.status,
    headers: answer.headers,
    body: {
      async stream(sink) {
        for await (const chunk of answer.body) {
          if (request.signal.aborted) return
          sink.write(Buffer.from(chunk))
          if (sink.waitingBytes > 0) await sink.drained()
        }
      },
    },
  }
}
