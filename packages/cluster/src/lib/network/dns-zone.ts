import type { Answer, Question, SrvAnswer, StringAnswer } from 'dns-packet'
import type { Endpoint } from '@fairlead/kube/types/discovery-v1'
import { parseIpv4 } from './cidr.ts'
import type { ServiceEntry } from './service-table.ts'

/** Seconds a resolver may keep an answer about the cluster, positive or negative. */
export const clusterTtlSeconds = 5

/** What the zone knows about one name and type. `elsewhere` is a name outside the cluster whose records complete the answer. */
export type ZoneReply =
  | { readonly status: 'answer'; readonly answers: readonly Answer[]; readonly elsewhere?: string | undefined }
  /** The name exists, without records of this type. */
  | { readonly status: 'no-data' }
  | { readonly status: 'no-name' }
  /** Not a name of the cluster. */
  | { readonly status: 'foreign' }

/** The Services the zone answers for, by `namespace/name`. */
export type ZoneEntries = ReadonlyMap<string, ServiceEntry>

/**
 * Answers a question about the cluster's zone (Kubernetes DNS-Based Service Discovery 1.1.0). Pure. Names compare without
 * case; answers carry the name as it was asked.
 */
export function answerQuestion(question: Question, entries: ZoneEntries, domain = 'cluster.local'): ZoneReply {
  const name = question.name.toLowerCase().replace(/\.$/, '')
  const address = reverseAddress(name)
  if (address !== undefined) return answerReverse(question, address, entries, domain)
  if (name !== domain && !name.endsWith(`.${domain}`)) return { status: 'foreign' }
  const labels = name === domain ? [] : name.slice(0, -domain.length - 1).split('.')
  const kind = labels.pop()
  if (kind === undefined) return { status: 'no-data' }
  if (kind === 'svc') return answerServices(question, labels, entries, domain)
  if (kind === 'pod') return answerPods(question, labels)
  if (kind !== 'dns-version' || labels.length > 0) return { status: 'no-name' }
  return ofType(question, ['TXT'], [{ type: 'TXT', name: question.name, ttl: clusterTtlSeconds, data: '1.1.0' }])
}

function answerServices(question: Question, labels: string[], entries: ZoneEntries, domain: string): ZoneReply {
  const namespace = labels.pop()
  const service = labels.pop()
  if (namespace === undefined) return { status: 'no-data' }
  if (service === undefined) {
    const exists = [...entries.keys()].some((key) => key.startsWith(`${namespace}/`))
    return { status: exists ? 'no-data' : 'no-name' }
  }
  const entry = entries.get(`${namespace}/${service}`)
  if (entry === undefined) return { status: 'no-name' }
  const full = `${service}.${namespace}.svc.${domain}`
  if (entry.service.spec?.type === 'ExternalName') return answerExternalName(question, labels, entry, entries, domain)
  if (labels.length === 0) return answerService(question, entry, full)
  const [first = '', second = ''] = labels
  if (labels.length === 2 && first.startsWith('_') && second.startsWith('_')) {
    return answerPort(question, entry, full, first.slice(1), second.slice(1))
  }
  if (labels.length !== 1) return { status: 'no-name' }
  const named = endpointsOf(entry).filter((endpoint) => isHeadless(entry) && hostOf(endpoint) === first)
  if (named.length > 0) return ofType(question, ['A'], addressRecords(question.name, addressesOf(named)))
  // "_tcp.service" exists as soon as a port below it does.
  const isBranch = entry.service.spec?.ports?.some((port) => `_${(port.protocol ?? 'TCP').toLowerCase()}` === first)
  return { status: isBranch === true ? 'no-data' : 'no-name' }
}

function answerService(question: Question, entry: ServiceEntry, full: string): ZoneReply {
  if (question.type === 'SRV') {
    const records = (entry.service.spec?.ports ?? []).flatMap((port) => portRecords(question.name, entry, full, port))
    return records.length > 0 ? { status: 'answer', answers: records } : { status: 'no-data' }
  }
  const addresses = isHeadless(entry) ? addressesOf(endpointsOf(entry)) : clusterAddresses(entry)
  return ofType(question, ['A'], addressRecords(question.name, addresses))
}

function answerPort(question: Question, entry: ServiceEntry, full: string, name: string, protocol: string): ZoneReply {
  const port = entry.service.spec?.ports?.find(
    (candidate) => candidate.name === name && (candidate.protocol ?? 'TCP').toLowerCase() === protocol,
  )
  if (port === undefined) return { status: 'no-name' }
  return ofType(question, ['SRV'], portRecords(question.name, entry, full, port))
}

