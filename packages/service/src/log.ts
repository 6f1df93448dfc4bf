/**
 * Structured logs: one JSON object per line on standard output, written by the process itself.
 *
 * ```ts
 * import { createLogger } from '@fairlead/service/log'
 *
 * const log = createLogger({ fields: { service: 'catalog' } })
 * log.info('product sold', { sku: 'mug-01', quantity: 2 })
 * log.flush()
 * ```
 */
export { createLogger, isLogLevel, logLevels } from './lib/log/logger.ts'
export type { LogFields, Logger, LoggerOptions, LogLevel } from './lib/log/logger.ts'
export { createFileSink } from './lib/log/sink.ts'
export type { FileSinkOptions, LogSink } from './lib/log/sink.ts'
