import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { after, describe, it } from 'node:test'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'

import { loadPki } from '../pki.ts'
import { send } from './send-answer.ts'
import { startTestServer } from './test-server.ts'

const dir = mkdtempSync(join(tmpdir(), 'fairlead-send-'))
const pki = await loadPki(dir)
after(() => rmSync(dir, { recursive: true, force: true }))

const deadline = { timeout: 120_000 }

/** Collects answers with a length until there are so many. */
async function readAnswers(socket: ReturnType<typeof connect>, count: number): Promise<string[]> {
  const bodies: string[] = []
  let received = Buffer.alloc(0)
  let missing = 0
  const more: Buffer[] = []
  for await (const data of socket) {
    more.push(data as Buffer)
    missing -= (data as Buffer).length
    if (missing > 0) continue
    received = Buffer.concat([received, ...more.splice(0)])
    for (let start = received.indexOf('\r\n\r\n') + 4; start > 3; start = received.indexOf('\r\n\r\n') + 4) {
      const end = start + Number(/content-length: (\d+)/i.exec(received.toString('latin1', 0, start))?.[1])
      missing = end - received.length
      if (missing > 0) break
      bodies.push(received.toString('latin1', start, end))
      received = received.subarray(end)
    }
    if (bodies.length === count) return bodies
  }
  throw new Error('The connection has ended')
}

/** Pieces of about 4 kB, all of them different, and what they are together. */
function longAnswer(name: string, pieces: number): { pieces: Buffer[]; text: string } {
  const made = Array.from({ length: pieces }, (_, index) => Buffer.from(`${name}-${index};`.repeat(400)))
  return { pieces: made, text: Buffer.concat(made).toString('latin1') }
}

describe('send', deadline, () => {
  it('keeps long answers apart: side by side, one after the other, and asked for before the last one has gone', async () => {
    const answers = new Map(['a', 'b', 'c'].map((name) => [`/${name}`, longAnswer(name, 700)]))
    const server = createServer((incoming, outgoing) => {
      const pieces = answers.get(incoming.url ?? '')?.pieces ?? []
      void send(incoming, outgoing, { status: 200, headers: {}, body: { pieces } }, 60_000)
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    using stack = new DisposableStack()
    stack.defer(() => server.close())
    const orders = [
      ['/a', '/b', '/c'],
      ['/c', '/a', '/c'],
      ['/b', '/b', '/a'],
    ]
    await Promise.all(
      orders.map(async (order) => {
        const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
        socket.write(order.map((path) => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`).join(''))
        const bodies = await readAnswers(socket, order.length)
        for (const [index, path] of order.entries()) assert.ok(bodies[index] === answers.get(path)?.text, path)
      }),
    )
  })

  it('sends lists whole that clients read at different speeds', async () => {
    await using api = await startTestServer({ tokens: new Map([['token', { user: 'a', groups: ['system:masters'] }]]) })
    const { port } = await api.server.listen({ tls: { key: pki.server.key, cert: pki.server.certificate, ca: pki.ca } })
    for (let n = 0; n < 40; n += 1) {
      const metadata = { name: `c${n}`, namespace: 'default', resourceVersion: '1' }
      const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { text: `${n}-`.repeat(30_000) } }
      await api.store.put('configmaps', `default/c${n}`, () => Buffer.from(JSON.stringify(object)))
    }
    const lists = await Promise.all(
      [0, 1, 2, 3].map(async (slowness) => {
        const socket = connectTls({ port, host: '127.0.0.1', ca: pki.ca })
        await once(socket, 'secureConnect')
        socket.write(`GET /api/v1/configmaps HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer token\r\n\r\n`)
        for (let pause = 0; pause < slowness * 50; pause += 1) await new Promise(setImmediate)
        return (await readAnswers(socket, 1))[0] ?? ''
      }),
    )
    for (const list of lists) {
      const { items } = JSON.parse(list) as { items: { metadata: { name: string }; data: { text: string } }[] }
      assert.equal(items.length, 40)
      for (const { metadata, data } of items) assert.ok(data.text === `${metadata.name.slice(1)}-`.repeat(30_000))
    }
  })
})
