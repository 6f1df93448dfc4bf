import { randomUUID } from 'node:crypto'
import type { Balancer, PickedEndpoint } from '../client/balancer.ts'
import { messageOf } from '../errors.ts'
import type { Logger } from '../log/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { systemClock } from '../resilience/clock.ts'
import type { Clock } from '../resilience/clock.ts'
import { checkNumber, policyInvalid } from '../resilience/errors.ts'
import { urlOf } from './endpoint.ts'
import type { Endpoint } from './endpoint.ts'
import { noEndpoints } from './errors.ts'
import { Member } from './member.ts'
import { reportBalancer } from './metrics.ts'
import { ejectionMs, findUnsuccessful, isOverConsecutive, mayEject, outlierDefaults } from './outlier.ts'
import type { OutlierOptions, OutlierRules } from './outlier.ts'
import { selectMembers } from './select.ts'
import type { Selection, SelectionRules } from './select.ts'
import type { EndpointSource, SourceSubscription } from './source.ts'
import { createChoose, observe } from './strategy.ts'
import type { Choose, Strategy } from './strategy.ts'

export interface BalancerOptions {
  /** In metrics, logs and errors. Default: the source's name. */
  readonly name?: string | undefined
  /** Default `p2c`. */
  readonly strategy?: Strategy | undefined
  /** For `p2c`: time in which an observed latency loses 63% of its weight. Default 10,000. */
  readonly tauMs?: number | undefined
  /** For `p2c`: what an endpoint is taken to cost while its first call is under way. Default 60,000. */
  readonly penaltyMs?: number | undefined
  /** Which endpoints are set aside for a while. `false`: none. */
  readonly outlier?: OutlierOptions | false | undefined
  /** Endpoints that come later, or come back, get their full share only after this; at first a tenth. Default 10,000; 0 for at once. */
  readonly slowStartMs?: number | undefined
  /** Where this process runs: endpoints meant for that zone, or in it, are preferred. Default: FAIRLEAD_ZONE. */
  readonly zone?: string | undefined
  /** How many endpoints of the own zone have to be usable for it to be used alone. Default 2. */
  readonly minZoneEndpoints?: number | undefined
  /** When fewer endpoints than this, in percent, are not ejected, all are used: they cannot all be bad. Default 50. */
  readonly panicPercent?: number | undefined
  /** At most so many endpoints are used by this process. Default: all. For services with hundreds of instances. */
  readonly subsetSize?: number | undefined
  /** How long a pick waits for the first answer of the source. Default 5000. */
  readonly waitMs?: number | undefined
  readonly log?: Logger | undefined
  readonly metrics?: Metrics | undefined
  /** Default: performance.now() and timers. */
  readonly clock?: Clock | undefined
  /** From 0 to 1. Default `Math.random`. */
  readonly random?: (() => number) | undefined
}

export interface EndpointState {
  readonly url: string
  readonly zone: string | undefined
  readonly isUsed: boolean
  readonly isEjected: boolean
  /** Calls under way. */
  readonly pending: number
  readonly picks: number
  /** As `p2c` sees it; 0 before the first answer. */
  readonly latencyMs: number
}

export interface BalancerHealth {
  /** `down`: no endpoint. `degraded`: the source fails, or most endpoints are ejected. */
  readonly status: 'up' | 'degraded' | 'down'
  readonly known: number
  readonly used: number
  readonly ejected: number
  /** Why the source fails now. */
  readonly error?: string | undefined
}

export interface BalancerCounts {
  picks: number
  ejections: number
  updates: number
  errors: number
}

/** Spreads calls over the endpoints of a source, which it follows from the first pick until it is disposed. */
export interface EndpointBalancer extends Balancer, Disposable {
  readonly name: string
  readonly counts: Readonly<BalancerCounts>
  /** Follows the source from now on; resolves with its first answer. @throws {ServiceError} `FAIRLEAD_SERVICE_NO_ENDPOINTS` */
  ready(): Promise<void>
  endpoints(): EndpointState[]
  health(): BalancerHealth
}

/**
 * A balancer over the endpoints of `source`.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY` when an option is out of range.
 */
