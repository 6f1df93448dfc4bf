/**
 * Makes the kit the implementation behind `@opentelemetry/api`, so that libraries instrumented for OpenTelemetry take part.
 *
 * ```ts
 * import { trace } from '@opentelemetry/api'
 * import { registerOpenTelemetry } from '@fairlead/service/otel'
 * import { createTracer } from '@fairlead/service/trace'
 *
 * const tracer = createTracer({ sink: { add: ({ name, scope }) => console.log(scope.name, name) } })
 * const undo = registerOpenTelemetry({ tracer })
 * trace.getTracer('some-library').startActiveSpan('query', (span) => span.end())
 * undo()
 * ```
 */
export { registerOpenTelemetry } from './lib/otel/register.ts'
export type { OpenTelemetryOptions } from './lib/otel/register.ts'
export { sdkTracing } from './lib/otel/sdk.ts'
export type { SdkTracing } from './lib/otel/sdk.ts'
