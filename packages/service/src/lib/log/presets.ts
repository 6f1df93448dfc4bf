import type { LineLevel } from './levels.ts'
import type { LogFields } from './logger.ts'

/** How lines are written: plain JSON, for people, or with the names that a log service understands. */
export type LogFormat = 'json' | 'pretty' | 'google' | 'aws' | 'ecs'

export const logFormats: readonly LogFormat[] = ['json', 'pretty', 'google', 'aws', 'ecs']

export function isLogFormat(text: string): text is LogFormat {
  return (logFormats as readonly string[]).includes(text)
}

/** The message of the line that is written for each request served; presets give its fields the names of their service. */
export const accessMessage = 'request served'

/** The names of one log service. The line is `head`, the time, `middle`, the message, then the fields. */
export interface Preset {
  readonly head: (level: LineLevel) => string
  readonly middle: (level: LineLevel) => string
  /** The line's own names. A field that is called so is written with `_` behind it. */
  readonly reserved: readonly string[]
  /** On every line. */
  readonly fields?: LogFields | undefined
  /** Other names for fields. */
  readonly names: Readonly<Record<string, string>>
  /** Other values, by the field's name before it is renamed. */
  readonly values?: Readonly<Record<string, (value: unknown) => unknown>> | undefined
  /** What stands in place of an error under `err`, by final names. */
  readonly error?: ((told: Readonly<Record<string, unknown>>) => LogFields) | undefined
  /** The line of {@link accessMessage}: fields by final names, and the rest of the fields. */
  readonly access?: ((fields: LogFields) => { readonly own: LogFields; readonly rest: LogFields }) | undefined
}

export interface PresetOptions {
  /** Google Cloud project, without which trace links are left out of Google's log viewer. */
  readonly project?: string | undefined
}

export function presetOf(format: Exclude<LogFormat, 'pretty'>, options: PresetOptions): Preset {
  switch (format) {
    case 'google':
      return google(options.project)
    case 'aws':
      return aws
    case 'ecs':
      return ecs
    default:
      return plain
  }
}

const plain: Preset = {
  head: () => '{"time":"',
  middle: (level) => `","level":"${level}","msg":`,
  reserved: ['time', 'level', 'msg'],
  names: {},
}

const googleSeverity: Record<LineLevel, string> = {
  trace: 'DEBUG',
  debug: 'DEBUG',
  info: 'INFO',
  warn: 'WARNING',
  error: 'ERROR',
  fatal: 'CRITICAL',
}

/** Cloud Logging's special fields of structured logs: https://cloud.google.com/logging/docs/structured-logging */
function google(project: string | undefined): Preset {
  return {
    head: (level) => `{"severity":"${googleSeverity[level]}","time":"`,
    middle: () => '","message":',
    reserved: ['severity', 'time', 'message', 'httpRequest', 'serviceContext', 'stack_trace'],
    names: {
      trace_id: 'logging.googleapis.com/trace',
      span_id: 'logging.googleapis.com/spanId',
      trace_sampled: 'logging.googleapis.com/trace_sampled',
      labels: 'logging.googleapis.com/labels',
    },
    values: {
      trace_id: (id) => (project === undefined ? id : `projects/${project}/traces/${String(id)}`),
      // Labels are strings, anything else makes the agent drop them.
      labels: (labels) =>
        typeof labels === 'object' && labels !== null
          ? Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, textOf(value)]))
          : labels,
    },
    // Error Reporting groups by this text.
    error: (told) => ({ err: told, stack_trace: told['stack'] }),
    access: ({ method, path, status, duration_ms, user_agent, remote_ip, protocol, bytes, ...rest }) => ({
      own: {
        httpRequest: {
          requestMethod: method,
          requestUrl: path,
          status,
          latency: typeof duration_ms === 'number' ? `${(duration_ms / 1000).toFixed(6)}s` : undefined,
          userAgent: user_agent,
          remoteIp: remote_ip,
          protocol,
          responseSize: bytes === undefined ? undefined : textOf(bytes),
        },
      },
      rest,
    }),
  }
}

/** The keys of Lambda's JSON format, which CloudWatch's own queries use. */
const aws: Preset = {
  head: () => '{"timestamp":"',
  middle: (level) => `","level":"${level.toUpperCase()}","message":`,
  reserved: ['timestamp', 'level', 'message', 'errorType', 'errorMessage', 'stackTrace'],
  names: { request_id: 'requestId' },
  error: ({ type, message, stack, ...rest }) => ({
    errorType: type,
    errorMessage: message,
    stackTrace: typeof stack === 'string' ? stack.split('\n').slice(0, 50) : stack,
    ...(Object.keys(rest).length > 0 ? { err: rest } : {}),
  }),
}

/** Elastic Common Schema, as ecs-logging writes it. */
const ecs: Preset = {
  head: () => '{"@timestamp":"',
  middle: (level) => `","log.level":"${level}","message":`,
  reserved: [
    '@timestamp',
    'log.level',
    'message',
    'ecs.version',
    'log',
    'error',
    'service',
    'trace',
    'span',
    'http',
    'url',
  ],
  fields: { ecs_version: '8.11.0' },
  names: {
    ecs_version: 'ecs.version',
    service: 'service.name',
    version: 'service.version',
    environment: 'service.environment',
    instance: 'service.node.name',
    logger: 'log.logger',
    trace_id: 'trace.id',
    span_id: 'span.id',
    request_id: 'http.request.id',
    user_agent: 'user_agent.original',
    remote_ip: 'client.ip',
  },
  error: ({ type, message, stack, code, ...rest }) => ({
    'error.type': type,
    'error.message': message,
    'error.stack_trace': stack,
    'error.code': code,
    ...(Object.keys(rest).length > 0 ? { 'error.details': rest } : {}),
  }),
  access: ({ method, path, status, duration_ms, bytes, route, protocol, ...rest }) => ({
    own: {
      'http.request.method': method,
      'http.response.status_code': status,
      'http.response.bytes': bytes,
      'http.route': route,
      'http.version': typeof protocol === 'string' ? protocol.replace(/^HTTP\//, '') : protocol,
      'url.path': path,
      // Nanoseconds.
      'event.duration': typeof duration_ms === 'number' ? Math.round(duration_ms * 1e6) : undefined,
    },
    rest,
  }),
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}
