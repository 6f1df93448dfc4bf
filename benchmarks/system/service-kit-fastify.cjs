// The peer of the service-kit benchmark: Fastify with OpenTelemetry, a Prometheus histogram and pino, put together as their
// documentation says, in CommonJS, where the instrumentations work without a loader. `node service-kit-fastify.cjs [http]`: with
// `http` only the spans of node:http, without those of @fastify/otel, of which those of hooks are
// left out in any case: the only hook here is telemetry itself. Prints its port on standard error.
const { NodeSDK } = require('@opentelemetry/sdk-node')
const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-proto')
const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http')
const { FastifyOtelInstrumentation } = require('@fastify/otel')

const hasFastifySpans = process.argv[2] !== 'http'
const sdk = new NodeSDK({
  traceExporter: new OTLPTraceExporter(),
  instrumentations: [
    new HttpInstrumentation(),
    ...(hasFastifySpans
      ? [new FastifyOtelInstrumentation({ registerOnInitialization: true, instrumentHooks: false })]
      : []),
  ],
})
sdk.start()

const { trace } = require('@opentelemetry/api')
const { Histogram, register } = require('@prometheus-io/client')
const Fastify = require('fastify')

const duration = new Histogram({
  name: 'http_request_duration_seconds',
  help: 'Time to serve an HTTP request in seconds.',
  labelNames: ['method', 'route', 'status_code'],
  buckets: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
})

const app = Fastify({
  // One line per request, as the kit has it, and not the two of Fastify.
  disableRequestLogging: true,
  logger: {
    mixin() {
      const context = trace.getActiveSpan()?.spanContext()
      return context === undefined ? {} : { trace_id: context.traceId, span_id: context.spanId }
    },
  },
})

app.addHook('onResponse', (request, reply, done) => {
  const route = request.routeOptions.url ?? 'unmatched'
  const { method, url } = request
  const { statusCode, elapsedTime } = reply
  duration.observe({ method, route, status_code: statusCode }, elapsedTime / 1000)
  request.log.info({ method, route, path: url, status: statusCode, duration_ms: elapsedTime }, 'request served')
  done()
})
// The schema of the answer is what Fastify wants for its fast JSON.
const schema = {
  response: {
    200: {
      type: 'object',
      properties: {
        id: { type: 'string' },
        name: { type: 'string' },
        roles: { type: 'array', items: { type: 'string' } },
      },
    },
  },
}
app.register(async (scope) => {
  scope.get('/users/:id', { schema }, (request, reply) => {
    reply.send({ id: request.params.id, name: 'Ada', roles: ['admin', 'user'] })
  })
  scope.get('/metrics', async (_request, reply) => {
    reply.type(register.contentType)
    return await register.metrics()
  })
  scope.get('/livez', () => ({ status: 'UP' }))
})
app.listen({ port: 0, host: '127.0.0.1' }, () => console.error(app.server.address().port))
