import { inspect } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf } from '../errors.ts'
import { resource } from '../lifecycle/resource.ts'
import type { Environment, Resource } from '../lifecycle/resource.ts'
import type { Logger } from '../log/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { loadDriver } from './driver.ts'
import type { SecretDriver } from './driver.ts'
import { secretLimit, secretsClosed } from './errors.ts'
import { createHandle } from './handle.ts'
import type { SecretHandle } from './handle.ts'
import { measureSecrets } from './measure.ts'
import { isSecretReference, parseSecretReference } from './reference.ts'
import type { SecretReference } from './reference.ts'
import { Secret } from './secret.ts'
import { createSource } from './source.ts'
import type { SecretSource, SecretState } from './source.ts'

export interface SecretsOptions {
  /** How long a value is given out without asking its provider. Default 300000. Leases follow their own time. */
  readonly cacheMs?: number | undefined
  /** How often a value that was read is read again in the background. Default four fifths of `cacheMs`; 0 never. */
  readonly refreshMs?: number | undefined
  /** How old a value may become while its provider fails. Default 86400000, a day. */
  readonly maxStaleMs?: number | undefined
  /** How long "there is none" and "not allowed" are believed before the provider is asked again. Default 5000. */
  readonly negativeMs?: number | undefined
  /** Deadline of one call to a provider; a reading may need up to three. Default 5000. */
  readonly timeoutMs?: number | undefined
  /** Secrets open at once. Default 1000. */
  readonly maxSecrets?: number | undefined
  /** Where credentials and addresses of providers are found. Default `process.env`. */
  readonly env?: Environment | undefined
  readonly log?: Logger | undefined
  readonly metrics?: Metrics | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: (() => number) | undefined
  /** From 0 to 1, for the jitter. Default `Math.random`. */
  readonly random?: (() => number) | undefined
}

export interface SecretsHealth {
  /** `degraded`: a value that was read before cannot be read again. `down`: one was asked for and never read. */
  readonly status: 'up' | 'degraded' | 'down'
  readonly secrets: readonly SecretStatus[]
}

export interface SecretStatus {
  /** The reference without its field. */
  readonly secret: string
  readonly state: SecretState
  readonly version: string | undefined
  readonly ageMs: number | undefined
  /** Why the last reading failed. */
  readonly error: string | undefined
}

/** Secrets of any number of providers, read when first asked for. */
export interface Secrets extends AsyncDisposable {
  /**
   * A handle of the secret a reference names, such as `vault://secret/orders/db#password`; nothing is read yet.
   *
   * @throws {ServiceError} `FAIRLEAD_SERVICE_SECRET_REFERENCE`, `FAIRLEAD_SERVICE_SECRET_LIMIT`
   */
  secret(reference: string): SecretHandle
  health(): SecretsHealth
  /** Stops refreshing, gives back leases, closes connections. Within `timeoutMs`, whether providers answer or not. */
  close(): Promise<void>
}

/**
 * Opens secrets. Several fields of one secret are one reading; a provider's code is loaded when its scheme is first used.
 *
 * ```ts
 * await using secrets = openSecrets({ log })
 * const password = await secrets.secret('file:///run/secrets/db#password').get()
 * ```
 */
export function openSecrets(options: SecretsOptions = {}): Secrets {
  const { log, env = process.env, now = Date.now, random = Math.random, maxSecrets = 1000, timeoutMs = 5000 } = options
  const cacheMs = options.cacheMs ?? 300_000
  const closed = new AbortController()
  const drivers = new Map<string, Promise<SecretDriver>>()
  const providers = new Map<string, string>()
  const sources = new Map<string, SecretSource>()
  const handles = new Map<string, SecretHandle>()
  const measured = options.metrics && measureSecrets(options.metrics, () => statuses(sources))

  const openDriver = (scheme: SecretReference['scheme']): Promise<SecretDriver> => {
    let driver = drivers.get(scheme)
    if (driver === undefined) {
      driver = loadDriver(scheme, { env, timeoutMs, now }).then((loaded) => {
        providers.set(scheme, loaded.provider)
        return loaded
      })
      drivers.set(scheme, driver)
    }
    return driver
  }
  const openSource = (reference: SecretReference): SecretSource => {
    const key = sourceKey(reference)
    let source = sources.get(key)
    if (source === undefined) {
      if (sources.size >= maxSecrets) throw secretLimit(maxSecrets)
      // What goes wrong at the provider concerns all fields alike.
      const whole = key === reference.text ? reference : { ...reference, field: undefined, text: key }
      source = createSource(whole, {
        cacheMs,
        refreshMs: options.refreshMs ?? cacheMs * 0.8,
        maxStaleMs: options.maxStaleMs ?? 86_400_000,
        negativeMs: options.negativeMs ?? 5000,
        timeoutMs,
        now,
        random,
        log,
        signal: closed.signal,
        onAttempt: (provider, outcome) => measured?.onAttempt(provider, outcome),
        loadDriver: () => openDriver(reference.scheme),
      })
      sources.set(key, source)
    }
    return source
  }

  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    closed.abort()
    measured?.end()
    const signal = AbortSignal.timeout(timeoutMs)
    await Promise.allSettled([...sources.values()].map((source) => source.close(signal)))
    await Promise.allSettled([...drivers.values()].map(async (driver) => (await driver).close?.(signal)))
    handles.clear()
    sources.clear()
  }
  const secrets: Secrets = {
    secret(text) {
      const known = handles.get(text)
      if (known) return known
      const reference = parseSecretReference(text)
      if (closed.signal.aborted) throw secretsClosed(text)
      // Each field is a handle of its own, however many of them there are on one source.
      if (handles.size >= maxSecrets * 10) throw secretLimit(maxSecrets * 10)
      const provider = (): string => providers.get(reference.scheme) ?? reference.scheme
      const handle = createHandle(reference, openSource(reference), { provider, log, now, signal: closed.signal })
      handles.set(text, handle)
      return handle
    },
    health() {
      const found = statuses(sources)
      const failing = found.filter(({ state, error }) => state === 'stale' || error !== undefined)
      const isDown = failing.some(({ state }) => state === 'missing')
      return { status: isDown ? 'down' : failing.length > 0 ? 'degraded' : 'up', secrets: found }
    },
    close: () => (closing ??= close()),
    [Symbol.asyncDispose]: () => secrets.close(),
  }
  const shown = (): SecretsHealth => secrets.health()
  return Object.assign(secrets, { toJSON: shown, [inspect.custom]: shown })
}

