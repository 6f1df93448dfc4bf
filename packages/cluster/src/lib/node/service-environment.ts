import { isNotFound } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { Pod, Service } from '@fairlead/kube/types/core-v1'

/**
 * The variables by which programs find Services: that of the API always, those of the pod's own namespace unless the pod
 * has `enableServiceLinks: false` (Kubernetes, "Discovering services"). Services made later are not among them.
 */
export async function readServiceEnvironment(client: KubeClient, pod: Pod): Promise<Record<string, string>> {
  const services = client.resource('v1/Service')
  const api = await services.get('kubernetes', { namespace: 'default' }).catch((error: unknown) => {
    if (isNotFound(error)) return
    throw error
  })
  const isLinked = pod.spec?.enableServiceLinks !== false
  const own = isLinked ? (await services.list({ namespace: pod.metadata?.namespace ?? 'default' })).items : []
  return renderServiceEnvironment([...(api === undefined ? [] : [api]), ...own])
}

/** Variables for all of `services` that have an address, in the form of Kubernetes and in that of links of Docker. */
export function renderServiceEnvironment(services: readonly Service[]): Record<string, string> {
  const env: Record<string, string> = {}
  for (const { metadata, spec } of services) {
    const host = spec?.clusterIP ?? ''
    const [first] = spec?.ports ?? []
    if (host === '' || host === 'None' || first === undefined) continue
    const prefix = variableOf(metadata?.name ?? '')
    env[`${prefix}_SERVICE_HOST`] = host
    env[`${prefix}_SERVICE_PORT`] = String(first.port)
    const address = host.includes(':') ? `[${host}]` : host
    for (const { name = '', port, protocol = 'TCP' } of spec?.ports ?? []) {
      if (name !== '') env[`${prefix}_SERVICE_PORT_${variableOf(name)}`] = String(port)
      const scheme = protocol.toLowerCase()
      const url = `${scheme}://${address}:${port}`
      env[`${prefix}_PORT`] ??= url
      const link = `${prefix}_PORT_${port}_${protocol}`
      Object.assign(env, {
        [link]: url,
        [`${link}_PROTO`]: scheme,
        [`${link}_PORT`]: String(port),
        [`${link}_ADDR`]: host,
      })
    }
  }
  return env
}

function variableOf(name: string): string {
  return name.replaceAll('-', '_').toUpperCase()
}
