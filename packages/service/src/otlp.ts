/**
 * Sends spans and metrics to an OpenTelemetry collector: OTLP over http/protobuf, http/json or gRPC, from the variables that
 * every OpenTelemetry SDK reads.
 *
 * ```ts
 * import { startTelemetry } from '@fairlead/service/otlp'
 * import { span } from '@fairlead/service/trace'
 *
 * const telemetry = startTelemetry({ name: 'catalog', env: process.env })
 * span('import of products', { file: 'products.csv' }, (span) => span.addEvent('read', { rows: 12 }))
 * await telemetry.stop()
 * ```
 */
export { startTelemetry } from './lib/otlp/telemetry.ts'
export type { Telemetry, TelemetryOptions } from './lib/otlp/telemetry.ts'
export { detectResource } from './lib/otlp/resource.ts'
export type { ResourceOptions } from './lib/otlp/resource.ts'
export type { ResourceAttributes } from './lib/otlp/spans.ts'
