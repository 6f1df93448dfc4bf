import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { codeOf, messageOf } from '../errors.ts'
import type { Clock } from '../resilience/clock.ts'
import type { Endpoint } from './endpoint.ts'
import { isSameSnapshot } from './endpoint.ts'
import { discoveryFailed } from './errors.ts'
import { runLoop } from './loop.ts'
import { createStaticSource } from './source.ts'
import type { EndpointSource, SourceObserver } from './source.ts'

/** The part of node:dns that is used: a `Resolver` of node:dns/promises. */
export interface DnsResolver {
  resolve4(name: string, options: { readonly ttl: true }): Promise<readonly AddressRecord[]>
  resolve6(name: string, options: { readonly ttl: true }): Promise<readonly AddressRecord[]>
  resolveSrv(name: string): Promise<readonly SrvRecord[]>
  cancel(): void
}

export interface AddressRecord {
  readonly address: string
  /** Seconds. */
  readonly ttl: number
}

export interface SrvRecord {
  readonly name: string
  readonly port: number
  readonly priority: number
  readonly weight: number
}

export interface DnsOptions {
  /** Name servers, `host` or `host:port`. Default: those of the system, with its search list and, for what DNS does not know, its hosts file. */
  readonly servers?: readonly string[] | undefined
  /** Which addresses count. Default: IPv4 if there are any, else IPv6, as one instance may have both. */
  readonly family?: 4 | 6 | undefined
  /** Records are looked up again when their TTL is over, not before this. Default 1000. */
  readonly minRefreshMs?: number | undefined
  /** And not after this, whatever their TTL. SRV records, whose TTL Node does not tell, are looked up this often. Default 30,000. */
  readonly maxRefreshMs?: number | undefined
  /** For one question to one server. Default 2000. */
  readonly timeoutMs?: number | undefined
  /** Default: the search list of /etc/resolv.conf, or none where `servers` are given. */
  readonly search?: DnsSearch | undefined
  readonly resolver?: DnsResolver | undefined
  readonly clock?: Clock | undefined
  readonly random?: (() => number) | undefined
}

/** `search` and `ndots` of resolv.conf(5). */
export interface DnsSearch {
  readonly domains: readonly string[]
  readonly ndots: number
}

type Scheme = 'http' | 'https'

/** Each address of `host` is an endpoint. An IP address is one endpoint for ever. */
export function createDnsSource(
  target: { readonly host: string; readonly port: number; readonly scheme?: Scheme | undefined },
  options: DnsOptions = {},
): EndpointSource {
  const { host, port, scheme = 'http' } = target
  const name = `dns://${host}:${port}`
  if (isIP(host) !== 0) return createStaticSource([{ scheme, host, port }], name)
  const authority = `${host.replace(/\.$/, '')}:${port}`
  return createSource(name, options, async (lookup) => {
    const { addresses, ttlMs } = await lookup.addresses(host)
    return { ttlMs, endpoints: addresses.map((address) => ({ scheme, host: address, port, authority })) }
  })
}

/** The instances named by SRV records (RFC 2782), each address of them an endpoint. */
export function createSrvSource(
  target: { readonly name: string; readonly scheme?: Scheme | undefined },
  options: DnsOptions = {},
): EndpointSource {
  const { scheme = 'http' } = target
  return createSource(`srv://${target.name}`, options, async (lookup) => {
    const records = await lookup.services(target.name)
    // One record whose target is the root: decidedly not available there.
    const present = records.filter(({ name }) => name !== '' && name !== '.')
    const found = await Promise.allSettled(
      present.map(async (record) => ({ record, ...(await lookup.addresses(record.name)) })),
    )
    const known = found.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const failed = found.find((one) => one.status === 'rejected')
    if (known.length === 0 && failed !== undefined) throw failed.reason
    return {
      ttlMs: Math.min(Number.POSITIVE_INFINITY, ...known.map(({ ttlMs }) => ttlMs)),
      endpoints: known.flatMap(({ record, addresses }) => toEndpoints(record, addresses, scheme)),
    }
  })
}

function toEndpoints(record: SrvRecord, addresses: readonly string[], scheme: Scheme): Endpoint[] {
  const { name, port, priority, weight } = record
  const authority = `${name.replace(/\.$/, '')}:${port}`
  // A record without weight gets a very small share beside those with one (RFC 2782).
  const share = Math.max(weight, 0.01) / addresses.length
  return addresses.map((host) => ({ scheme, host, port, priority, weight: share, authority }))
}

interface Lookup {
  addresses(name: string): Promise<{ readonly addresses: readonly string[]; readonly ttlMs: number }>
  services(name: string): Promise<readonly SrvRecord[]>
}

interface Found {
  readonly endpoints: readonly Endpoint[]
  readonly ttlMs: number
}

function createSource(name: string, options: DnsOptions, find: (lookup: Lookup) => Promise<Found>): EndpointSource {
  const { minRefreshMs = 1000, maxRefreshMs = 30_000, random = Math.random } = options
  return {
    name,
    subscribe(observer) {
      const resolver = openResolver(options)
      const tell = tellChanges(observer)
      const loop = runLoop({
        ...options,
        minMs: minRefreshMs,
        async round(signal) {
          const { endpoints, ttlMs } = await find(createLookup(await resolver, options))
          if (!signal.aborted) tell(endpoints)
          const dueMs = Math.min(maxRefreshMs, Math.max(minRefreshMs, ttlMs))
          // Not all processes of a deployment at the same moment.
          return dueMs * (1 + random() * 0.1)
        },
        onError: (error) => observer.error(toError(name, error)),
      })
      return {
        refresh: () => loop.refresh(),
        close() {
          loop.close()
          void resolver.then((opened) => opened.cancel()).catch(() => {})
        },
      }
    },
  }
}

