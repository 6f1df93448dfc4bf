import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { loadPki } from '../../pki.ts'
import type { ProxyTarget } from '../proxy/target.ts'
import { RemoteDocuments } from './remote-documents.ts'

const minuteMs = 60_000
const server = { name: 'v1.example.com', group: 'example.com', version: 'v1', priority: 100 }
const paths = { 'apis/example.com/v1': { serverRelativeURL: '/openapi/v3/apis/example.com/v1?hash=1' } }
const version2 = { paths: { '/apis/example.com/v1/widgets': { get: {} } } }

type Answers = Record<string, (request: IncomingMessage, response: ServerResponse) => void>

async function start(answers: Answers): Promise<AsyncDisposable & { target: ProxyTarget; asked: string[] }> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-documents-'))
  const { server: own } = await loadPki(dir, ['127.0.0.1'])
  const asked: string[] = []
  const listener = createServer({ key: own.key, cert: own.certificate }, (request, response) => {
    const { url = '', headers } = request
    asked.push(`${url} ${headers['if-none-match'] ?? ''}`.trim())
    assert.equal(headers['x-remote-user'], 'system:aggregator')
    answers[url]?.(request, response)
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  return {
    target: { scheme: 'https', host: '127.0.0.1', port, tls: { servername: 'x', rejectUnauthorized: false } },
    asked,
    async [Symbol.asyncDispose]() {
      listener.closeAllConnections()
      await new Promise((resolve) => listener.close(resolve))
      await rm(dir, { recursive: true, force: true })
    },
  }
}

const json =
  (value: unknown, headers: Record<string, string> = {}) =>
  (_request: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(200, headers).end(JSON.stringify(value))
  }
const status =
  (code: number) =>
  (_request: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(code).end('{}')
  }

describe('RemoteDocuments', () => {
  it('asks once a minute, and for version 2 only when it is another one', async () => {
    const answers: Answers = { '/openapi/v3': json({ paths }), '/openapi/v2': json(version2, { etag: '"one"' }) }
    await using remote = await start(answers)
    let now = 0
    const documents = new RemoteDocuments(() => now)
    await documents.refresh(server, () => remote.target)
    assert.deepEqual(documents.paths(), paths)
    assert.equal(documents.ownerOf('apis/example.com/v1'), 'v1.example.com')
    const [part] = documents.parts()
    assert.deepEqual(part, { ...version2, definitions: {} })
    now = minuteMs - 1
    await documents.refresh(server, () => remote.target)
    answers['/openapi/v2'] = status(304)
    now = minuteMs
    await documents.refresh(server, () => remote.target)
    assert.equal(documents.parts()[0], part)
    assert.deepEqual(remote.asked, ['/openapi/v3', '/openapi/v2', '/openapi/v3', '/openapi/v2 "one"'])
  })

  it('knows a version by its bytes where the server does not name it', async () => {
    await using remote = await start({ '/openapi/v3': status(404), '/openapi/v2': json(version2) })
    let now = 0
    const documents = new RemoteDocuments(() => now)
    await documents.refresh(server, () => remote.target)
    const [part] = documents.parts()
    now = minuteMs
    await documents.refresh(server, () => remote.target)
    assert.equal(documents.parts()[0], part)
    assert.deepEqual(documents.paths(), {})
    assert.equal(remote.asked.at(-1), '/openapi/v2')
  })

  it('keeps what a server said while it fails, and asks it less and less often', async () => {
    const answers: Answers = { '/openapi/v3': json({ paths }), '/openapi/v2': json(version2) }
    await using remote = await start(answers)
    let now = 0
    const documents = new RemoteDocuments(() => now)
    await documents.refresh(server, () => remote.target)
    answers['/openapi/v3'] = status(500)
    const times: number[] = []
    for (; now <= 20 * minuteMs; now += minuteMs) {
      const before = remote.asked.length
      await documents.refresh(server, () => remote.target)
      if (remote.asked.length > before) times.push(now / minuteMs)
    }
    assert.deepEqual(times, [1, 2, 4, 8, 16])
    assert.deepEqual(documents.paths(), paths)
    assert.equal(documents.parts().length, 1)
  })

  it('leaves out who never answered, or says what is no document', async () => {
    for (const broken of [json('text'), json({ paths: { 'apis/example.com/v1': null } }), status(503)]) {
      await using remote = await start({ '/openapi/v3': broken, '/openapi/v2': status(404) })
      const documents = new RemoteDocuments(() => 0)
      await documents.refresh(server, () => remote.target)
      assert.deepEqual([documents.paths(), documents.parts()], [{}, []])
    }
  })

  it('knows nothing of a server that is gone, though it answers later', async () => {
    await using remote = await start({ '/openapi/v3': json({ paths }), '/openapi/v2': json(version2) })
    const documents = new RemoteDocuments(() => 0)
    const refreshed = documents.refresh(server, () => remote.target)
    documents.forget(server.name)
    await refreshed
    assert.deepEqual([documents.paths(), documents.parts()], [{}, []])
  })
})
