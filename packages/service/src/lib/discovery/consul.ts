import { messageOf } from '../errors.ts'
import type { Clock } from '../resilience/clock.ts'
import { isRecord, parseJson, textAt } from './api.ts'
import type { ApiAnswer } from './api.ts'
import { openConsulAgent } from './consul-api.ts'
import type { ConsulOptions } from './consul-api.ts'
import { tellChanges } from './dns.ts'
import type { Endpoint } from './endpoint.ts'
import { discoveryFailed } from './errors.ts'
import { runLoop } from './loop.ts'
import type { LoopRound } from './loop.ts'
import type { EndpointSource } from './source.ts'
import type { ConsulQuery, Scheme } from './target.ts'

export interface ConsulSourceOptions extends ConsulOptions {
  /** How long the agent may hold a query when nothing changes. Default 60,000; Consul allows 10 minutes. */
  readonly waitMs?: number | undefined
  /** Least time between two queries, for services that change all the time. Default 1000. */
  readonly minRefreshMs?: number | undefined
  readonly clock?: Clock | undefined
  readonly random?: (() => number) | undefined
}

/**
 * The instances of a service that pass their checks, by blocking queries
 * (https://developer.hashicorp.com/consul/api-docs/features/blocking).
 */
export function createConsulSource(
  target: { readonly service: string; readonly scheme?: Scheme | undefined; readonly query?: ConsulQuery | undefined },
  options: ConsulSourceOptions = {},
): EndpointSource {
  const { service, scheme = 'http', query } = target
  const { waitMs = 60_000, minRefreshMs = 1000, random = Math.random } = options
  const name = `consul://${service}`
  return {
    name,
    subscribe(observer) {
      const agent = openConsulAgent(options)
      const tell = tellChanges(observer)
      let index = 0
      const round = async (signal: AbortSignal, _round: LoopRound): Promise<number> => {
        const url = agent.url(`health/service/${encodeURIComponent(service)}`, {
          passing: '1',
          // Of this instance's own network: instances with tagged addresses have more than one.
          tag: query?.tags,
          dc: query?.datacenter,
          ns: query?.namespace,
          ...(index > 0 ? { index: String(index), wait: `${Math.ceil(waitMs / 1000)}s` } : {}),
        })
        const api = await agent.api()
        // The agent adds up to a sixteenth of the wait, so that not all queries end at once.
        const timeoutMs = index > 0 ? waitMs * (1 + 1 / 16) + 10_000 : 10_000
        const answer = await api.call({ url, headers: await agent.headers(), signal, timeoutMs })
        if (signal.aborted) return 0
        if (answer.status !== 200) throw toFault(name, answer)
        const endpoints = toEndpoints(answer.body, scheme)
        if (endpoints === undefined)
          throw discoveryFailed(
            name,
            'its answer is not a list of instances',
            'Check that CONSUL_HTTP_ADDR is a Consul agent',
          )
        const before = index
        index = nextIndex(before, answer.headers['x-consul-index'])
        tell(endpoints)
        // After a reset everything is asked for anew at once; otherwise as seldom as agreed.
        return index === 0 ? minRefreshMs : minRefreshMs * (before === 0 ? 0 : 0.5 + random() / 2)
      }
      const loop = runLoop({
        ...options,
        round,
        onError(error) {
          // After a restart, or under a new leader, Consul may count from anew: to wait for the index of before would be to wait long.
          index = 0
          observer.error(
            error instanceof Error && 'hint' in error
              ? error
              : discoveryFailed(name, messageOf(error), 'Check that CONSUL_HTTP_ADDR is an agent that answers', error),
          )
        },
      })
      return {
        close() {
          loop.close()
          agent.close()
        },
      }
    },
  }
}

/**
 * The index to wait for next. Back to 0, which asks without waiting, when the answer's is less than the one before, and never
 * below 1 otherwise: an index of 0 would make every query answer at once.
 */
export function nextIndex(before: number, header: string | string[] | undefined): number {
  const index = typeof header === 'string' && /^\d{1,15}$/.test(header) ? Number(header) : 0
  if (index < before) return 0
  return Math.max(1, index)
}

function toEndpoints(body: string, scheme: Scheme): Endpoint[] | undefined {
  const entries = parseJson(body)
  if (!Array.isArray(entries)) return undefined
  return entries.flatMap((entry: unknown) => toEndpoint(entry, scheme) ?? [])
}

function toEndpoint(entry: unknown, scheme: Scheme): Endpoint | undefined {
  const service = isRecord(entry) ? entry['Service'] : undefined
  if (!isRecord(service)) return undefined
  const { Port: port, Weights: weights } = service
  // An instance without an address of its own is on that of its node.
  const host = textAt(service, 'Address') || textAt(entry, 'Node', 'Address')
  if (host === undefined || host === '' || typeof port !== 'number' || port < 1 || port > 65_535) return undefined
  const weight = isRecord(weights) && typeof weights['Passing'] === 'number' ? weights['Passing'] : 1
  const zone =
    textAt(service, 'Locality', 'Zone') ?? textAt(service, 'Meta', 'zone') ?? textAt(entry, 'Node', 'Meta', 'zone')
  return { scheme, host, port, weight: Math.max(weight, 0.01), zone }
}

function toFault(name: string, { status, body }: ApiAnswer): Error {
  const detail = body.split('\n', 1)[0]?.slice(0, 200) ?? ''
  const state = `Consul answered ${status}${detail ? `: ${detail}` : ''}`
  if (status === 401 || status === 403)
    return discoveryFailed(name, state, 'Give the token service:read on this service and node:read on the nodes')
  return discoveryFailed(name, state, 'Look at the Consul agent')
}