function answerExternalName(
  question: Question,
  labels: readonly string[],
  entry: ServiceEntry,
  entries: ZoneEntries,
  domain: string,
): ZoneReply {
  const target = entry.service.spec?.externalName?.replace(/\.$/, '')
  if (labels.length > 0 || target === undefined || target === '') return { status: 'no-name' }
  const alias: StringAnswer = { type: 'CNAME', name: question.name, ttl: clusterTtlSeconds, data: target }
  if (question.type === 'CNAME') return { status: 'answer', answers: [alias] }
  // A stub resolver expects the end of the chain in the same answer. An alias to another alias is not followed: it could circle.
  const owner = entries.get(target.toLowerCase().split('.').slice(0, 2).toReversed().join('/'))
  if (owner?.service.spec?.type === 'ExternalName') return { status: 'answer', answers: [alias] }
  const end = answerQuestion({ ...question, name: target }, entries, domain)
  if (end.status === 'foreign') return { status: 'answer', answers: [alias], elsewhere: target }
  return { status: 'answer', answers: [alias, ...(end.status === 'answer' ? end.answers : [])] }
}

/** `10-64-0-2.namespace.pod`: an address in words, true whether or not a pod has it (as CoreDNS `pods insecure`). */
function answerPods(question: Question, labels: readonly string[]): ZoneReply {
  if (labels.length < 2) return { status: 'no-data' }
  const address = (labels[0] ?? '').replaceAll('-', '.')
  if (labels.length > 2 || parseIpv4(address) === undefined) return { status: 'no-name' }
  return ofType(question, ['A'], addressRecords(question.name, [address]))
}

function answerReverse(question: Question, address: string, entries: ZoneEntries, domain: string): ZoneReply {
  for (const [key, entry] of entries) {
    const service = `${key.split('/').toReversed().join('.')}.svc.${domain}`
    if (clusterAddresses(entry).includes(address)) return pointer(question, service)
    const endpoint = isHeadless(entry)
      ? endpointsOf(entry).find(({ addresses }) => addresses.includes(address))
      : undefined
    if (endpoint !== undefined) return pointer(question, `${hostOf(endpoint)}.${service}`)
  }
  return { status: 'foreign' }
}

function pointer(question: Question, target: string): ZoneReply {
  return ofType(question, ['PTR'], [{ type: 'PTR', name: question.name, ttl: clusterTtlSeconds, data: target }])
}

function portRecords(
  name: string,
  entry: ServiceEntry,
  full: string,
  port: { name?: string | undefined; port: number; protocol?: string | undefined },
): SrvAnswer[] {
  const record = (target: string, number: number): SrvAnswer => ({
    type: 'SRV',
    name,
    ttl: clusterTtlSeconds,
    data: { priority: 0, weight: 100, port: number, target },
  })
  if (!isHeadless(entry)) return [record(full, port.port)]
  return entry.slices.flatMap((slice) => {
    const number = slice.ports?.find(
      (candidate) =>
        (candidate.name ?? '') === (port.name ?? '') && (candidate.protocol ?? 'TCP') === (port.protocol ?? 'TCP'),
    )?.port
    if (number === undefined) return []
    return readyEndpoints(slice.endpoints ?? []).map((endpoint) => record(`${hostOf(endpoint)}.${full}`, number))
  })
}

function addressRecords(name: string, addresses: readonly string[]): StringAnswer[] {
  return addresses.map((data) => ({ type: 'A', name, ttl: clusterTtlSeconds, data }))
}

function ofType(question: Question, types: readonly string[], answers: readonly Answer[]): ZoneReply {
  if (answers.length === 0 || !types.includes(question.type)) return { status: 'no-data' }
  return { status: 'answer', answers }
}

function isHeadless({ service }: ServiceEntry): boolean {
  return service.spec?.clusterIP === 'None'
}

function clusterAddresses({ service }: ServiceEntry): string[] {
  const all = [...(service.spec?.clusterIPs ?? []), service.spec?.clusterIP ?? '']
  return [...new Set(all)].filter((address) => parseIpv4(address) !== undefined)
}

function endpointsOf({ slices }: ServiceEntry): Endpoint[] {
  return readyEndpoints(
    slices.filter(({ addressType }) => addressType === 'IPv4').flatMap(({ endpoints }) => endpoints ?? []),
  )
}

function readyEndpoints(endpoints: readonly Endpoint[]): Endpoint[] {
  return endpoints.filter(({ conditions }) => conditions?.ready !== false)
}

function addressesOf(endpoints: readonly Endpoint[]): string[] {
  return [...new Set(endpoints.flatMap(({ addresses }) => addresses))]
}

/** The label an endpoint of a headless Service is reachable by. */
function hostOf({ hostname, addresses }: Endpoint): string {
  return hostname ?? (addresses[0] ?? '').replaceAll('.', '-')
}

/** The address a reverse name (`2.64.64.10.in-addr.arpa`, lower case) stands for. */
export function reverseAddress(name: string): string | undefined {
  if (!name.endsWith('.in-addr.arpa')) return undefined
  const address = name.slice(0, -'.in-addr.arpa'.length).split('.').toReversed().join('.')
  return parseIpv4(address) === undefined ? undefined : address
}
