/**
 * Structured logs: one JSON object per line on standard output, written by the process itself.
 *
 * ```ts
 * import { createLogger } from '@fairlead/service/log'
 *
 * const log = createLogger({ fields: { service: 'catalog' }, levels: { db: 'debug' } })
 * log.info('product sold', { sku: 'mug-01', quantity: 2 })
 * log.named('db').debug('query done', { rows: 3, password: 'never written' })
 * log.flush()
 * ```
 */
export { createLogger } from './lib/log/logger.ts'
export type { LogFields, Logger, LoggerOptions, LogStats } from './lib/log/logger.ts'
export { isLogLevel, logLevels, parseLogLevels } from './lib/log/levels.ts'
export type { LineLevel, LogLevel, LogLevels } from './lib/log/levels.ts'
export type { LogFormat } from './lib/log/presets.ts'
export type { RedactOptions } from './lib/log/redact.ts'
export type { SamplingOptions } from './lib/log/sampling.ts'
export { logCrashes } from './lib/log/crash.ts'
export { addLogMetrics } from './lib/log/metrics.ts'
export { readLogSettings } from './lib/log/settings.ts'
export type { LogSettings } from './lib/log/settings.ts'
export { createFileSink } from './lib/log/sink.ts'
export type { FileSinkOptions, LogSink } from './lib/log/sink.ts'
