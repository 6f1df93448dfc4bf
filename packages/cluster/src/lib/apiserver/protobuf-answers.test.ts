import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { readBytes } from '@fairlead/kube'
import { decodeProtobuf, encodeProtobuf } from '@fairlead/kube/codec'
import type { KubeObject } from '@fairlead/kube/types'
import { createWebSocketKey, WebSocket } from '@fairlead/kube/streaming'

import { MessageCache } from './message-cache.ts'
import { podNamed, startTestServer } from './test-server.ts'
import type { TestServer } from './test-server.ts'

const pods = '/api/v1/namespaces/default/pods'
const protobuf = 'application/vnd.kubernetes.protobuf'
/** What client-go asks with. */
const accept = `${protobuf},application/json`

async function get(
  { transport }: TestServer,
  path: string,
  wanted: string = accept,
): Promise<{ status: number; type: string; object: KubeObject & { items?: KubeObject[] } }> {
  const { status, headers, body } = await transport.send({ method: 'GET', path, headers: { accept: wanted } })
  return { status, type: headers['content-type'] ?? '', object: decodeProtobuf(await readBytes(body)) }
}

/** Events of a protobuf watch: each is its length in four bytes, then the event, whose object is in an envelope. */
function readEvents(bytes: Buffer): { type: string; object: KubeObject }[] {
  const events = []
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32BE(at)
    events.push(readEvent(bytes.subarray(at + 4, at + 4 + length)))
    at += 4 + length
  }
  return events
}

function readEvent(bytes: Buffer): { type: string; object: KubeObject } {
  const envelope = encodeProtobuf({ apiVersion: 'v1', kind: 'WatchEvent' })
  // The event comes without the envelope that its own decoder would read: only the object has one.
  const object = bytes.indexOf('k8s\0')
  assert.ok(object > 0 && envelope.length > 0)
  return { type: bytes.toString('latin1', 2, 2 + (bytes[1] ?? 0)), object: decodeProtobuf(bytes.subarray(object)) }
}

