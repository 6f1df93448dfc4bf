// What a call to another service costs this process: CPU per call of the client with everything on, against the bare ways to make
// one. The other side is a process of its own; 20 calls are under way at once; the least of interleaved rounds counts.
import { fork } from 'node:child_process'
import { Agent, createServer, request as requestHttp } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Agent as UndiciAgent, request as requestUndici } from 'undici'
import { client } from '@fairlead/service/client'
import { createMetrics } from '@fairlead/service/metrics'
import { runInScope } from '@fairlead/service/trace'
import { report } from '../report.ts'

if (process.argv.includes('server')) serve()
else await measure()

function serve(): void {
  const server = createServer((request, response) => {
    request.resume()
    response.setHeader('content-type', 'application/json')
    response.end('{"sku":"mug-01","price":12}')
  })
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
  process.once('disconnect', () => process.exit(0))
}

async function measure(): Promise<void> {
  const server = fork(fileURLToPath(import.meta.url), ['server'])
  const port = await new Promise<number>((resolve) => server.once('message', (message) => resolve(Number(message))))
  const url = `http://127.0.0.1:${port}`
  const agent = new Agent({ keepAlive: true })
  const dispatcher = new UndiciAgent({ connections: 50 })
  using standard = client(url, { metrics: createMetrics() })
  using plain = client(url, { preset: 'plain' })
  const headers = { accept: 'application/json', 'x-request-id': 'r-1' }

  const bare = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const outgoing = requestHttp({ host: '127.0.0.1', port, path: '/x', agent, headers }, (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => (text += chunk))
        answer.on('end', () => resolve(JSON.parse(text)))
      })
      outgoing.on('error', reject)
      outgoing.end()
    })
  const subjects: Readonly<Record<string, () => Promise<unknown>>> = {
    'node:http': bare,
    'client, plain': () => plain.get('/x'),
    'client, standard policies, metrics, in a request': () => inRequest(() => standard.get('/x')),
    fetch: async () => (await fetch(`${url}/x`, { headers })).json(),
    'fetch with a deadline': async () =>
      (await fetch(`${url}/x`, { headers, signal: AbortSignal.timeout(5000) })).json(),
    'undici request': async () => (await requestUndici(`${url}/x`, { headers, dispatcher })).body.json(),
  }
  const least: Record<string, number> = {}
  for (let round = 0; round <= 7; round += 1) {
    for (const [name, call] of Object.entries(subjects)) {
      const sample = await cpuPerCall(call, 1000)
      // The first round is for the compiler.
      if (round > 0) least[name] = Math.min(least[name] ?? Infinity, sample)
    }
  }
  const base = least['node:http'] ?? 0
  report('client', [
    ...Object.entries(least).map(([name, value]) => ({ name: `${name}: CPU per call`, unit: 'us', value })),
    {
      name: 'client with everything on, over node:http',
      unit: 'us',
      value: (least['client, standard policies, metrics, in a request'] ?? 0) - base,
    },
  ])
  agent.destroy()
  await dispatcher.close()
  server.disconnect()
}

function inRequest<T>(work: () => T): T {
  const trace = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), isSampled: true }
  const incoming = { 'x-b3-traceid': 'a'.repeat(32), 'x-envoy-expected-rq-timeout-ms': '15000' }
  return runInScope({ requestId: 'r-1', trace, incoming, startedAt: performance.now() }, work)
}

async function cpuPerCall(call: () => Promise<unknown>, count: number): Promise<number> {
  // What the one before has left behind is cleared away, and idle connections are back, before anything is measured.
  await callMany(call, 400)
  const before = process.cpuUsage()
  await callMany(call, count)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / count
}

async function callMany(call: () => Promise<unknown>, count: number): Promise<void> {
  let left = count
  const caller = async (): Promise<void> => {
    while ((left -= 1) >= 0) await call()
  }
  await Promise.all(Array.from({ length: 20 }, caller))
}
