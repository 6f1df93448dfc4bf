import { hostStdout } from './sink.ts'
import type { LogSink } from './sink.ts'
import { renderJsonLine } from './json.ts'
import { renderPrettyLine } from './pretty.ts'

/** From most to least talkative. `silent` is only a threshold: nothing is written at it. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

/** The facts of one event. An `Error` under any key (by custom `err`) is written as its type, message, code, stack and causes. */
export type LogFields = Readonly<Record<string, unknown>>

/** Writes one line per event: a constant message and fields. */
export interface Logger {
  /** The threshold, shared by a logger and all its children; assigning it takes effect at once. */
  level: LogLevel
  trace(message: string, fields?: LogFields): void
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  fatal(message: string, fields?: LogFields): void
  /** Whether an event of `level` would be written now. Ask before building expensive fields. */
  isEnabled(level: LogLevel): boolean
  /** A logger whose lines carry `fields` in addition to those of this one. */
  child(fields: LogFields): Logger
  /** Writes out what is buffered, synchronously. */
  flush(): void
}

export interface LoggerOptions {
  /** Default `info`. */
  readonly level?: LogLevel | undefined
  /** `json` (default): one object per line with `time`, `level`, `msg`. `pretty`: for people on a terminal. */
  readonly format?: 'json' | 'pretty' | undefined
  /** On every line. */
  readonly fields?: LogFields | undefined
  /** Asked for each line: fields of the request being served, if there is one. */
  readonly context?: (() => LogFields | undefined) | undefined
  /** Where lines go. Default: standard output, buffered for one turn of the event loop. */
  readonly sink?: LogSink | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

export interface LogEvent {
  readonly time: number
  readonly level: Exclude<LogLevel, 'silent'>
  readonly message: string
  /** Later sets win over earlier ones. */
  readonly fields: readonly (LogFields | undefined)[]
}

const severity = {
  trace: 10,
  debug: 20,
  info: 30,
  warn: 40,
  error: 50,
  fatal: 60,
  silent: 100,
} as const satisfies Record<LogLevel, number>

export const logLevels: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

export function isLogLevel(text: string): text is LogLevel {
  return Object.hasOwn(severity, text)
}

/** A logger that formats in this process and thread: nothing to configure for a bundler, nothing lost in a worker. */
export function createLogger(options: LoggerOptions = {}): Logger {
  const shared: Shared = {
    level: options.level ?? 'info',
    threshold: severity[options.level ?? 'info'],
    render: options.format === 'pretty' ? renderPrettyLine : renderJsonLine,
    context: options.context,
    sink: options.sink ?? hostStdout(),
    now: options.now ?? Date.now,
  }
  return new LineLogger(shared, options.fields ? [options.fields] : [])
}

interface Shared {
  level: LogLevel
  threshold: number
  readonly render: (event: LogEvent) => string
  readonly context: (() => LogFields | undefined) | undefined
  readonly sink: LogSink
  readonly now: () => number
}

class LineLogger implements Logger {
  readonly #shared: Shared
  readonly #bound: readonly LogFields[]

  constructor(shared: Shared, bound: readonly LogFields[]) {
    this.#shared = shared
    this.#bound = bound
  }

  get level(): LogLevel {
    return this.#shared.level
  }

  set level(level: LogLevel) {
    this.#shared.level = level
    this.#shared.threshold = severity[level]
  }

  trace(message: string, fields?: LogFields): void {
    this.#write('trace', message, fields)
  }

  debug(message: string, fields?: LogFields): void {
    this.#write('debug', message, fields)
  }

  info(message: string, fields?: LogFields): void {
    this.#write('info', message, fields)
  }

  warn(message: string, fields?: LogFields): void {
    this.#write('warn', message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields)
  }

  fatal(message: string, fields?: LogFields): void {
    this.#write('fatal', message, fields)
  }

  isEnabled(level: LogLevel): boolean {
    return severity[level] >= this.#shared.threshold && level !== 'silent'
  }

  child(fields: LogFields): Logger {
    return new LineLogger(this.#shared, [...this.#bound, fields])
  }

  flush(): void {
    this.#shared.sink.flush()
  }

  #write(level: LogEvent['level'], message: string, fields: LogFields | undefined): void {
    const shared = this.#shared
    if (severity[level] < shared.threshold) return
    shared.sink.write(
      shared.render({ time: shared.now(), level, message, fields: [...this.#bound, shared.context?.(), fields] }),
    )
  }
}
