import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, it } from 'node:test'
import type { Rule } from '../model.ts'
import { ask, clusterOf, forward, listenerOf, openPlaneBench, policy } from './testing.ts'

const nothing = { set: [], add: [], remove: [] }

void describe('a data plane among clients and objects that mean no good', () => {
  for (const name of ['constructor', '__proto__']) {
    it(`takes the header ${name} for a header`, async () => {
      await using bench = openPlaneBench()
      const match = { name, match: { kind: 'prefix' as const, value: 'a' } }
      const rule: Rule = { ...forward(undefined), matches: [{ headers: [match] }] }
      const port = await bench.route([rule], [])
      assert.equal((await ask({ port })).status, 404)
      if (name === 'constructor') assert.equal((await ask({ port, headers: { [name]: 'ab' } })).status, 500)
    })
  }

  it('adds to a header of any name', async () => {
    await using bench = openPlaneBench()
    const endpoint = await bench.serve((incoming, response) => response.end(String(incoming.headers['constructor'])))
    const rule: Rule = { ...forward('a'), requestHeaders: { ...nothing, add: [['constructor', 'x']] } }
    const port = await bench.route([rule], [clusterOf('a', [endpoint])])
    assert.equal((await ask({ port })).body, 'x')
  })

  it('survives what cannot be sent: a status, a header, a target', async () => {
    await using bench = openPlaneBench()
    const endpoint = await bench.serve((_, response) => response.end('fine'))
    const broken = { ...nothing, set: [['x-own', 'a\nb'] as const] }
    const at = (path: string): Pick<Rule, 'route' | 'matches'> => forward(undefined, { path })
    const rules: Rule[] = [
      { ...at('/status'), action: { kind: 'respond', status: 42 } },
      { ...at('/header'), responseHeaders: broken, action: { kind: 'respond', status: 200 } },
      {
        ...at('/location'),
        action: { kind: 'redirect', redirect: { status: 302, path: { kind: 'full', value: '/ł' } } },
      },
      { ...forward('a', { path: '/answer' }), responseHeaders: broken },
      { ...forward('a', { path: '/request' }), requestHeaders: broken },
      { ...forward('a', { path: '/late' }), responseHeaders: broken, fault: { delay: { ms: 1, percent: 100 } } },
    ]
    const port = await bench.route([...rules, forward('a')], [clusterOf('a', [endpoint])])
    const paths = ['/status', '/header', '/location', '/answer', '/request', '/late']
    for (const path of paths) assert.equal(Math.floor(((await ask({ port, path })).status ?? 0) / 100), 5, path)
    assert.equal((await ask({ port })).body, 'fine')
  })

  it('refuses to change the protocol at a path that is none', async () => {
    await using bench = openPlaneBench()
    const endpoint = await bench.serve(() => {})
    const rule: Rule = { ...forward('a'), rewrite: { path: { kind: 'full', value: '/a b' } } }
    const port = await bench.route([rule], [clusterOf('a', [endpoint])])
    const headers = { connection: 'Upgrade', upgrade: 'websocket' }
    assert.equal((await ask({ port, headers })).status, 400)
  })

  it('waits for the answer to a WebSocket longer than for a connection', async () => {
    await using bench = openPlaneBench()
    const server = createServer()
    server.on('upgrade', (_, socket) => {
      socket.on('error', () => {})
      // Longer than a connection may take.
      setTimeout(
        () => socket.end('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhi'),
        1_500,
      )
    })
    const cluster = {
      ...clusterOf('a', [await bench.endpointOf(server)]),
      policy: { ...policy, connectTimeoutMs: 1_000 },
    }
    const port = await bench.route([forward('a')], [cluster])
    const sent = request({ host: '127.0.0.1', port, headers: { connection: 'Upgrade', upgrade: 'echo' } }).end()
    const [, socket, head] = await once(sent, 'upgrade')
    assert.equal(`${head}${await text(socket)}`, 'hi')
  })

  for (const [what, begin] of [
    ['says nothing', ''],
    ['never ends its head', 'GET / HTTP/1.1\r\nhost: a\r\n'],
  ]) {
    it(`leaves a client that ${what}`, async () => {
      await using bench = openPlaneBench({ headTimeoutMs: 100 })
      const port = await bench.route([], [])
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      socket.resume()
      if (begin !== '') socket.write(begin ?? '')
      await once(socket, 'close', { signal: AbortSignal.timeout(30_000) })
    })
  }

  it('takes its next rules although those before could not be put in force', async () => {
    await using bench = openPlaneBench()
    const port = await bench.route([], [])
    const broken = listenerOf('test')
    Object.defineProperty(broken, 'hosts', {
      get() {
        throw new Error('broken')
      },
    })
    await assert.rejects(bench.plane.apply({ listeners: new Map([['test', broken]]), clusters: new Map() }), /broken/)
    assert.equal(await bench.route([{ ...forward(undefined), action: { kind: 'respond', status: 204 } }], []), port)
    assert.equal((await ask({ port })).status, 204)
  })

  it('closes at once although connections of a listener that went still had time', async () => {
    await using bench = openPlaneBench()
    const asked = Promise.withResolvers<void>()
    const endpoint = await bench.serve(() => asked.resolve())
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
    const failed = assert.rejects(ask({ port }))
    await asked.promise
    await bench.plane.apply({ listeners: new Map(), clusters: new Map() })
    const waiting = new AbortController()
    const late = sleep(20_000, 'late', { signal: waiting.signal })
    assert.notEqual(await Promise.race([bench.plane.close(), late]), 'late')
    waiting.abort()
    await assert.rejects(late)
    await failed
  })
})
