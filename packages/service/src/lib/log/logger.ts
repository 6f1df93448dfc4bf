import { inspect } from 'node:util'
import { logOptionInvalid } from './errors.ts'
import { createLevelTable, isLogLevel, isLoggerName, logLevels, rootName, severityOf } from './levels.ts'
import type { LevelNode, LineLevel, LogLevel, LogLevels } from './levels.ts'
import { createJsonRenderer } from './line.ts'
import type { Bound, LineRenderer } from './line.ts'
import { isLogFormat, logFormats, presetOf } from './presets.ts'
import type { LogFormat } from './presets.ts'
import { createPrettyRenderer } from './pretty.ts'
import { createRedaction } from './redact.ts'
import type { RedactOptions } from './redact.ts'
import { createSampler } from './sampling.ts'
import type { Sampler, SamplingOptions } from './sampling.ts'
import { hostStdout } from './sink.ts'
import type { LogSink } from './sink.ts'
import { createValueWriter } from './value.ts'

/** The facts of one event. An `Error` under any key (by custom `err`) is written as its type, message, code, stack and causes. */
export type LogFields = Readonly<Record<string, unknown>>

/** Writes one line per event: a constant message and fields. */
export interface Logger {
  /** The threshold, shared by a logger and all its children; assigning it takes effect at once. */
  level: LogLevel
  /** The thresholds of this logger and all that come from the same `createLogger`, by name. */
  readonly levels: LogLevels
  readonly stats: LogStats
  trace(message: string, fields?: LogFields): void
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** Written out before it returns: the next thing may be the end. */
  fatal(message: string, fields?: LogFields): void
  /** Whether an event of `level` would be written now. Ask before building expensive fields. */
  isEnabled(level: LogLevel): boolean
  /** A logger whose lines carry `fields` in addition to those of this one. */
  child(fields: LogFields): Logger
  /**
   * A logger with a threshold of its own, and `logger` on its lines. Names nest: `log.named('db').named('pool')` is `db.pool`, and
   * follows `db` unless it has a level itself.
   *
   * @throws {ServiceError} `FAIRLEAD_SERVICE_LOG` when the name is not made of letters, digits, `_`, `-` and dots.
   */
  named(name: string): Logger
  /** Writes out what is buffered, synchronously. */
  flush(): void
}

/** Lines so far, of a logger and all its relatives. */
export interface LogStats {
  readonly lines: Readonly<Record<LineLevel, number>>
  /** Left out by sampling. */
  readonly sampledOut: number
  /** Lost because the reader was slow, gone, or the disk full. */
  readonly dropped: number
}

export interface LoggerOptions {
  /** Default `info`. */
  readonly level?: LogLevel | undefined
  /** Thresholds of named loggers: `{ db: 'debug', 'http.client': 'warn' }`. */
  readonly levels?: Readonly<Record<string, LogLevel>> | undefined
  /**
   * `json` (default): one object per line with `time`, `level`, `msg`. `pretty`: for people on a terminal. `google`, `aws`,
   * `ecs`: JSON with the names that Cloud Logging, Lambda and CloudWatch, or the Elastic Common Schema expect.
   */
  readonly format?: LogFormat | undefined
  /** On every line. */
  readonly fields?: LogFields | undefined
  /** Asked for each line: fields of the request being served, if there is one. */
  readonly context?: (() => LogFields | undefined) | undefined
  /** What is not to be written, beside the names of well-known secrets, `Secret` values and passwords in URLs. */
  readonly redact?: RedactOptions | undefined
  /** Thins out bursts of one message. Default: every line is written. */
  readonly sampling?: SamplingOptions | undefined
  /** Strings are cut at a quarter of this, lines at this many characters. Default 65536. */
  readonly maxLineLength?: number | undefined
  /** With format `google`: the project, which makes trace ids into links. */
  readonly project?: string | undefined
  /** Where lines go. Default: standard output, buffered for one turn of the event loop, under load for 5 ms. */
  readonly sink?: LogSink | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

/**
 * A logger that formats in this process and thread: nothing to configure for a bundler, nothing lost in a worker.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_LOG` for an option that cannot be used.
 */
export function createLogger(options: LoggerOptions = {}): Logger {
  checkOptions(options)
  const levels = createLevelTable({ ...options.levels, ...(options.level ? { [rootName]: options.level } : {}) })
  const render = createRenderer(options)
  const sink = options.sink ?? hostStdout()
  const now = options.now ?? Date.now
  const lines: Record<LineLevel, number> = { trace: 0, debug: 0, info: 0, warn: 0, error: 0, fatal: 0 }
  const own = (message: string, fields: LogFields): string =>
    render.line('warn', now(), message, bound, undefined, fields)
  const sampler =
    options.sampling &&
    createSampler(options.sampling, (level, message, count) =>
      sink.write(own('log lines sampled out', { of_level: level, of_message: message, count })),
    )
  const bound = options.fields && render.bind(undefined, options.fields)
  if ('renderDropped' in sink) sink.renderDropped ??= (count) => own('log lines dropped', { count })
  const stats: LogStats = {
    lines,
    get sampledOut() {
      return sampler?.dropped ?? 0
    },
    get dropped() {
      return sink.dropped ?? 0
    },
  }
  return new LineLogger(
    { levels, render, context: options.context, sink, now, lines, sampler, stats },
    levels.root,
    bound,
  )
}

function checkOptions(options: LoggerOptions): void {
  const { format = 'json', maxLineLength = 65_536 } = options
  if (!isLogFormat(format)) throw logOptionInvalid('format', String(format), `one of ${logFormats.join(', ')}`)
  for (const [name, level] of [['level', options.level ?? 'info'] as const, ...Object.entries(options.levels ?? {})])
    if (!isLogLevel(level)) throw logOptionInvalid(name, String(level), `one of ${logLevels.join(', ')}`)
  if (!(maxLineLength >= 1024)) throw logOptionInvalid('maxLineLength', String(maxLineLength), 'at least 1024')
}

function createRenderer(options: LoggerOptions): LineRenderer {
  const { format = 'json', maxLineLength = 65_536 } = options
  const redaction = createRedaction(options.redact)
  const writer = createValueWriter(redaction, maxLineLength / 4)
  if (format === 'pretty') return createPrettyRenderer(writer, maxLineLength)
  return createJsonRenderer(presetOf(format, options), writer, { maxLineLength, hasPaths: redaction.hasPaths })
}

interface Shared {
  readonly levels: ReturnType<typeof createLevelTable>
  readonly render: LineRenderer
  readonly context: (() => LogFields | undefined) | undefined
  readonly sink: LogSink
  readonly now: () => number
  readonly lines: Record<LineLevel, number>
  readonly sampler: Sampler | undefined
  readonly stats: LogStats
}

class LineLogger implements Logger {
  readonly #shared: Shared
  readonly #node: LevelNode
  readonly #bound: Bound | undefined

