import { withDeadline } from '../deadline.ts'
import type { ServiceError } from '../errors.ts'
import type { Logger } from '../log/logger.ts'
import type { SecretDriver, SecretReading } from './driver.ts'
import { secretsClosed } from './errors.ts'
import { toServiceError } from './fault.ts'
import type { SecretReference } from './reference.ts'

/** `missing`: never read. `stale`: read before, and the last attempt failed. */
export type SecretState = 'missing' | 'fresh' | 'stale'

export interface SourceOptions {
  readonly cacheMs: number
  readonly refreshMs: number
  readonly maxStaleMs: number
  readonly negativeMs: number
  readonly timeoutMs: number
  readonly now: () => number
  /** From 0 to 1. */
  readonly random: () => number
  readonly log: Logger | undefined
  /** Aborts when the secrets are closed. */
  readonly signal: AbortSignal
  readonly onAttempt: (provider: string, outcome: 'ok' | 'error') => void
  readonly loadDriver: () => Promise<SecretDriver>
}

/** A value of a source, the same object for as long as it stays the same. */
export interface SourceValue {
  readonly value: SecretReading['value']
  readonly version: string
}

/** One secret at its provider, of which several fields may be in use: kept, read again, given out when its provider is down. */
export interface SecretSource {
  readonly state: SecretState
  /** Time since the provider last confirmed the value. */
  readonly ageMs: number | undefined
  readonly version: string | undefined
  readonly fault: ServiceError | undefined
  /** The kept value while it is fresh, else a new one; a stale one where the provider fails. */
  get(): Promise<SourceValue>
  /** Asks the provider now. */
  refresh(): Promise<SourceValue>
  onChange(listener: (after: SourceValue, before: SourceValue) => void): () => void
  close(signal: AbortSignal): Promise<void>
}

export function createSource(reference: SecretReference, options: SourceOptions): SecretSource {
  const { now, log, signal } = options
  let kept: { readonly reading: SecretReading; readonly given: SourceValue; readonly confirmedAt: number } | undefined
  let failure: { readonly error: ServiceError; readonly at: number; readonly count: number } | undefined
  let flight: Promise<SourceValue> | undefined
  let timer: NodeJS.Timeout | undefined
  let endWatch: (() => void) | undefined
  let driver: SecretDriver | undefined
  let changes = 0
  const listeners = new Set<(after: SourceValue, before: SourceValue) => void>()

  const isFresh = (): boolean =>
    kept !== undefined && now() - kept.confirmedAt < (kept.reading.refreshMs ?? options.cacheMs)
  const isUsable = (): boolean =>
    kept !== undefined && now() - kept.confirmedAt <= Math.min(options.maxStaleMs, kept.reading.expiresMs ?? Infinity)
  const pauseMs = (): number => {
    if (failure === undefined) return 0
    if (failure.error.code !== 'FAIRLEAD_SERVICE_SECRET_UNAVAILABLE' && kept === undefined) return options.negativeMs
    return Math.min(500 * 2 ** Math.min(failure.count - 1, 10), 30_000)
  }

  const attempt = async (): Promise<SourceValue> => {
    try {
      driver ??= await options.loadDriver()
      const loaded = driver
      const reading = await withDeadline(
        (deadline) => loaded.read(reference, { signal: deadline, previous: kept?.reading }),
        // One reading may take several calls: credentials, a token, the secret.
        { action: 'read secret', subject: reference.text, timeoutMs: options.timeoutMs * 3, parent: signal },
      )
      options.onAttempt(loaded.provider, 'ok')
      endWatch ??= signal.aborted ? undefined : loaded.watch?.(reference, onHint)
      return keep(reading)
    } catch (error) {
      if (signal.aborted) throw secretsClosed(reference.text)
      const named = toServiceError(driver?.provider ?? reference.scheme, reference.text, error)
      options.onAttempt(driver?.provider ?? reference.scheme, 'error')
      fail(named)
      throw named
    } finally {
      plan()
    }
  }
  const keep = (reading: SecretReading): SourceValue => {
    const before = kept?.given
    const isSame = before !== undefined && isEqual(before.value, reading.value)
    if (!isSame) changes += 1
    const version = reading.version ?? String(changes)
    // The same value under another version is no change: nobody has to do anything about it.
    const given =
      isSame && before.version === version ? before : { value: isSame ? before.value : reading.value, version }
    kept = { reading, given, confirmedAt: now() }
    if (failure && before) log?.info('secret provider answers again', { secret: reference.text, version })
    failure = undefined
    if (before !== undefined && !isSame) {
      log?.info('secret changed', { secret: reference.text, version, previous_version: before.version })
      for (const listener of listeners) listener(given, before)
    }
    return given
  }
  const fail = (error: ServiceError): void => {
    // Once per change of state: a provider that is down for a night is one line.
    if (failure === undefined && kept !== undefined)
      log?.warn('secret cannot be read again, the last value is used', { secret: reference.text, err: error })
    failure = { error, at: now(), count: (failure?.count ?? 0) + 1 }
  }
  const plan = (): void => {
    clearTimeout(timer)
    if (signal.aborted || kept === undefined) return
    const regular = kept.reading.refreshMs ?? options.refreshMs
    if (regular <= 0) return
    // Never later than it should be; earlier by up to a fifth, so that replicas that started together do not ask together.
    const delay = failure ? pauseMs() : regular
    timer = setTimeout(() => void refresh().catch(() => {}), Math.min(delay * (1 - options.random() / 5), 2 ** 31 - 1))
    timer.unref()
  }
  const refresh = (): Promise<SourceValue> => {
    if (signal.aborted) return Promise.reject(secretsClosed(reference.text))
    return (flight ??= attempt().finally(() => (flight = undefined)))
  }
  const onHint = (): void => void refresh().catch(() => {})

  return {
    get state() {
      return kept === undefined ? 'missing' : failure || !isUsable() ? 'stale' : 'fresh'
    },
    get ageMs() {
      return kept && now() - kept.confirmedAt
    },
    get version() {
      return kept?.given.version
    },
    get fault() {
      return failure?.error
    },
    async get() {
      if (signal.aborted) throw secretsClosed(reference.text)
      if (kept && isFresh()) return kept.given
      // The provider failed a moment ago: asking again would only make everybody wait for it.
      if (failure && now() - failure.at < pauseMs()) {
        if (kept && isUsable()) return kept.given
        throw failure.error
      }
      try {
        return await refresh()
      } catch (error) {
        if (kept && isUsable()) return kept.given
        throw error
      }
    },
    refresh,
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async close(closing) {
      clearTimeout(timer)
      endWatch?.()
      listeners.clear()
      if (kept) await driver?.release?.(kept.reading, closing)
    },
  }
}

function isEqual(one: SecretReading['value'], other: SecretReading['value']): boolean {
  return toBytes(one).equals(toBytes(other))
}

/** Entries in the order of their names: a provider may list them as it likes. */
function toBytes(value: SecretReading['value']): Buffer {
  if (typeof value === 'string') return Buffer.from(value)
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  const entries = Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1))
  return Buffer.from(JSON.stringify(entries))
}