describe('answers in protobuf', () => {
  it('are what JSON says: objects, lists, metadata', async () => {
    await using api = await startTestServer()
    for (const name of ['a', 'b']) await api.call('POST', pods, podNamed(name))
    const one = await get(api, `${pods}/a`)
    assert.deepEqual([one.status, one.type], [200, protobuf])
    assert.deepEqual(one.object, (await api.call('GET', `${pods}/a`)).body)
    const list = await get(api, pods)
    // At the same revision: the server itself writes as well, a moment after its start.
    const exact = `resourceVersion=${list.object.metadata.resourceVersion}&resourceVersionMatch=Exact`
    const plain = (await api.call('GET', `${pods}?${exact}`)).body
    assert.equal(list.object.kind, 'PodList')
    assert.deepEqual(list.object.metadata, plain.metadata)
    assert.deepEqual(
      list.object.items,
      plain.items.map(({ apiVersion: _version, kind: _kind, ...item }: KubeObject) => item),
    )
    const metadata = await get(api, pods, `${protobuf};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`)
    assert.equal(metadata.object.kind, 'PartialObjectMetadataList')
    assert.deepEqual(metadata.object.items?.[1], { metadata: plain.items[1].metadata })
  })

  it('go to writes, reviews, scales and errors too', async () => {
    await using api = await startTestServer()
    const send = async (method: string, path: string, object: KubeObject): Promise<KubeObject> => {
      const body = encodeProtobuf(object)
      const { body: answer } = await api.transport.send({
        method,
        path,
        body,
        headers: { accept, 'content-type': protobuf },
      })
      return decodeProtobuf(await readBytes(answer))
    }
    const pod = podNamed('a') as unknown as KubeObject
    assert.equal((await send('POST', pods, pod)).metadata.name, 'a')
    const refused = await send('POST', pods, pod)
    assert.deepEqual([refused.kind, refused['reason'], refused['code']], ['Status', 'AlreadyExists', 409])
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview', metadata: {} }
    const self = await send('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', review)
    assert.equal((self['status'] as { userInfo: { username: string } }).userInfo.username, 'admin')
  })

  it('are never tables, and never custom resources', async () => {
    await using api = await startTestServer()
    const wanted = `${protobuf};as=Table;g=meta.k8s.io;v=v1,application/json`
    const { headers, body } = await api.call('GET', pods, undefined, { accept: wanted })
    assert.deepEqual([headers['content-type'], body.kind], ['application/json', 'PodList'])
    const only = await get(api, pods, `${protobuf};as=Table;g=meta.k8s.io;v=v1`)
    assert.deepEqual([only.status, only.object['reason']], [406, 'NotAcceptable'])
  })

  it('come as frames from a watch, bookmarks and errors included', async () => {
    await using api = await startTestServer()
    await api.call('POST', pods, podNamed('a'))
    const path = `${pods}?watch=1&allowWatchBookmarks=true&timeoutSeconds=1`
    const watching = api.transport.send({ method: 'GET', path, headers: { accept } })
    const { headers, body } = await watching
    assert.equal(headers['content-type'], `${protobuf};stream=watch`)
    await api.call('DELETE', `${pods}/a`)
    const events = readEvents(Buffer.from(await readBytes(body)))
    assert.deepEqual(
      events.map(({ type, object }) => `${type} ${object.kind} ${object.metadata.name ?? ''}`),
      ['ADDED Pod a', 'BOOKMARK Pod ', 'DELETED Pod a'],
    )
    assert.deepEqual(events[1]?.object.metadata.annotations, { 'k8s.io/initial-events-end': 'true' })
    const future = `${pods}?watch=1&resourceVersion=${api.store.revision + 5}`
    const refused = await api.transport.send({ method: 'GET', path: future, headers: { accept } })
    const [error] = readEvents(Buffer.from(await readBytes(refused.body)))
    assert.deepEqual([error?.type, error?.object.kind, error?.object['code']], ['ERROR', 'Status', 410])
  })
})

describe('a watch over a WebSocket', () => {
  for (const { encoding, wanted } of [
    { encoding: 'text', wanted: 'application/json' },
    { encoding: 'bytes', wanted: protobuf },
  ]) {
    it(`sends each event as a message of ${encoding}`, { timeout: 300_000 }, async () => {
      await using api = await startTestServer()
      await api.call('POST', pods, podNamed('a'))
      const headers = {
        accept: wanted,
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': createWebSocketKey(),
      }
      const path = `${pods}?watch=true`
      const answer = await api.transport.send({ method: 'GET', path, headers, upgrade: true })
      assert.equal(answer.status, 101)
      assert.ok(answer.connection)
      const seen: string[] = []
      const { promise, resolve } = Promise.withResolvers<void>()
      const webSocket = new WebSocket(answer.connection, {
        role: 'client',
        onMessage(data, isText) {
          assert.equal(isText, encoding === 'text')
          const { type, object } = isText
            ? (JSON.parse(data.toString('utf8')) as { type: string; object: KubeObject })
            : readEvent(data)
          seen.push(`${type} ${object.metadata.name}`)
          if (seen.length === 1) void api.call('DELETE', `${pods}/a`)
          else resolve()
        },
      })
      await promise
      assert.deepEqual(seen, ['ADDED a', 'DELETED a'])
      webSocket.close()
      await webSocket.ended
    })
  }
})

describe('MessageCache', () => {
  it('keeps what was used last within its limit', () => {
    const cache = new MessageCache(50)
    const [a, b] = [Buffer.alloc(30), Buffer.alloc(30)]
    let count = 0
    const encode = (): Buffer => {
      count += 1
      return Buffer.alloc(30)
    }
    assert.equal(cache.get(a, encode), cache.get(a, encode))
    assert.equal(count, 1)
    cache.get(b, encode)
    assert.equal(cache.sizeBytes, 30)
    cache.get(a, encode)
    assert.equal(count, 3)
  })
})
