import assert from 'node:assert/strict'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLogger } from '../log/logger.ts'
import { createDrainableServer } from '../http/server.ts'
import { service } from './definition.ts'
import { drain, goodbyeSpread } from './drain.ts'
import { start } from './start.ts'
import type { App } from './start.ts'

const log = createLogger({ level: 'silent' })
const env = { DRAIN_DELAY_MS: '0' }

describe('drain', () => {
  for (const { name, delayMs } of [
    { name: 'at once', delayMs: '0' },
    { name: 'after a delay in which clients open new connections', delayMs: '150' },
  ]) {
    it(`fails no request of busy keep-alive clients when the service stops ${name}`, async () => {
      const app = await start(
        service({
          name: 'busy',
          http: (router) =>
            router.post('/', async ({ request: message }) => {
              await message.json()
              await sleep(2)
              return { ok: true }
            }),
        }),
        { host: '127.0.0.1', port: 0, log, env: { DRAIN_DELAY_MS: delayMs, STOP_TIMEOUT_MS: '120000' } },
      )
      const clients = Array.from({ length: 20 }, () => callUntilRefused(app.port))
      await waitFor(() => app.metrics.render().includes('http_requests_total{'))
      const startedAt = performance.now()
      await app.stop()
      assert.ok(performance.now() - startedAt < 60_000, 'busy connections were told to go away')
      const outcomes = await Promise.all(clients)
      assert.deepEqual(
        outcomes.flatMap(({ failures }) => failures),
        [],
      )
      assert.ok(outcomes.every(({ served }) => served > 0))
    })
  }

  it('lets a slow request finish, and says that the connection ends with it', async () => {
    const entered = Promise.withResolvers<void>()
    const release = Promise.withResolvers<void>()
    const app = await startSlow(entered, release.promise)
    const response = fetch(app.url)
    await entered.promise
    const stopped = app.stop()
    await waitFor(() => isRefused(app.port))
    release.resolve()
    const answer = await response
    assert.equal(await answer.text(), 'done')
    assert.equal(answer.headers.get('connection'), 'close')
    await stopped
  })

  it('turns readiness off at once and liveness never, while it waits for traffic to move away', async () => {
    const app = await start(service({ name: 'leaving', http: (router) => router.get('/', () => 'here') }), {
      host: '127.0.0.1',
      port: 0,
      log,
      env: { DRAIN_DELAY_MS: '3600000', STOP_TIMEOUT_MS: '3600000' },
    })
    assert.equal((await fetch(`${app.url}/health/ready`)).status, 200)
    const hurry = new AbortController()
    const stopped = app.stop({ signal: hurry.signal })
    const ready = await fetch(`${app.url}/health/ready`)
    assert.equal(ready.status, 503)
    assert.deepEqual(await ready.json(), { status: 'OUT_OF_SERVICE', state: 'draining' })
    assert.equal((await fetch(`${app.url}/health/live`)).status, 200)
    assert.equal((await fetch(app.url)).status, 200)
    hurry.abort()
    await stopped
    await assert.rejects(fetch(app.url))
  })

  it('cuts what is left when time is up, and tells the handler by its signal', async () => {
    const entered = Promise.withResolvers<void>()
    const aborted = Promise.withResolvers<void>()
    const app = await start(
      service({
        name: 'stuck',
        http: (router) =>
          router.get('/', async ({ signal }) => {
            signal.addEventListener('abort', () => aborted.resolve())
            entered.resolve()
            await aborted.promise
          }),
      }),
      { host: '127.0.0.1', port: 0, log, env: { ...env, STOP_TIMEOUT_MS: '100' } },
    )
    const response = fetch(app.url)
    response.catch(() => {})
    await entered.promise
    await app.stop()
    await aborted.promise
    await assert.rejects(response)
  })

  it('cuts at once when it is told to', async () => {
    const entered = Promise.withResolvers<void>()
    const app = await startSlow(entered, new Promise(() => {}))
    fetch(app.url).catch(() => {})
    await entered.promise
    await app.stop({ signal: AbortSignal.abort() })
  })

  it('does not wait for connections that never asked for anything', async () => {
    const app = await start(service({ name: 'idle', fetch: () => 'x' }), { host: '127.0.0.1', port: 0, log, env })
    const socket = connect(app.port, '127.0.0.1')
    await once(socket, 'connect')
    const ended = once(socket.resume(), 'end')
    await app.stop()
    await ended
    socket.destroy()
  })

  it('waits for a request of which only half has arrived', async () => {
    const app = await start(service({ name: 'half', fetch: () => 'whole' }), { host: '127.0.0.1', port: 0, log, env })
    // Without traffic, and closed when the grace for idle connections is over.
    const idle = connect(app.port, '127.0.0.1')
    const graceIsOver = once(idle.resume(), 'end')
    const socket = connect(app.port, '127.0.0.1')
    let received = ''
    socket.on('data', (chunk) => (received += String(chunk)))
    await once(socket, 'connect')
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n')
    await waitFor(() => app.metrics.render().includes('http_active_connections 2\n'))
    const stopped = app.stop()
    await graceIsOver
    idle.destroy()
    const ended = once(socket, 'end')
    socket.write('\r\n')
    await stopped
    await ended
    assert.match(received, /^HTTP\/1\.1 200 OK[^]*connection: close[^]*whole$/i)
  })
})

