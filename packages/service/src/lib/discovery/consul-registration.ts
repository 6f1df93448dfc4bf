import { hostname, networkInterfaces } from 'node:os'
import { messageOf } from '../errors.ts'
import type { Logger } from '../log/logger.ts'
import type { Clock } from '../resilience/clock.ts'
import type { ApiAnswer } from './api.ts'
import { openConsulAgent } from './consul-api.ts'
import type { ConsulOptions } from './consul-api.ts'
import { registrationFailed } from './errors.ts'
import { runLoop } from './loop.ts'

export interface ConsulRegistrationOptions extends ConsulOptions {
  readonly name: string
  readonly port: number
  /** Where others reach it. Default: the first address of this machine that is not the loopback, IPv4 before IPv6. */
  readonly host?: string | undefined
  /** Of this instance, unique at its agent. Default: name, host name and port. */
  readonly id?: string | undefined
  readonly tags?: readonly string[] | undefined
  readonly meta?: Readonly<Record<string, string>> | undefined
  /**
   * `ttl` (default): this process says that it is well, three times within `ttlMs` (default 15,000). `http`: the agent asks
   * `path` every `intervalMs` (default 10,000).
   */
  readonly check?:
    | {
        readonly kind: 'ttl'
        readonly ttlMs?: number | undefined
        readonly isWell?: (() => boolean | Promise<boolean>) | undefined
      }
    | { readonly kind: 'http'; readonly path: string; readonly intervalMs?: number | undefined }
    | undefined
  /** The agent forgets an instance that was critical for this long, as after a crash. Default 60,000, the least Consul does. */
  readonly forgetAfterMs?: number | undefined
  /** For one request to the agent. Default 5000. */
  readonly timeoutMs?: number | undefined
  readonly log?: Logger | undefined
  readonly signal?: AbortSignal | undefined
  readonly clock?: Clock | undefined
}

/** This instance in Consul. */
export interface ConsulRegistration extends AsyncDisposable {
  readonly id: string
  /** Whether the agent could be told lately. */
  health(): { readonly status: 'up' | 'degraded'; readonly error?: string | undefined }
  /** Takes the instance out. The first step of a drain, so that nobody finds it any more. Once; further calls wait for the first. */
  deregister(): Promise<void>
}

/**
 * Makes this instance known to the Consul agent and keeps it known until {@link ConsulRegistration.deregister}: an agent that
 * forgot it, because it was restarted, is told again.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_REGISTRATION` when the agent does not take it.
 */
