import { createHash } from 'node:crypto'
import { dirname, resolve } from 'node:path'
import { messageOf } from '../errors.ts'
import type { Environment } from '../lifecycle/resource.ts'
import type { Logger } from '../log/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { diffKeys, touches } from './changes.ts'
import type { ConfigChange, ConfigKey } from './changes.ts'
import { configInvalid } from './errors.ts'
import type { ConfigError } from './errors.ts'
import { evaluate } from './evaluate.ts'
import type { Evaluation } from './evaluate.ts'
import { countReloads } from './metrics.ts'
import { findFrozenMounts } from './mounts.ts'
import type { ConfigKeyReport, ConfigOptions, ConfigProblem, ConfigValues } from './options.ts'
import { readSources } from './read.ts'
import { createReferenceReader } from './references.ts'
import type { ReferenceReader } from './references.ts'
import type { ValueSpec } from './spec.ts'
import { watchDirectories } from './watch.ts'
import type { WatchOptions } from './watch.ts'

export interface OpenConfigOptions extends WatchOptions {
  /** Default `process.env`. */
  readonly env?: Environment | undefined
  /** Default: the `args` of the definition. */
  readonly args?: readonly string[] | undefined
  /** Default: the `dir` of the definition. For tests. */
  readonly dir?: ConfigOptions['dir']
  /** Default: the `files` of the definition. For tests. */
  readonly files?: ConfigOptions['files']
  /** Told of warnings, reloads and failed reloads. Default: nobody. */
  readonly log?: Logger | undefined
  /** Counts reloads. */
  readonly metrics?: Metrics | undefined
  /** Stops the opening. */
  readonly signal?: AbortSignal | undefined
  /** Whether files and directories are watched. Default true. */
  readonly follow?: boolean | undefined
}

/** What `/debug/config` shows. Nothing in it is secret. */
export interface ConfigDescription {
  /** Counts from 1; each change adds one. */
  readonly version: number
  /** When this version was read, RFC 3339. */
  readonly loadedAt: string
  /** Why the last reload was refused, if it was. */
  readonly problems: readonly ConfigProblem[]
  readonly keys: readonly ConfigKeyReport[]
}

/** A configuration in use. `await using` ends the watching. */
export interface Config<T> extends AsyncDisposable {
  /** Deeply frozen; a reload puts another one in its place, which holds all of the change or nothing. */
  readonly value: T
  /** Where the value of a key comes from: `env ORDERS_DB_URL`, `file /etc/orders/config.yaml:3`, `default`; undefined for none. */
  origin(key: ConfigKey<T>): string | undefined
  describe(): ConfigDescription
  /**
   * Calls `listener` after each change, or each that touches one of `keys` (a group stands for what is in it). What it
   * throws is logged. Returns what ends it.
   */
  onChange(listener: (change: ConfigChange<T>) => unknown): () => void
  onChange(keys: readonly ConfigKey<T>[], listener: (change: ConfigChange<T>) => unknown): () => void
  /** The changes from now on, until `signal` aborts or the configuration is closed. Those nobody took yet become one. */
  changes(options?: { readonly signal?: AbortSignal | undefined }): AsyncIterable<ConfigChange<T>>
  /**
   * Reads everything again now, secrets from what is kept of them.
   *
   * @throws {ConfigError} `FAIRLEAD_SERVICE_CONFIG` when that is not valid; the value stays as it was.
   */
  reload(): Promise<T>
  /** `degraded` while what is mounted is not valid and an older value is used. */
  health(): { readonly status: 'up' | 'degraded'; readonly error?: string }
  /** Throws the error of the last reload, if it was refused, or that of a secret that cannot be read again: for `createHealth().addCheck`. */
  check(): void
}

/** What is opened; a `ConfigDefinition` is one. */
interface Openable {
  readonly options: ConfigOptions
  readonly '~config': ValueSpec
}

/**
 * Reads a configuration, checks it, and follows its files and mounted directories.
 *
 * @throws {ConfigError} `FAIRLEAD_SERVICE_CONFIG` with every problem there is.
 */
export async function openConfig<T>(
  // The value's type is that of the definition as a resource.
  definition: Openable & { start(context: never): Promise<T> },
  options: OpenConfigOptions = {},
): Promise<Config<T>> {
  const { dir = definition.options.dir, files = definition.options.files } = options
  const given = { ...definition.options, dir, files }
  await using stack = new AsyncDisposableStack()
  const config = stack.use(new OpenedConfig<T>(definition['~config'], given, options))
  await config.load()
  options.signal?.throwIfAborted()
  await config.follow()
  stack.move()
  return config
}

