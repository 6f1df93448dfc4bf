import { inspect } from 'node:util'
import type { Logger } from '../log/logger.ts'
import { secretAbsent, secretFormat } from './errors.ts'
import { isRecord } from './json.ts'
import type { SecretReference } from './reference.ts'
import { Secret } from './secret.ts'
import type { SecretSource, SecretState, SourceValue } from './source.ts'

/** A secret was replaced at its provider. For a while both values may be good. */
export interface SecretChange {
  readonly current: Secret
  readonly previous: Secret
  readonly version: string
  readonly previousVersion: string
}

export interface UseOptions<T> {
  /** Ends a value that is not used any more. Default: its own `Symbol.asyncDispose` or `Symbol.dispose`, if it has one. */
  readonly release?: ((value: T) => unknown) | undefined
  /** How long the old value goes on beside the new one. Default 30000. */
  readonly overlapMs?: number | undefined
}

/** What was made from a secret, made anew when the secret changes. */
export interface SecretUse<T> extends AsyncDisposable {
  /** Read it each time; do not keep it longer than one piece of work. */
  readonly current: T
}

/** One secret, or one field of one. */
export interface SecretHandle {
  readonly reference: string
  /** What the provider calls the version; where it has no name for it, the number of changes seen. Undefined before the first reading. */
  readonly version: string | undefined
  /** Milliseconds since the provider last confirmed the value. Undefined before the first reading. */
  readonly ageMs: number | undefined
  readonly state: SecretState
  /**
   * The value: from memory while it is fresh, else from the provider, and the last known one where that fails.
   *
   * @throws {ServiceError} `FAIRLEAD_SERVICE_SECRET_ABSENT`, `_DENIED`, `_UNAVAILABLE`, `_FORMAT`, `_CLOSED`
   */
  get(): Promise<Secret>
  /** The value as bytes, for keys and certificates that are not text. */
  getBytes(): Promise<Secret<Uint8Array>>
  /** The value read as JSON. A `parse` step gives it a type: a schema's parse function, for instance. */
  getJson(): Promise<Secret<unknown>>
  getJson<T>(parse: (value: unknown) => T): Promise<Secret<T>>
  /** The value and, for `overlapMs` after a change, the one before: what a verifier of passwords or signatures accepts. */
  getAccepted(overlapMs?: number): Promise<readonly Secret[]>
  /** Asks the provider now, whatever is kept. */
  refresh(): Promise<Secret>
  /** Calls `listener` after each change of the value. Returns how to end that. */
  onChange(listener: (change: SecretChange) => void): () => void
  /**
   * Makes something of the secret, such as a connection pool, and makes it anew after each change. The old one is released after the overlap.
   * Where making the new one fails, the old one stays and the attempt is repeated.
   */
  use<T>(create: (secret: Secret) => T | Promise<T>, options?: UseOptions<T>): Promise<SecretUse<T>>
}

export interface HandleOptions {
  readonly provider: () => string
  readonly log: Logger | undefined
  readonly now: () => number
  /** Aborts when the secrets are closed. */
  readonly signal: AbortSignal
}

export function createHandle(reference: SecretReference, source: SecretSource, options: HandleOptions): SecretHandle {
  const texts = new WeakMap<SourceValue, Secret>()
  const toText = (given: SourceValue): Secret => {
    let text = texts.get(given)
    if (text === undefined) {
      text = new Secret(decode(reference, pick(reference, given, options.provider())))
      texts.set(given, text)
    }
    return text
  }
  const onChange = (listener: (change: SecretChange) => void): (() => void) =>
    source.onChange((after, before) => {
      let change: SecretChange
      try {
        change = {
          current: toText(after),
          previous: toText(before),
          version: after.version,
          previousVersion: before.version,
        }
      } catch (error) {
        options.log?.warn('secret changed to something that cannot be used', { secret: reference.text, err: error })
        return
      }
      // Another field of the same secret.
      if (change.current.reveal() === change.previous.reveal()) return
      try {
        listener(change)
      } catch (error) {
        options.log?.error('listener of a secret failed', { secret: reference.text, err: error })
      }
    })
  let last: { readonly secret: Secret; readonly until: number } | undefined
  let lastOverlapMs: number | undefined

  const shown = (): Record<string, unknown> => ({
    reference: reference.text,
    state: source.state,
    version: source.version,
    ageMs: source.ageMs,
  })
  const handle: SecretHandle = {
    reference: reference.text,
    get version() {
      return source.version
    },
    get ageMs() {
      return source.ageMs
    },
    get state() {
      return source.state
    },
    get: async () => toText(await source.get()),
    refresh: async () => toText(await source.refresh()),
    async getBytes() {
      return new Secret(toBytes(pick(reference, await source.get(), options.provider())))
    },
    async getJson<T>(parse?: (value: unknown) => T) {
      const value = parseJson(reference, pick(reference, await source.get(), options.provider()))
      return new Secret(parse ? parse(value) : value) as Secret<T>
    },
    async getAccepted(overlapMs = 300_000) {
      if (lastOverlapMs === undefined) {
        onChange(({ previous }) => {
          last = { secret: previous, until: options.now() + (lastOverlapMs ?? 0) }
        })
      }
      lastOverlapMs = overlapMs
      const current = await handle.get()
      return last && options.now() < last.until ? [current, last.secret] : [current]
    },
    onChange,
    use: (create, useOptions = {}) => useSecret(handle, create, useOptions, options),
  }
  return Object.assign(handle, { toJSON: shown, [inspect.custom]: shown })
}