/** Snapshots that say nothing new are not told. */
export function tellChanges(observer: SourceObserver): (endpoints: readonly Endpoint[]) => void {
  let told: readonly Endpoint[] | undefined
  return (endpoints) => {
    if (told !== undefined && isSameSnapshot(told, endpoints)) return
    told = endpoints
    observer.snapshot(endpoints)
  }
}

/** Loaded when first needed: most services look nothing up by themselves. */
async function openResolver(options: DnsOptions): Promise<DnsResolver> {
  if (options.resolver !== undefined) return options.resolver
  const { Resolver } = await import('node:dns/promises')
  const resolver = new Resolver({ timeout: options.timeoutMs ?? 2000, tries: 2 })
  if (options.servers !== undefined) resolver.setServers(options.servers)
  return resolver
}

function createLookup(resolver: DnsResolver, options: DnsOptions): Lookup {
  const isOfSystem = options.resolver === undefined && options.servers === undefined
  const search = async (): Promise<DnsSearch> => options.search ?? (isOfSystem ? await readSearch() : noSearch)
  const first = async <T>(name: string, ask: (name: string) => Promise<T>): Promise<T> => {
    let failure: unknown
    for (const candidate of candidatesOf(name, await search())) {
      try {
        return await ask(candidate)
      } catch (error) {
        if (!isAbsent(error)) throw error
        failure ??= error
      }
    }
    throw failure
  }
  const ask = async (name: string): Promise<{ addresses: string[]; ttlMs: number }> => {
    const families = options.family === undefined ? ([4, 6] as const) : [options.family]
    const answers = await Promise.allSettled(
      families.map((family) => resolver[family === 4 ? 'resolve4' : 'resolve6'](name, { ttl: true })),
    )
    // A server that fails for one family says nothing of the other: what is known is better than nothing.
    for (const answer of answers)
      if (answer.status === 'fulfilled' && answer.value.length > 0) return toAddresses(answer.value)
    const failures = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []))
    throw failures.find((error) => !isAbsent(error)) ?? failures[0] ?? new Error('there is no address')
  }
  return {
    services: (name) => first(name, (candidate) => resolver.resolveSrv(candidate)),
    async addresses(name) {
      if (isIP(name) !== 0) return { addresses: [name], ttlMs: Number.POSITIVE_INFINITY }
      try {
        return await first(name, ask)
      } catch (error) {
        if (!isOfSystem || !isAbsent(error)) throw error
        const known = await lookUpInSystem(name, options.family)
        if (known.length === 0) throw error
        return { addresses: known, ttlMs: 5000 }
      }
    },
  }
}

function toAddresses(records: readonly AddressRecord[]): { addresses: string[]; ttlMs: number } {
  return {
    addresses: records.map(({ address }) => address),
    ttlMs: Math.min(...records.map(({ ttl }) => ttl * 1000)),
  }
}

/** /etc/hosts and whatever else the system asks, which c-ares does not. */
async function lookUpInSystem(name: string, family: 4 | 6 | undefined): Promise<string[]> {
  const { lookup } = await import('node:dns/promises')
  const found = await lookup(name, { all: true, ...(family === undefined ? {} : { family }) }).catch(() => [])
  const one = found.some((address) => address.family === 4) ? 4 : 6
  return found.filter((address) => address.family === one).map(({ address }) => address)
}

const noSearch: DnsSearch = { domains: [], ndots: 1 }

async function readSearch(): Promise<DnsSearch> {
  const text = await readFile('/etc/resolv.conf', 'utf8').catch(() => '')
  return parseSearch(text)
}

/** The search list of a resolv.conf(5), which c-ares applies to no query of its own. */
export function parseSearch(text: string): DnsSearch {
  let search = noSearch
  for (const line of text.split('\n')) {
    const [word, ...rest] = line.trim().split(/\s+/)
    if (word === 'search' || word === 'domain') search = { ...search, domains: rest.slice(0, 32) }
    const ndots = word === 'options' ? rest.map((option) => /^ndots:(\d+)$/.exec(option)?.[1]).find(Boolean) : undefined
    if (ndots !== undefined) search = { ...search, ndots: Math.min(15, Number(ndots)) }
  }
  return search
}

/** The names to ask for, in this order, until one is known. */
export function candidatesOf(name: string, { domains, ndots }: DnsSearch): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)]
  const searched = domains.filter((domain) => domain !== '.').map((domain) => `${name}.${domain}`)
  const dots = name.split('.').length - 1
  return dots >= ndots ? [name, ...searched] : [...searched, name]
}

const absentCodes = new Set(['ENOTFOUND', 'ENODATA', 'ENONAME'])

function isAbsent(error: unknown): boolean {
  return absentCodes.has(codeOf(error) ?? '')
}

function toError(name: string, error: unknown): Error {
  const code = codeOf(error)
  if (isAbsent(error))
    return discoveryFailed(name, `DNS knows no such name (${code})`, 'Check the name and where it is defined', error)
  const state = code === undefined ? messageOf(error) : `the name server did not answer as it should (${code})`
  return discoveryFailed(name, state, 'Check that this process may reach its name server', error)
}