export function createBalancer(source: EndpointSource, options: BalancerOptions = {}): EndpointBalancer {
  return new SourceBalancer(source, options)
}

interface Waiter {
  resolve(): void
  reject(error: unknown): void
}

class SourceBalancer implements EndpointBalancer {
  readonly name: string
  readonly counts: BalancerCounts = { picks: 0, ejections: 0, updates: 0, errors: 0 }
  readonly #source: EndpointSource
  readonly #options: BalancerOptions
  readonly #clock: Clock
  readonly #choose: Choose
  readonly #rules: SelectionRules
  readonly #outlier: OutlierRules | undefined
  readonly #tauMs: number
  readonly #slowStartMs: number
  readonly #waitMs: number
  readonly #endReport: (() => void) | undefined
  #subscription: SourceSubscription | undefined
  #members: Member[] | undefined
  #selection: Selection = { members: [], isPanic: false }
  /** When an ejection ends. */
  #selectAgainAt = Infinity
  #intervalEndsAt = 0
  #error: unknown
  #waiters: Waiter[] = []
  #isClosed = false

  constructor(source: EndpointSource, options: BalancerOptions) {
    const check = (option: keyof BalancerOptions, standard: number, min: number, max?: number): number =>
      // Only for options that are numbers.
      checkNumber('a balancer', option, (options[option] as number | undefined) ?? standard, min, max)
    this.#source = source
    this.#options = options
    this.name = options.name ?? source.name
    this.#clock = options.clock ?? systemClock
    this.#tauMs = check('tauMs', 10_000, 1)
    const strategy = options.strategy ?? 'p2c'
    if (!['p2c', 'least-request', 'round-robin', 'weighted'].includes(strategy))
      throw policyInvalid('a balancer', 'strategy', strategy, 'p2c, least-request, round-robin or weighted')
    this.#choose = createChoose(strategy, {
      random: options.random ?? Math.random,
      tauMs: this.#tauMs,
      penaltyMs: check('penaltyMs', 60_000, 0),
    })
    this.#rules = {
      zone: options.zone ?? (process.env['FAIRLEAD_ZONE'] || undefined),
      minZoneEndpoints: check('minZoneEndpoints', 2, 1),
      panicPercent: check('panicPercent', 50, 0, 100),
      subsetSize: check('subsetSize', Infinity, 1),
      subsetKey: randomUUID(),
    }
    this.#outlier = options.outlier === false ? undefined : toRules(options.outlier)
    this.#slowStartMs = check('slowStartMs', 10_000, 0)
    this.#waitMs = check('waitMs', 5000, 0)
    this.#endReport = options.metrics && reportBalancer(this, options.metrics)
  }

  pick(tried?: readonly string[]): PickedEndpoint | Promise<PickedEndpoint> {
    if (this.#members !== undefined) return this.#pickNow(tried)
    return this.ready().then(() => this.#pickNow(tried))
  }

  async ready(): Promise<void> {
    if (this.#isClosed) throw noEndpoints(this.name, 'the client was closed')
    this.#follow()
    if (this.#members !== undefined) return
    // It has failed already and goes on trying; whoever calls has better things to do than to wait for it.
    if (this.#error !== undefined) throw noEndpoints(this.name, messageOf(this.#error), this.#error)
    await this.#wait()
  }

  endpoints(): EndpointState[] {
    const now = this.#clock.now()
    const used = new Set(this.#current(now).members)
    return (this.#members ?? []).map((member) => ({
      url: member.url,
      zone: member.endpoint.zone,
      isUsed: used.has(member),
      isEjected: member.ejectedUntil > now,
      pending: member.pending,
      picks: member.picks,
      latencyMs: member.latencyMs,
    }))
  }

  health(): BalancerHealth {
    const now = this.#clock.now()
    const { members, isPanic } = this.#current(now)
    const known = this.#members?.length ?? 0
    const isFailing = this.#error !== undefined || (isPanic && known > 0)
    // Before the first pick nothing is known, and nothing is wrong.
    const isDown = members.length === 0 && (this.#members !== undefined || this.#error !== undefined)
    return {
      status: isDown ? 'down' : isFailing ? 'degraded' : 'up',
      known,
      used: members.length,
      ejected: this.#countEjected(now),
      ...(this.#error === undefined ? {} : { error: messageOf(this.#error) }),
    }
  }

  [Symbol.dispose](): void {
    this.#isClosed = true
    this.#subscription?.close()
    this.#endReport?.()
    this.#members = undefined
    this.#selection = { members: [], isPanic: false }
    this.#settle((waiter) => waiter.reject(noEndpoints(this.name, 'the client was closed')))
  }

  /** Told by a call that has ended. */
  finish(
    member: Member,
    outcome: 'success' | 'failure' | 'ignored',
    durationMs: number,
    status: number | undefined,
  ): void {
    member.pending -= 1
    if (outcome === 'ignored') return
    const now = this.#clock.now()
    const isSuccess = outcome === 'success'
    observe(member, isSuccess, durationMs, now, this.#tauMs)
    if (isSuccess) {
      member.successes += 1
      member.consecutiveFailures = 0
      member.consecutiveGatewayFailures = 0
    } else {
      const isGateway = status === undefined || (status >= 502 && status <= 504)
      member.failures += 1
      member.consecutiveFailures += 1
      member.consecutiveGatewayFailures = isGateway ? member.consecutiveGatewayFailures + 1 : 0
      // Perhaps it is gone, and the source may know.
      if (status === undefined) this.#subscription?.refresh?.()
      if (this.#outlier !== undefined && isOverConsecutive(member, this.#outlier))
        this.#eject(member, now, this.#outlier, 'failures in a row')
    }
    if (this.#outlier !== undefined && now >= this.#intervalEndsAt) this.#endInterval(now, this.#outlier)
  }

  #pickNow(tried: readonly string[] | undefined): PickedEndpoint {
    const now = this.#clock.now()
    const { members } = this.#current(now)
    if (members.length === 0) {
      const state = this.#isClosed ? 'the client was closed' : 'none is known to be ready'
      throw noEndpoints(this.name, state, this.#error)
    }
    let member = this.#choose(members, now)
    if (tried !== undefined && tried.length > 0) member = this.#chooseOther(member, members, tried, now)
    member.pending += 1
    member.picks += 1
    this.counts.picks += 1
    return new Pick(this, member)
  }

  /** One that was not tried yet, if there is one. */
  #chooseOther(first: Member, members: readonly Member[], tried: readonly string[], now: number): Member {
    if (!tried.includes(first.url)) return first
    const others = members.filter(({ url }) => !tried.includes(url))
    return others.length === 0 ? first : this.#choose(others, now)
  }

  #current(now: number): Selection {
    if (now >= this.#selectAgainAt) this.#select(now)
    return this.#selection
  }

  #select(now: number): void {
    const members = this.#members ?? []
    this.#selection = selectMembers(members, now, this.#rules)
    this.#selectAgainAt = members.reduce(
      (next, { ejectedUntil }) => (ejectedUntil > now ? Math.min(next, ejectedUntil) : next),
      Infinity,
    )
  }

  #eject(member: Member, now: number, rules: OutlierRules, reason: string): void {
    const total = this.#members?.length ?? 0
    if (member.ejectedUntil > now || !mayEject(this.#countEjected(now), total, rules)) return
    member.ejections += 1
    member.ejectedUntil = now + ejectionMs(member.ejections, rules)
    member.rampFrom = member.ejectedUntil
    member.rampUntil = member.ejectedUntil + this.#slowStartMs
    member.consecutiveFailures = 0
    member.consecutiveGatewayFailures = 0
    // What it took before says nothing of what it will take then.
    member.latencyMs = 0
    member.faults = 0
    this.counts.ejections += 1
    this.#select(now)
    const forMs = member.ejectedUntil - now
    this.#options.log?.warn('endpoint ejected', { service: this.name, endpoint: member.url, reason, for_ms: forMs })
  }

  /** Compares success rates, forgives, and begins the next interval. No timer: calls bring it about. */
  #endInterval(now: number, rules: OutlierRules): void {
    const members = this.#members ?? []
    if (this.#intervalEndsAt > 0)
      for (const member of findUnsuccessful(members, rules)) this.#eject(member, now, rules, 'success rate')
    for (const member of members) {
      member.successes = 0
      member.failures = 0
      if (member.ejectedUntil <= now && member.ejections > 0) member.ejections -= 1
    }
    this.#intervalEndsAt = now + rules.intervalMs
  }

  #countEjected(now: number): number {
    return (this.#members ?? []).reduce((count, { ejectedUntil }) => (ejectedUntil > now ? count + 1 : count), 0)
  }

  #follow(): void {
    if (this.#subscription !== undefined) return
    // A source may answer before subscribe() returns.
    this.#subscription = { close() {} }
    this.#subscription = this.#source.subscribe({
      snapshot: (endpoints) => this.#update(endpoints),
      error: (error) => this.#fail(error),
    })
    // The observer disposed of this balancer meanwhile.
    if (this.#isClosed) this.#subscription.close()
  }

  #update(endpoints: readonly Endpoint[]): void {
    if (this.#isClosed) return
    const now = this.#clock.now()
    const before = new Map((this.#members ?? []).map((member) => [member.url, member]))
    const rampMs = this.#members === undefined ? 0 : this.#slowStartMs
    const next = new Map<string, Member>()
    for (const endpoint of endpoints) {
      const url = urlOf(endpoint)
      const member = next.get(url) ?? before.get(url) ?? new Member(endpoint, now, rampMs)
      member.endpoint = endpoint
      member.weight = Math.max(0.001, endpoint.weight ?? 1)
      next.set(url, member)
    }
    this.#members = [...next.values()]
    this.#error = undefined
    this.counts.updates += 1
    this.#select(now)
    this.#options.log?.debug('endpoints changed', { service: this.name, count: next.size })
    this.#settle((waiter) => waiter.resolve())
  }

  #fail(error: unknown): void {
    if (this.#isClosed) return
    if (this.#error === undefined)
      this.#options.log?.warn('endpoints cannot be looked up', {
        service: this.name,
        known: this.#members?.length ?? 0,
        err: error,
      })
    this.#error = error
    this.counts.errors += 1
    if (this.#members === undefined)
      this.#settle((waiter) => waiter.reject(noEndpoints(this.name, messageOf(error), error)))
  }

  #wait(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiter: Waiter = { resolve, reject }
    // Keeps the process alive, as whatever waits for a call expects; the source does not.
    const cancel = this.#clock.setTimeout(() => {
      this.#waiters = this.#waiters.filter((other) => other !== waiter)
      reject(noEndpoints(this.name, `${this.#source.name} gave no answer within ${this.#waitMs} ms`))
    }, this.#waitMs)
    this.#waiters.push(waiter)
    return promise.finally(cancel)
  }

  #settle(tell: (waiter: Waiter) => void): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) tell(waiter)
  }
}

class Pick implements PickedEndpoint {
  readonly #balancer: SourceBalancer
  readonly #member: Member
  #isDone = false

  constructor(balancer: SourceBalancer, member: Member) {
    this.#balancer = balancer
    this.#member = member
  }

  get url(): string {
    return this.#member.url
  }

  get base(): URL {
    return this.#member.base
  }

  get authority(): string | undefined {
    return this.#member.endpoint.authority
  }

  done(outcome: 'success' | 'failure' | 'ignored', durationMs: number, status?: number): void {
    if (this.#isDone) return
    this.#isDone = true
    this.#balancer.finish(this.#member, outcome, durationMs, status)
  }
}

function toRules(options: OutlierOptions = {}): OutlierRules {
  const rules: Record<string, number> = { ...outlierDefaults }
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined) continue
    if (!Object.hasOwn(outlierDefaults, option))
      throw policyInvalid('outlier detection', option, value, `one of ${Object.keys(outlierDefaults).join(', ')}`)
    rules[option] = checkNumber('outlier detection', option, value, 0, option === 'maxEjectionPercent' ? 100 : Infinity)
  }
  // The defaults have every rule, and nothing but rules was added.
  return rules as unknown as OutlierRules
}
