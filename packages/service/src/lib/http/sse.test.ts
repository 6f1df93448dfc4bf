import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, it } from 'node:test'
import { createLogger } from '../log/logger.ts'
import { drain } from '../service/drain.ts'
import { createHandler } from './handler.ts'
import { createDrainableServer } from './server.ts'
import type { DrainableServer } from './server.ts'
import { events, renderEvent } from './sse.ts'
import type { EventsOptions, EventSourceItem, EventStream } from './sse.ts'

const log = createLogger({ level: 'silent' })

async function serve(
  source: EventStream,
  options?: EventsOptions,
): Promise<{ server: DrainableServer; port: number; url: string } & Disposable> {
  const server = createDrainableServer(createHandler({ fetch: () => events(source, options), log }), { http2: true })
  const port = await server.listen(0, '127.0.0.1')
  return { server, port, url: `http://127.0.0.1:${port}/`, [Symbol.dispose]: () => server.closeAll() }
}

async function* count(until: number): AsyncGenerator<EventSourceItem> {
  for (let id = 1; id <= until; id += 1) yield { id: String(id), data: { id } }
}

async function* forever(signal: AbortSignal): AsyncGenerator<EventSourceItem> {
  yield 'first'
  await once(signal, 'abort')
}

describe('renderEvent', () => {
  for (const { name, item, expected } of [
    { name: 'text', item: 'a', expected: 'data: a\n\n' },
    {
      name: 'every field',
      item: { event: 'e', id: '1', retry: 5, data: 'a' },
      expected: 'event: e\nid: 1\nretry: 5\ndata: a\n\n',
    },
    { name: 'every kind of line break', item: 'a\nb\r\nc\rd', expected: 'data: a\ndata: b\ndata: c\ndata: d\n\n' },
    { name: 'empty text', item: '', expected: 'data: \n\n' },
    { name: 'JSON', item: { data: { a: [1] } }, expected: 'data: {"a":[1]}\n\n' },
    { name: 'nothing but an id', item: { id: '7' }, expected: 'id: 7\n\n' },
  ]) {
    it(`writes ${name}`, () => assert.equal(renderEvent(item), expected))
  }

  for (const item of [{ event: 'a\ndata: b' }, { id: 'a\r' }, { id: '\0' }, { retry: -1 }, { retry: 1.5 }]) {
    it(`refuses ${JSON.stringify(item)}`, () =>
      assert.throws(() => renderEvent(item), { name: 'TypeError', code: 'FAIRLEAD_SERVICE_EVENT' }))
  }
})

describe('events', { timeout: 300_000 }, () => {
  it('sends events until the source ends', async () => {
    using host = await serve(count(2), { retryMs: 100 })
    const response = await fetch(host.url)
    assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8')
    assert.equal(response.headers.get('cache-control'), 'no-cache, no-transform')
    assert.equal(await response.text(), 'retry: 100\n\nid: 1\ndata: {"id":1}\n\nid: 2\ndata: {"id":2}\n\n')
  })

  it('answers HEAD without asking the source', async () => {
    using host = await serve(() => assert.fail('asked'))
    assert.equal((await fetch(host.url, { method: 'HEAD' })).status, 200)
  })

  it('sends a sign of life when there is nothing to send', async () => {
    using host = await serve(forever, { heartbeatMs: 5 })
    const response = await fetch(host.url)
    let text = ''
    for await (const chunk of response.body ?? []) {
      text += new TextDecoder().decode(chunk)
      if (text.includes(':\n\n:\n\n')) break
    }
    assert.match(text, /^data: first\n\n(:\n\n)+$/)
  })

  it('ends in good order when the service stops, and tells the source', async () => {
    let reason: unknown
    using host = await serve(async function* (signal) {
      yield 'first'
      await once(signal, 'abort')
      reason = signal.reason
    })
    const response = await fetch(host.url)
    const { wasCut } = await drain(host.server, { delayMs: 0, timeoutMs: 5000, idleGraceMs: 10, goodbyeSpreadMs: 20 })
    assert.equal(wasCut, false)
    assert.equal(await response.text(), 'data: first\n\n')
    assert.equal((reason as Error).message, 'The service is stopping')
  })

  it('ends although the source does not listen', async () => {
    using host = await serve(async function* () {
      yield 'first'
      await new Promise(() => {})
    })
    const response = await fetch(host.url)
    await drain(host.server, { delayMs: 0, timeoutMs: 5000, idleGraceMs: 10 })
    assert.equal(await response.text(), 'data: first\n\n')
  })

  it('tells the source when the caller goes away', async () => {
    const gone = Promise.withResolvers<unknown>()
    using host = await serve(async function* (signal) {
      signal.addEventListener('abort', () => gone.resolve(signal.reason))
      yield 'first'
      await gone.promise
    })
    const controller = new AbortController()
    await fetch(host.url, { signal: controller.signal })
    controller.abort()
    assert.equal(((await gone.promise) as Error).message, 'The caller has gone away')
  })

  it('breaks off when the source fails, so that it does not look like the end', async () => {
    using host = await serve(async function* () {
      yield 'first'
      throw new Error('broken')
    })
    await assert.rejects((await fetch(host.url)).text())
  })

  it('asks for no more than a slow caller takes, and cuts one that takes nothing', async () => {
    let made = 0
    const returned = Promise.withResolvers<void>()
    const big = 'x'.repeat(100_000)
    using host = await serve(
      async function* () {
        try {
          for (;;) {
            made += 1
            yield big
          }
        } finally {
          returned.resolve()
        }
      },
      { heartbeatMs: 20, stallTimeoutMs: 100 },
    )
    const socket = connect(host.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    await once(socket, 'connect')
    await returned.promise
    assert.ok(made > 1 && made < 1000, `${made} events were made`)
    socket.destroy()
  })
})