describe('drain, hooks', () => {
  const never = (signal: AbortSignal): Promise<unknown> => once(signal, 'abort')

  it('runs them before readiness goes, together, and goes on when one fails or hangs', async () => {
    const server = createDrainableServer((_request, response) => response.end())
    await server.listen(0, '127.0.0.1')
    const steps: string[] = []
    const { failures, wasCut } = await drain(server, {
      hooks: {
        consul: async () => {
          await Promise.resolve()
          steps.push('deregistered')
        },
        queue: () => Promise.reject(new Error('gone')),
        lease: never,
      },
      hookTimeoutMs: 20,
      unready: () => steps.push(`unready, ${server.node.listening ? 'listening' : 'closed'}`),
      delayMs: 0,
      timeoutMs: 5000,
    })
    assert.deepEqual(steps, ['deregistered', 'unready, listening'])
    assert.deepEqual(
      failures.map(({ hook, error }) => [hook, (error as NodeJS.ErrnoException).code ?? (error as Error).message]),
      [
        ['queue', 'gone'],
        ['lease', 'FAIRLEAD_SERVICE_TIMEOUT'],
      ],
    )
    assert.equal(wasCut, false)
  })

  it('does not let them take more than the whole time', async () => {
    const server = createDrainableServer((_request, response) => response.end())
    await server.listen(0, '127.0.0.1')
    const { failures } = await drain(server, { hooks: { never }, delayMs: 0, timeoutMs: 20 })
    assert.equal(failures.length, 1)
  })

  for (const { options, elapsedMs, expected } of [
    { options: { timeoutMs: 10_000 }, elapsedMs: 0, expected: 0 },
    { options: { goodbyeSpreadMs: 2000, timeoutMs: 10_000 }, elapsedMs: 0, expected: 2000 },
    { options: { goodbyeSpreadMs: 2000, timeoutMs: 10_000 }, elapsedMs: 9000, expected: 500 },
    { options: { goodbyeSpreadMs: 2000, timeoutMs: 10_000 }, elapsedMs: 11_000, expected: 0 },
  ]) {
    it(`says goodbye over ${expected} ms, ${elapsedMs} ms into ${JSON.stringify(options)}`, () =>
      assert.equal(goodbyeSpread(options, elapsedMs), expected))
  }
})

async function startSlow(entered: PromiseWithResolvers<void>, release: Promise<void>): Promise<App> {
  const slow = service({
    name: 'slow',
    http: (router) =>
      router.get('/', async () => {
        entered.resolve()
        await release
        return 'done'
      }),
  })
  return await start(slow, { host: '127.0.0.1', port: 0, log, env })
}

/** One client that posts over and over, keeping its connection while it may, until the server takes no new one. */
async function callUntilRefused(port: number): Promise<{ served: number; failures: string[] }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const failures: string[] = []
  let served = 0
  for (;;) {
    try {
      await post(port, agent)
      served += 1
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code !== 'ECONNREFUSED') failures.push(`${code} ${message}`)
      break
    }
  }
  agent.destroy()
  return { served, failures }
}

function post(port: number, agent: Agent): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const call = request({
    host: '127.0.0.1',
    port,
    method: 'POST',
    agent,
    headers: { 'content-type': 'application/json' },
  })
  call.on('error', reject)
  call.on('response', (response) => {
    response.on('error', reject)
    response.on('end', () =>
      response.statusCode === 200 ? resolve() : reject(new Error(`status ${response.statusCode}`)),
    )
    response.resume()
  })
  call.end('{"a":1}')
  return promise
}

async function isRefused(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return false
  } catch {
    return true
  } finally {
    socket.destroy()
  }
}

async function waitFor(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('Cannot go on: the condition did not come true in 30 s')
    await sleep(5)
  }
}
