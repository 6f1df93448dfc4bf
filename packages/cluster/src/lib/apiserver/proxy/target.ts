import { isIP } from 'node:net'
import type { KubeObject } from '@fairlead/kube/types'
import type { Pod, Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'

import { badRequest, unavailable } from '../status.ts'

/** A name as the proxy subresources take it: `[scheme:]name[:port]`. */
export interface ProxyName {
  readonly scheme: 'http' | 'https'
  readonly name: string
  /** Number or name; empty for the first. */
  readonly port: string
}

/** Where a request goes. */
export interface ProxyTarget {
  readonly scheme: 'http' | 'https'
  readonly host: string
  readonly port: number
  /** How the other end is known, and what this one proves itself with. Default: whoever answers there is believed. */
  readonly tls?: ProxyTls | undefined
  /** Headers in place of those of the request. */
  readonly headers?: Readonly<Record<string, string | string[]>> | undefined
}

export interface ProxyTls {
  readonly servername: string
  readonly rejectUnauthorized: boolean
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

/** Reads `[scheme:]name[:port]`; throws 400. */
export function parseProxyName(text: string): ProxyName {
  const parts = text.split(':')
  const [first = '', second = '', third = ''] = parts
  if (parts.length === 1) return { scheme: 'http', name: first, port: '' }
  if (parts.length === 2) return { scheme: 'http', name: first, port: second }
  const isKnown = first === '' || first === 'http' || first === 'https'
  if (parts.length !== 3 || !isKnown) throw badRequest(`invalid pod request "${text}"`)
  return { scheme: first === 'https' ? 'https' : 'http', name: second, port: third }
}

/** The port asked for, else the pod's first. */
export function podTarget(pod: KubeObject & Pod, { scheme, port, name }: ProxyName): ProxyTarget {
  const ports = (pod.spec?.containers ?? []).flatMap((container) => container.ports ?? [])
  const number = port === '' ? (ports[0]?.containerPort ?? 80) : Number(port)
  const named = ports.find((one) => one.name === port)?.containerPort
  return { scheme, host: reachable(pod.status?.podIP ?? '', name), port: checkPort(named ?? number, port) }
}

/** One ready endpoint behind the port asked for, else behind the service's first; `choose` picks among several. */
export function serviceTarget(
  service: KubeObject & Service,
  slices: readonly EndpointSlice[],
  { scheme, port, name }: ProxyName,
  choose: (count: number) => number = (count) => Math.floor(Math.random() * count),
): ProxyTarget {
  const ports = service.spec?.ports ?? []
  const wanted = port === '' ? ports[0] : ports.find((one) => one.name === port || String(one.port) === port)
  if (wanted === undefined) throw unavailable(`no service port "${port}" found for service "${name}"`)
  const found = slices.flatMap(({ ports: open = [], endpoints = [] }) => {
    const number = open.find((one) => (one.name ?? '') === (wanted.name ?? ''))?.port
    const ready = endpoints.filter(({ conditions }) => conditions?.ready !== false)
    return number === undefined
      ? []
      : ready.flatMap(({ addresses }) => addresses.map((host) => ({ host, port: number })))
  })
  const chosen = found[choose(found.length)]
  if (chosen === undefined) throw unavailable(`no endpoints available for service "${name}"`)
  return { scheme, host: reachable(chosen.host, name), port: chosen.port }
}

function checkPort(port: number, asked: string): number {
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port
  throw badRequest(`invalid port "${asked}"`)
}

/** Whoever may write a status must not turn this server on itself or on the machine's neighbours (`IsProxyableIP`). */
function reachable(host: string, name: string): string {
  if (isIP(host) === 0) throw unavailable(`address not found for "${name}"`)
  if (/^(127\.0\.0\.1|0\.0\.0\.0|169\.254\..*|22[4-9]\..*|2[3-5]\d\..*|::1?|fe[89ab].*|ff.*|::ffff:.*)$/i.test(host)) {
    throw badRequest('address not allowed')
  }
  return host
}
