import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { buffer } from 'node:stream/consumers'
import { span } from '../trace/tracer.ts'
import { createMetrics } from '../metrics/metrics.ts'
import { decode, TraceRequest } from './receiver.fixture.ts'
import { startTelemetry } from './telemetry.ts'

describe('OTLP over TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-otlp-'))
  after(() => rmSync(folder, { recursive: true }))
  const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1']
  execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', keyFile, '-out', certFile], { stdio: 'ignore' })
  const identity = { key: readFileSync(keyFile), cert: readFileSync(certFile) }

  it('trusts the authority of OTEL_EXPORTER_OTLP_CERTIFICATE over http, and nobody without', async () => {
    const names: string[] = []
    const server = createServer(identity, async (request, response) => {
      names.push(...namesOf(await buffer(request)))
      response.end()
    })
    const url = await listen(server)
    assert.equal(await send(url, 'http/protobuf', certFile), 1)
    assert.equal(await send(url, 'http/protobuf', undefined), 0)
    server.closeAllConnections()
    server.close()
    assert.deepEqual(names, ['job'])
  })

  it('does so over gRPC', async () => {
    const names: string[] = []
    const server = createSecureServer(identity)
    server.on('stream', async (stream) => {
      stream.on('error', () => {})
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      names.push(...namesOf((await buffer(stream)).subarray(5)))
      stream.end(Buffer.alloc(5))
    })
    const url = await listen(server)
    assert.equal(await send(url, 'grpc', certFile), 1)
    assert.equal(await send(url, 'grpc', undefined), 0)
    server.close()
    assert.deepEqual(names, ['job'])
  })
})

async function listen(
  server: ReturnType<typeof createServer> | ReturnType<typeof createSecureServer>,
): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** How many spans the collector has taken. */
async function send(url: string, protocol: string, certificate: string | undefined): Promise<number> {
  const metrics = createMetrics()
  const env = {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: protocol === 'grpc' ? url : `${url}/v1/traces`,
    OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
    OTEL_EXPORTER_OTLP_CERTIFICATE: certificate,
  }
  const telemetry = startTelemetry({ env, metrics })
  span('job', () => {})
  await telemetry.stop(500)
  return Number(/fairlead_otlp_sent_total\{signal="traces"\} (\d+)/.exec(metrics.render())?.[1] ?? 0)
}

function namesOf(body: Buffer): string[] {
  const spans = decode(TraceRequest, body).resourceSpans?.flatMap(({ scopeSpans }) =>
    scopeSpans.flatMap((one) => one.spans),
  )
  return (spans ?? []).map(({ name }) => name)
}