  constructor(shared: Shared, node: LevelNode, bound: Bound | undefined) {
    this.#shared = shared
    this.#node = node
    this.#bound = bound
  }

  get level(): LogLevel {
    return this.#node.level
  }

  set level(level: LogLevel) {
    if (!isLogLevel(level)) throw logOptionInvalid('level', String(level), `one of ${logLevels.join(', ')}`)
    this.#shared.levels.set(this.#node.name, level)
  }

  get levels(): LogLevels {
    return this.#shared.levels
  }

  get stats(): LogStats {
    return this.#shared.stats
  }

  trace(message: string, fields?: LogFields): void {
    if (this.#node.threshold <= 10) this.#write('trace', message, fields)
  }

  debug(message: string, fields?: LogFields): void {
    if (this.#node.threshold <= 20) this.#write('debug', message, fields)
  }

  info(message: string, fields?: LogFields): void {
    if (this.#node.threshold <= 30) this.#write('info', message, fields)
  }

  warn(message: string, fields?: LogFields): void {
    if (this.#node.threshold <= 40) this.#write('warn', message, fields)
  }

  error(message: string, fields?: LogFields): void {
    if (this.#node.threshold <= 50) this.#write('error', message, fields)
  }

  fatal(message: string, fields?: LogFields): void {
    if (this.#node.threshold > 60) return
    this.#write('fatal', message, fields)
    this.flush()
  }

  isEnabled(level: LogLevel): boolean {
    return level !== 'silent' && severityOf[level] >= this.#node.threshold
  }

  child(fields: LogFields): Logger {
    return new LineLogger(this.#shared, this.#node, this.#shared.render.bind(this.#bound, fields))
  }

  named(name: string): Logger {
    if (!isLoggerName(name)) throw logOptionInvalid('name', name, 'letters, digits, "_", "-" and dots')
    const { levels, render } = this.#shared
    const full = this.#node.name === rootName ? name : `${this.#node.name}.${name}`
    return new LineLogger(this.#shared, levels.node(full), render.bind(this.#bound, { logger: full }))
  }

  flush(): void {
    this.#shared.sampler?.end()
    this.#shared.sink.flush()
  }

  #write(level: LineLevel, message: string, fields: LogFields | undefined): void {
    const shared = this.#shared
    const time = shared.now()
    let facts = fields
    if (typeof message !== 'string' || (facts !== undefined && (typeof facts !== 'object' || facts instanceof Error))) {
      // Types forbid it, and a logger is the last place to fail for it.
      ;[message, facts] = straighten(message, facts)
    }
    if (shared.sampler !== undefined) {
      const dropped = shared.sampler.admit(level, message, time)
      if (dropped < 0) return
      if (dropped > 0) facts = { ...facts, sampled_out: dropped }
    }
    shared.lines[level] += 1
    const context = shared.context === undefined ? undefined : shared.context()
    shared.sink.write(shared.render.line(level, time, message, this.#bound, context, facts))
  }
}

/** `log.error(error)`, `log.error('text', error)`, `log.info('text', 7)`. */
function straighten(message: unknown, facts: unknown): [string, LogFields | undefined] {
  const text = typeof message === 'string' ? message : message instanceof Error ? message.message : inspect(message)
  const fields = facts instanceof Error ? { err: facts } : typeof facts === 'object' ? facts : { value: facts }
  return [
    text,
    message instanceof Error ? { err: message, ...fields } : ((fields ?? undefined) as LogFields | undefined),
  ]
}