class OpenedConfig<T> implements Config<T> {
  readonly #spec: ValueSpec
  readonly #sources: ConfigOptions
  readonly #options: OpenConfigOptions
  readonly #listeners = new Set<(change: ConfigChange<T>) => void>()
  readonly #ends = new Set<() => void>()
  readonly #count: ReturnType<typeof countReloads>
  #current: Evaluation | undefined
  #version = 0
  #loadedAt = ''
  #refused: ConfigError | undefined
  #fingerprint = ''
  #hadDirectories: ReadonlySet<string> = new Set()
  #watching: Disposable | undefined
  #reloading: Promise<void> | undefined
  #isStale = false
  /** Whether something may have changed that the texts do not show. */
  #isForced = false
  #isClosed = false
  readonly #references: ReferenceReader

  constructor(spec: ValueSpec, sources: ConfigOptions, options: OpenConfigOptions) {
    this.#spec = spec
    this.#sources = sources
    this.#options = options
    this.#count = countReloads(options.metrics)
    this.#references = createReferenceReader(options, () => {
      this.#isForced = true
      void this.#refresh()
    })
  }

  get value(): T {
    return this.#current?.value as T
  }

  origin(key: ConfigKey<T>): string | undefined {
    return this.#current?.keys.find((report) => report.key === key)?.origin
  }

  describe(): ConfigDescription {
    return {
      version: this.#version,
      loadedAt: this.#loadedAt,
      problems: this.#refused?.problems ?? [],
      keys: this.#current?.keys ?? [],
    }
  }

  onChange(
    first: readonly ConfigKey<T>[] | ((change: ConfigChange<T>) => unknown),
    second?: (change: ConfigChange<T>) => unknown,
  ): () => void {
    const listener = typeof first === 'function' ? first : second
    const keys = typeof first === 'function' ? undefined : first
    const notify = (change: ConfigChange<T>): void => {
      if (keys !== undefined && !touches(change.changed, keys)) return
      // What a listener does wrong must not keep the others from hearing it.
      void (async () => await listener?.(change))().catch((error: unknown) =>
        this.#options.log?.error('a listener of the configuration failed', { err: error, keys: change.changed }),
      )
    }
    this.#listeners.add(notify)
    return () => void this.#listeners.delete(notify)
  }

  async *changes(options: { readonly signal?: AbortSignal | undefined } = {}): AsyncGenerator<ConfigChange<T>> {
    let waiting: ConfigChange<T> | undefined
    let wake = Promise.withResolvers<void>()
    let isOver = this.#isClosed || options.signal?.aborted === true
    const end = (): void => {
      isOver = true
      wake.resolve()
    }
    const forget = this.onChange((change) => {
      const changed = waiting ? [...new Set([...waiting.changed, ...change.changed])] : change.changed
      waiting = { ...change, previous: waiting?.previous ?? change.previous, changed }
      wake.resolve()
    })
    this.#ends.add(end)
    options.signal?.addEventListener('abort', end, { once: true })
    try {
      for (;;) {
        const next = waiting
        if (next !== undefined) {
          waiting = undefined
          yield next
        } else if (isOver) return
        else {
          await wake.promise
          wake = Promise.withResolvers()
        }
      }
    } finally {
      forget()
      this.#ends.delete(end)
      options.signal?.removeEventListener('abort', end)
    }
  }

  async reload(): Promise<T> {
    this.#isForced = this.#references.isUsed
    await this.#refresh()
    if (this.#refused) throw this.#refused
    return this.value
  }

  health(): { readonly status: 'up' | 'degraded'; readonly error?: string } {
    try {
      this.check()
      return { status: 'up' }
    } catch (error) {
      return { status: 'degraded', error: messageOf(error) }
    }
  }

  check(): void {
    if (this.#refused) throw this.#refused
    this.#references.check()
  }

  /** The first reading: what is wrong now is thrown. */
  async load(): Promise<void> {
    const values = await this.#read()
    const found = await this.#evaluate(values)
    this.#fingerprint = fingerprintOf(values)
    for (const { message } of found.warnings) this.#options.log?.warn('configuration warning', { warning: message })
    if (!found.isValid) throw configInvalid('load', found.problems)
    this.#accept(found, values)
    this.#version = 1
    this.#loadedAt = new Date().toISOString()
    this.#count.loaded()
  }

  async follow(): Promise<void> {
    const files = (this.#sources.files ?? []).map((file) => resolve(typeof file === 'string' ? file : file.path))
    const dirs = [this.#sources.dir ?? []].flat().map((dir) => resolve(dir))
    const { log, follow = true } = this.#options
    if (!follow || files.length + dirs.length === 0) return
    for (const file of await findFrozenMounts({ files, dirs })) {
      log?.warn('configuration file will never change: it is mounted with subPath', { file })
    }
    this.#watching = watchDirectories([...dirs, ...files.map((file) => dirname(file))], () => void this.#refresh(), {
      ...this.#options,
      onRefused: (directory, error) =>
        log?.warn('configuration is polled: the system refuses to watch it', { directory, err: error }),
    })
    // What changed while nobody watched.
    await this.#refresh()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    this.#watching?.[Symbol.dispose]()
    for (const end of this.#ends) end()
    this.#listeners.clear()
    await this.#reloading
    await this.#references[Symbol.asyncDispose]()
  }

  #evaluate(values: ConfigValues): Promise<Evaluation> {
    return evaluate(this.#spec, this.#sources, values, (reference) => this.#references.read(reference))
  }

  /** One at a time; what happens meanwhile is looked at once more. */
  #refresh(): Promise<void> {
    if (this.#isClosed) return Promise.resolve()
    this.#isStale = true
    this.#reloading ??= (async () => {
      try {
        while (this.#isStale && !this.#isClosed) {
          this.#isStale = false
          await this.#reloadOnce()
        }
      } finally {
        this.#reloading = undefined
      }
    })()
    return this.#reloading
  }

  async #reloadOnce(): Promise<void> {
    const values = await this.#read()
    const fingerprint = fingerprintOf(values)
    const isForced = this.#isForced
    if ((fingerprint === this.#fingerprint && !isForced) || this.#isClosed) return
    this.#isForced = false
    const found = await this.#evaluate(values)
    const vanished = this.#findVanished(values)
    if (this.#isClosed) return
    this.#fingerprint = fingerprint
    if (!found.isValid || vanished.length > 0) return this.#refuse([...vanished, ...found.problems])
    const previous = this.value
    const changed = diffKeys(previous, found.value)
    this.#refused = undefined
    this.#count.loaded()
    // The same in other words: nobody holds a new object for it.
    this.#accept(changed.length === 0 ? { ...found, value: previous } : found, values)
    if (changed.length === 0) return
    this.#version += 1
    this.#loadedAt = new Date().toISOString()
    this.#options.log?.info('configuration reloaded', { version: this.#version, keys: changed })
    const change = { value: this.value, previous, changed, version: this.#version }
    for (const listener of this.#listeners) listener(change)
  }

  #refuse(problems: readonly ConfigProblem[]): void {
    this.#refused = configInvalid('reload', problems)
    this.#count.refused()
    this.#options.log?.error('configuration not reloaded, the old one stays in use', { err: this.#refused })
  }

  #accept(found: Evaluation, values: ConfigValues): void {
    this.#current = found
    this.#hadDirectories = new Set(nonEmpty(values))
  }

  /**
   * A directory that had keys and is gone is about to come back, or a mistake; it does not mean that all of its keys
   * shall have their defaults.
   */
  #findVanished(values: ConfigValues): ConfigProblem[] {
    const there = new Set(
      (values.mounted ?? []).filter(({ entries }) => Object.keys(entries).length > 0).map(({ name }) => name),
    )
    return [...this.#hadDirectories]
      .filter((name) => !there.has(name))
      .map((name) => ({
        kind: 'source' as const,
        key: '',
        origin: `directory ${name}`,
        message: `directory ${name}: nothing is left in it`,
      }))
  }

  async #read(): Promise<ConfigValues> {
    const { env = process.env, args = this.#sources.args } = this.#options
    const sources = await readSources(this.#sources)
    return { ...sources, env: onlyPrefixed(env, this.#sources.env), args }
  }
}

function nonEmpty({ mounted = [] }: ConfigValues): string[] {
  return mounted.filter(({ entries }) => Object.keys(entries).length > 0).map(({ name }) => name)
}

/** What a change is told by; not the texts themselves, which need not be kept. */
function fingerprintOf(values: ConfigValues): string {
  try {
    return createHash('sha256')
      .update(JSON.stringify([values.files, values.mounted, values.faults]))
      .digest('base64')
  } catch (error) {
    return messageOf(error)
  }
}

/** The variables that may matter: the names of Service links tell whether others are such. */
function onlyPrefixed(env: Environment, prefix: string | undefined): Environment {
  if (prefix === undefined) return {}
  return Object.fromEntries(Object.entries(env).filter(([name]) => name.startsWith(prefix)))
}
