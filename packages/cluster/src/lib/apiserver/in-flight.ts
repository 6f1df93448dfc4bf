import type { ApiRequest } from './exchange.ts'

export interface InFlightLimits {
  /** Requests that only read. */
  readonly reading: number
  readonly mutating: number
}

/** As kube-apiserver: `--max-requests-inflight` and `--max-mutating-requests-inflight`. */
export const inFlightDefaults: InFlightLimits = { reading: 400, mutating: 200 }

/** What a request holds while it is served; `exempt` counts nowhere. */
export type Seat = 'exempt' | 'reading' | 'mutating'

/**
 * How many requests may be served at once. Administrators always get an answer, and what lasts by nature (watches, logs,
 * streams) is not counted, as in kube-apiserver's max-in-flight filter.
 */
export class InFlight {
  readonly #limits: InFlightLimits
  #reading = 0
  #mutating = 0

  constructor(limits: InFlightLimits = inFlightDefaults) {
    this.#limits = limits
  }

  /** The seat of a request, to be given back by {@link leave}; undefined when all are taken. */
  enter(request: Pick<ApiRequest, 'method' | 'path' | 'query' | 'identity' | 'isUpgrade'>): Seat | undefined {
    if (isLongRunning(request)) return 'exempt'
    const isReading = request.method === 'GET' || request.method === 'HEAD'
    const isTaken = isReading ? this.#reading >= this.#limits.reading : this.#mutating >= this.#limits.mutating
    if (isTaken) return request.identity.groups.includes('system:masters') ? 'exempt' : undefined
    if (isReading) this.#reading += 1
    else this.#mutating += 1
    return isReading ? 'reading' : 'mutating'
  }

  leave(seat: Seat): void {
    if (seat === 'reading') this.#reading -= 1
    if (seat === 'mutating') this.#mutating -= 1
  }
}

/** What lasts by nature: watches, logs, streams and what is passed on. */
export function isLongRunning({ path, query, isUpgrade }: Pick<ApiRequest, 'path' | 'query' | 'isUpgrade'>): boolean {
  if (isUpgrade === true) return true
  const watch = query.get('watch')
  return (watch !== null && watch !== 'false' && watch !== '0') || lasting.test(path)
}

const lasting =
  /^\/apis\/[^/]+\/[^/]+\/watch\/|^\/api\/v1\/(?:watch\/|namespaces\/[^/]+\/(?:pods\/[^/]+\/(?:log|exec|attach|portforward|proxy)|services\/[^/]+\/proxy)(?:\/|$)|nodes\/[^/]+\/proxy(?:\/|$))/