async function useSecret<T>(
  handle: SecretHandle,
  create: (secret: Secret) => T | Promise<T>,
  { release, overlapMs = 30_000 }: UseOptions<T>,
  { log, signal }: HandleOptions,
): Promise<SecretUse<T>> {
  const retiring = new Map<NodeJS.Timeout, T>()
  const end = async (value: T): Promise<void> => {
    try {
      await (release ? release(value) : dispose(value))
    } catch (error) {
      log?.warn('could not release what was made from a secret', { secret: handle.reference, err: error })
    }
  }
  let isEnded = false
  let retry: NodeJS.Timeout | undefined
  // One change after the other, the newest last.
  let work: Promise<void> = Promise.resolve()
  let made = await handle.get()
  let current = await create(made)

  const renew = async (failures: number): Promise<void> => {
    clearTimeout(retry)
    try {
      const wanted = await handle.get()
      if (isEnded || wanted.reveal() === made.reveal()) return
      const next = await create(wanted)
      const old = current
      current = next
      made = wanted
      if (isEnded) return await end(old)
      const timer = setTimeout(() => {
        retiring.delete(timer)
        void end(old)
      }, overlapMs).unref()
      retiring.set(timer, old)
      log?.info('what was made from a secret was made anew', { secret: handle.reference, version: handle.version })
    } catch (error) {
      if (isEnded || signal.aborted) return
      if (failures === 0)
        log?.warn('cannot use the new value of a secret, the old one stays', { secret: handle.reference, err: error })
      const delayMs = Math.min(1000 * 2 ** failures, 60_000)
      retry = setTimeout(() => (work = work.then(() => renew(failures + 1))), delayMs).unref()
    }
  }
  const stopListening = handle.onChange(() => (work = work.then(() => renew(0))))
  // It may have changed while the first one was being made.
  work = renew(0)
  await work
  return {
    get current() {
      return current
    },
    async [Symbol.asyncDispose]() {
      if (isEnded) return
      isEnded = true
      stopListening()
      clearTimeout(retry)
      await work
      for (const timer of retiring.keys()) clearTimeout(timer)
      await Promise.all([...retiring.values(), current].map(end))
      retiring.clear()
    },
  }
}

async function dispose(value: unknown): Promise<void> {
  if (typeof value !== 'object' || value === null) return
  const { [Symbol.asyncDispose]: disposeLater, [Symbol.dispose]: disposeNow } = value as Partial<
    AsyncDisposable & Disposable
  >
  if (disposeLater) await disposeLater.call(value)
  else disposeNow?.call(value)
}

/** The field that the reference names, or everything. */
function pick(reference: SecretReference, { value }: SourceValue, provider: string): unknown {
  const { field, text } = reference
  if (field === undefined) return value
  const entries = typeof value === 'string' || value instanceof Uint8Array ? parseJson(reference, value) : value
  if (!isRecord(entries))
    throw secretFormat(text, 'it is not a JSON object, and so has no fields', 'Remove "#" and what follows it')
  if (!Object.hasOwn(entries, field)) {
    const names = Object.keys(entries)
      .slice(0, 20)
      .map((name) => JSON.stringify(name))
      .join(', ')
    throw secretAbsent(
      provider,
      text,
      `it has no field ${JSON.stringify(field)}`,
      `It has ${names || 'no fields'}: name one of these`,
    )
  }
  return entries[field]
}

function decode(reference: SecretReference, value: unknown): string {
  if (typeof value === 'string') return value
  if (!(value instanceof Uint8Array)) return JSON.stringify(toPlain(reference, value))
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value)
  } catch {
    throw secretFormat(reference.text, 'it is not UTF-8 text', 'Use getBytes() for it')
  }
}

/** Entries that are bytes as text, so that a whole Kubernetes Secret is a JSON object. */
function toPlain(reference: SecretReference, value: unknown): unknown {
  if (!isRecord(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [key, entry instanceof Uint8Array ? decode(reference, entry) : entry]),
  )
}

function toBytes(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return new Uint8Array(value)
  return new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value))
}

function parseJson(reference: SecretReference, value: unknown): unknown {
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) return toPlain(reference, value)
  try {
    return JSON.parse(decode(reference, value))
  } catch {
    // The parser's own message quotes the text.
    throw secretFormat(reference.text, 'it is not JSON', 'Store a JSON object, or use get() and no "#field"')
  }
}