export async function registerInConsul(options: ConsulRegistrationOptions): Promise<ConsulRegistration> {
  const agent = openConsulAgent(options)
  const host = options.host ?? ownAddress()
  const id = options.id ?? `${options.name}-${hostname()}-${options.port}`
  const { check = { kind: 'ttl' }, signal: given, timeoutMs = 5000 } = options
  let failure: string | undefined
  let ending: Promise<void> | undefined

  const send = async (method: 'GET' | 'PUT', path: string, body: unknown, signal: AbortSignal): Promise<ApiAnswer> => {
    const api = await agent.api()
    const url = agent.url(
      `agent/${path}`,
      path.startsWith('service/register') ? { 'replace-existing-checks': 'true' } : {},
    )
    const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
    const text = body === undefined ? undefined : JSON.stringify(body)
    return await api.call({ method, url, headers: await agent.headers(), body: text, signal: within, timeoutMs })
  }
  const register = async (signal: AbortSignal): Promise<void> => {
    const answer = await send('PUT', 'service/register', toDefinition(options, id, host, check), signal)
    if (answer.status !== 200) throw toFault(options.name, answer)
  }
  const confirm = async (signal: AbortSignal): Promise<void> => {
    const isAbsent = check.kind === 'ttl' ? await beat(check.isWell, signal) : await isForgotten(signal)
    if (!isAbsent) return
    options.log?.warn('consul forgot this instance, registering again', { service: options.name, id })
    await register(signal)
    if (check.kind === 'ttl') await beat(check.isWell, signal)
  }
  const beat = async (
    isWell: (() => boolean | Promise<boolean>) | undefined,
    signal: AbortSignal,
  ): Promise<boolean> => {
    const isUp = (await isWell?.()) ?? true
    const body = { Status: isUp ? 'passing' : 'critical', Output: isUp ? 'ready' : 'not ready' }
    const answer = await send('PUT', `check/update/${encodeURIComponent(`service:${id}`)}`, body, signal)
    return isAbsentAnswer(options.name, answer)
  }
  const isForgotten = async (signal: AbortSignal): Promise<boolean> =>
    isAbsentAnswer(options.name, await send('GET', `service/${encodeURIComponent(id)}`, undefined, signal))

  const never = new AbortController().signal
  try {
    await register(given ?? never)
    if (check.kind === 'ttl') await beat(check.isWell, given ?? never)
  } catch (error) {
    agent.close()
    if (error instanceof Error && 'hint' in error) throw error
    throw registrationFailed(
      options.name,
      messageOf(error),
      'Check that CONSUL_HTTP_ADDR is an agent that answers',
      error,
    )
  }
  const everyMs = check.kind === 'ttl' ? (check.ttlMs ?? 15_000) / 3 : (check.intervalMs ?? 10_000)
  let isFirst = true
  const loop = runLoop({
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    // A lost agent is told soon after it is back: its checks count from when it starts.
    maxRetryMs: everyMs,
    async round(signal) {
      if (!isFirst) await confirm(signal)
      isFirst = false
      failure = undefined
      return everyMs
    },
    onError(error) {
      if (failure === undefined)
        options.log?.warn('consul agent does not answer', { service: options.name, err: error })
      failure = messageOf(error)
    },
  })
  const deregister = async (): Promise<void> => {
    loop.close()
    try {
      const answer = await send('PUT', `service/deregister/${encodeURIComponent(id)}`, undefined, never)
      // Gone already is gone.
      if (answer.status !== 200 && answer.status !== 404) throw toFault(options.name, answer)
    } finally {
      agent.close()
    }
  }
  return {
    id,
    health: () => (failure === undefined ? { status: 'up' } : { status: 'degraded', error: failure }),
    deregister: () => (ending ??= deregister()),
    async [Symbol.asyncDispose]() {
      await (ending ??= deregister())
    },
  }
}

function toDefinition(
  options: ConsulRegistrationOptions,
  id: string,
  host: string,
  check: NonNullable<ConsulRegistrationOptions['check']>,
): object {
  const forget = { DeregisterCriticalServiceAfter: seconds(Math.max(60_000, options.forgetAfterMs ?? 60_000)) }
  const url = (path: string): string => `http://${host.includes(':') ? `[${host}]` : host}:${options.port}${path}`
  return {
    ID: id,
    Name: options.name,
    Address: host,
    Port: options.port,
    Tags: options.tags ?? [],
    Meta: options.meta ?? {},
    Check:
      check.kind === 'ttl'
        ? { TTL: seconds(check.ttlMs ?? 15_000), ...forget }
        : { HTTP: url(check.path), Interval: seconds(check.intervalMs ?? 10_000), Timeout: '5s', ...forget },
  }
}

function seconds(ms: number): string {
  return `${ms / 1000}s`
}

/** Older agents answer 500 with a text where newer ones answer 404. */
function isAbsentAnswer(name: string, answer: ApiAnswer): boolean {
  if (answer.status === 200) return false
  if (answer.status === 404 || /unknown (check|service)|does not have associated TTL/i.test(answer.body)) return true
  throw toFault(name, answer)
}

function toFault(name: string, { status, body }: ApiAnswer): Error {
  const detail = body.split('\n', 1)[0]?.slice(0, 200) ?? ''
  const hint =
    status === 401 || status === 403 ? 'Give the token service:write on this service' : 'Look at the Consul agent'
  return registrationFailed(name, `Consul answered ${status}${detail ? `: ${detail}` : ''}`, hint)
}

function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  const usable = all.filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
  return (usable.find(({ family }) => family === 'IPv4') ?? usable[0])?.address ?? '127.0.0.1'
}
