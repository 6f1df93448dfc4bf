import { targetInvalid } from './errors.ts'

/** A service address, parsed. */
export type ServiceTarget =
  | { readonly kind: 'http'; readonly url: URL }
  | { readonly kind: 'dns'; readonly scheme: Scheme; readonly host: string; readonly port: number }
  | { readonly kind: 'srv'; readonly scheme: Scheme; readonly name: string }
  | { readonly kind: 'consul'; readonly scheme: Scheme; readonly service: string; readonly query: ConsulQuery }
  | {
      readonly kind: 'k8s'
      readonly scheme: Scheme
      /** Default: that of this pod. */
      readonly namespace: string | undefined
      readonly service: string
      /** Its name, or a number; undefined where the Service has one only. */
      readonly port: string | undefined
    }

export type Scheme = 'http' | 'https'

export interface ConsulQuery {
  readonly tags: readonly string[]
  readonly datacenter: string | undefined
  readonly namespace: string | undefined
}

const kinds = ['dns', 'srv', 'consul', 'k8s'] as const
const options = {
  dns: ['scheme'],
  srv: ['scheme'],
  consul: ['scheme', 'tag', 'dc', 'ns'],
  k8s: ['scheme'],
} as const satisfies Record<(typeof kinds)[number], readonly string[]>
const label = '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?'
const kubernetesName = new RegExp(`^${label}$`)

/**
 * Parses the address of a service:
 *
 * - `http://host`, `https://host`: nothing is looked up
 * - `dns://host:port`: each address of `host` is an endpoint
 * - `srv://_http._tcp.orders.shop.svc`: DNS SRV records (RFC 2782)
 * - `consul://orders?tag=v2&dc=eu`: instances in Consul that pass their checks
 * - `k8s://namespace/service:port`, `k8s://service:port`: EndpointSlices; `port` by name or number
 *
 * All but the first take `?scheme=https`.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_TARGET`
 */
export function parseTarget(text: string): ServiceTarget {
  const match = /^([a-z][a-z0-9]*):\/\/([^?#]*)(?:\?([^#]*))?$/.exec(text)
  if (match === null) throw targetInvalid(text, 'it is not scheme://name')
  const [, kind = '', name = '', query = ''] = match
  if (kind === 'http' || kind === 'https') {
    if (!URL.canParse(text)) throw targetInvalid(text, 'it is not a URL')
    return { kind: 'http', url: new URL(text) }
  }
  if (!isKind(kind)) throw targetInvalid(text, `scheme "${kind}" is not known`)
  if (name === '' || name.includes('@')) throw targetInvalid(text, name === '' ? 'it has no name' : 'it has an "@"')
  const parameters = new URLSearchParams(query)
  const allowed: readonly string[] = options[kind]
  const unknown = [...parameters.keys()].find((key) => !allowed.includes(key))
  if (unknown !== undefined)
    throw targetInvalid(text, `option "${unknown}" is not known, expected one of ${allowed.join(', ')}`)
  const scheme = parameters.get('scheme') ?? 'http'
  if (scheme !== 'http' && scheme !== 'https') throw targetInvalid(text, 'scheme is neither http nor https')
  return parsers[kind](text, name, scheme, parameters)
}

const parsers = {
  dns(text, name, scheme) {
    const { host, port } = splitPort(text, name)
    if (port === undefined) throw targetInvalid(text, 'it has no port')
    return { kind: 'dns', scheme, host, port: toPort(text, port) }
  },
  srv(text, name, scheme) {
    if (!/^[\w.-]+$/.test(name)) throw targetInvalid(text, 'its name is not that of an SRV record')
    return { kind: 'srv', scheme, name }
  },
  consul(text, name, scheme, parameters) {
    if (/[/:\s]/.test(name)) throw targetInvalid(text, 'its name has "/", ":" or spaces')
    const query = {
      tags: parameters.getAll('tag'),
      datacenter: parameters.get('dc') ?? undefined,
      namespace: parameters.get('ns') ?? undefined,
    }
    return { kind: 'consul', scheme, service: name, query }
  },
  k8s(text, name, scheme) {
    const { host, port } = splitPort(text, name)
    const parts = host.split('/')
    const [namespace, service = ''] = parts.length === 1 ? [undefined, parts[0]] : parts
    if (parts.length > 2) throw targetInvalid(text, 'it has a path')
    for (const part of [namespace ?? service, service])
      if (!kubernetesName.test(part)) throw targetInvalid(text, `"${part}" is not a Kubernetes name`)
    if (port !== undefined && /^\d+$/.test(port)) toPort(text, port)
    else if (port !== undefined && !kubernetesName.test(port)) throw targetInvalid(text, `"${port}" is not a port`)
    return { kind: 'k8s', scheme, namespace, service, port }
  },
} satisfies Record<
  (typeof kinds)[number],
  (text: string, name: string, scheme: Scheme, parameters: URLSearchParams) => ServiceTarget
>

function isKind(kind: string): kind is (typeof kinds)[number] {
  return (kinds as readonly string[]).includes(kind)
}

function splitPort(text: string, name: string): { readonly host: string; readonly port: string | undefined } {
  const match = /^(\[[^\]]+\]|[^:]+)(?::(.*))?$/.exec(name)
  if (match === null) throw targetInvalid(text, 'it is not host:port')
  const [, host = '', port] = match
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port }
}

function toPort(text: string, port: string): number {
  const number = /^\d{1,5}$/.test(port) ? Number(port) : 0
  if (number < 1 || number > 65_535) throw targetInvalid(text, `port "${port}" is not from 1 to 65535`)
  return number
}