/** One reading serves all fields, except where the field is a file of its own. */
function sourceKey({ scheme, text, field, options }: SecretReference): string {
  const isFile = scheme === 'file' || (scheme === 'k8s' && options['mount'] !== undefined)
  return field === undefined || isFile ? text : text.slice(0, text.indexOf('#'))
}

function statuses(sources: ReadonlyMap<string, SecretSource>): SecretStatus[] {
  return [...sources].map(([secret, { state, version, ageMs, fault }]) => ({
    secret,
    state,
    version,
    ageMs,
    error: fault?.message,
  }))
}

export interface SecretResourceOptions extends Omit<SecretsOptions, 'env' | 'log'> {
  /** How long providers may take at start, attempts that fail included. Default 15000. */
  readonly startTimeoutMs?: number | undefined
  /** Whether the service is not ready while a secret is stale (default false: it is degraded). */
  readonly critical?: boolean | undefined
}

/** Handles by the names their references were given. */
export type SecretHandles<Name extends string> = { readonly [K in Name]: SecretHandle }

/**
 * Declares the secrets of a service as a resource: each is read before the service is ready, and kept up to date while it runs.
 *
 * ```ts
 * const keys = secrets({ database: 'vault://secret/orders/db#password', signing: 'file:///etc/keys/signing' })
 * const db = resource({ keys }, ({ keys }) => keys.database.use((password) => openPool(password.reveal())))
 * ```
 */
export function secrets<const Name extends string>(
  references: Readonly<Record<Name, string>>,
  options: SecretResourceOptions = {},
): Resource<SecretHandles<Name>> {
  const { startTimeoutMs = 15_000, critical = false } = options
  // A mistake in a reference is found where it was written, not when the service starts.
  for (const text of Object.values<string>(references)) parseSecretReference(text)
  const opened = new WeakMap<object, Secrets>()
  return resource(
    async ({ log, env, signal }) => {
      await using stack = new AsyncDisposableStack()
      const store = stack.use(openSecrets({ ...options, env, log }))
      const entries = Object.entries<string>(references).map(([name, text]) => [name, store.secret(text)] as const)
      const until = performance.now() + startTimeoutMs
      await Promise.all(entries.map(([, handle]) => readFirst(handle, until, log, signal)))
      const handles = Object.fromEntries(entries) as SecretHandles<Name>
      opened.set(handles, store)
      stack.move()
      return handles
    },
    {
      stop: async (handles) => await opened.get(handles)?.close(),
      health(handles) {
        const failing = opened
          .get(handles)
          ?.health()
          .secrets.find(({ error }) => error !== undefined)
        if (failing) throw new Error(failing.error)
      },
      critical,
      // The reading gives up by itself, with an error that tells what the provider said.
      startTimeoutMs: startTimeoutMs + 1000,
    },
  )
}

/** Declares one secret as a resource; see {@link secrets}. */
export function secret(reference: string, options: SecretResourceOptions = {}): Resource<SecretHandle> {
  const { startTimeoutMs, stopTimeoutMs, ...one } = secrets({ secret: reference }, options)
  const whole = new WeakMap<SecretHandle, SecretHandles<'secret'>>()
  const unwrap = (handle: SecretHandle): SecretHandles<'secret'> => whole.get(handle) ?? { secret: handle }
  return {
    needs: one.needs,
    critical: one.critical,
    hasHealth: one.hasHealth,
    startTimeoutMs,
    stopTimeoutMs,
    async start(context) {
      const handles = await one.start(context)
      whole.set(handles.secret, handles)
      return handles.secret
    },
    stop: (handle, signal) => one.stop(unwrap(handle), signal),
    health: (handle, signal) => one.health(unwrap(handle), signal),
  }
}

/** Reads until there is a value, a final refusal, or no time. */
async function readFirst(handle: SecretHandle, until: number, log: Logger, signal: AbortSignal): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await (attempt === 0 ? handle.get() : handle.refresh())
      return
    } catch (error) {
      const waitMs = Math.min(100 * 2 ** attempt, 2000) * (0.75 + Math.random() / 2)
      // What is absent or forbidden stays so: an error now says more than one in a quarter of a minute.
      if (codeOf(error) !== 'FAIRLEAD_SERVICE_SECRET_UNAVAILABLE' || performance.now() + waitMs >= until) throw error
      if (attempt === 0)
        log.warn('secret provider does not answer, trying again', { secret: handle.reference, err: error })
      await sleep(waitMs, undefined, { signal })
    }
  }
}

/**
 * The value of a setting that may be a reference: `vault://secret/orders/db#password` is read, any other text is the secret itself.
 *
 * @throws {ServiceError} as {@link SecretHandle.get} does; a text that is no reference never leads to an error.
 */
export async function resolveSecretReference(text: string, from: Pick<Secrets, 'secret'>): Promise<Secret> {
  return isSecretReference(text) ? await from.secret(text).get() : new Secret(text)
}
