import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createKubeClient } from '../client/client.ts'
import type { TransportRequest } from '../client/transport.ts'
import { createEventRecorder } from './event-recorder.ts'
import { createManualClock } from './testing.ts'

/** A client of a server that remembers what it is asked and answers `{}`, or 404 to patches when told so. */
function doubled() {
  const sent: { method: string; path: string; body: Record<string, unknown> }[] = []
  const state = { isGone: false }
  const client = createKubeClient({
    transport: {
      async send({ method, path, body }: TransportRequest) {
        sent.push({ method, path, body: JSON.parse(String(body)) as Record<string, unknown> })
        const status = state.isGone && method === 'PATCH' ? 404 : 200
        return { status, headers: {}, body: emptyObject() }
      },
    },
  })
  return { client, sent, state }
}

function emptyObject(): AsyncGenerator<Uint8Array, void, undefined> {
  return textOf('{}')
}

async function* textOf(text: string): AsyncGenerator<Uint8Array, void, undefined> {
  yield Buffer.from(text)
}

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: 'shop', name: 'web', uid: 'u1', resourceVersion: '3' },
}

describe('createEventRecorder', () => {
  it('writes an event about the object, in its namespace', async () => {
    const { client, sent } = doubled()
    const recorder = createEventRecorder(client, 'scheduler', { clock: createManualClock(1000) })
    recorder.record(pod, { type: 'Normal', reason: 'Scheduled', message: 'Successfully assigned shop/web to n1' })
    await recorder.flush()
    const [{ method, path, body } = { method: '', path: '', body: {} }] = sent
    assert.equal(`${method} ${path}`, 'POST /api/v1/namespaces/shop/events')
    assert.deepEqual(body['involvedObject'], {
      apiVersion: 'v1',
      kind: 'Pod',
      namespace: 'shop',
      name: 'web',
      uid: 'u1',
      resourceVersion: '3',
    })
    assert.deepEqual(body['source'], { component: 'scheduler' })
    assert.equal(body['firstTimestamp'], '1970-01-01T00:00:01Z')
    assert.match((body['metadata'] as { name: string }).name, /^web\.[0-9a-f]{16}$/)
  })

  it('counts repeats on the first event, and starts anew once that is deleted', async () => {
    const { client, sent, state } = doubled()
    const clock = createManualClock()
    const recorder = createEventRecorder(client, 'c', { clock })
    const details = { type: 'Warning', reason: 'BackOff', message: 'again' } as const
    recorder.record(pod, details)
    recorder.record(pod, details)
    await recorder.flush()
    state.isGone = true
    recorder.record(pod, details)
    await recorder.flush()
    assert.deepEqual(
      sent.map(({ method, body }) => [method, body['count']]),
      [
        ['POST', 1],
        ['PATCH', 2],
        ['PATCH', 3],
        ['POST', 1],
      ],
    )
  })

  it('combines a flood of similar events', async () => {
    const { client, sent } = doubled()
    const recorder = createEventRecorder(client, 'c', { clock: createManualClock() })
    for (let index = 0; index < 14; index += 1) {
      recorder.record(pod, { type: 'Normal', reason: 'Created', message: `message ${index}` })
    }
    await recorder.flush()
    assert.equal(sent.filter(({ method }) => method === 'POST').length, 11)
    assert.equal(sent.at(-1)?.method, 'PATCH')
    assert.equal(sent.at(-1)?.body['message'], '(combined from similar events): message 13')
    assert.equal(sent.at(-1)?.body['count'], 4)
  })

  it('reports what fails, but not that the namespace is going', async () => {
    for (const [reason, details, reported] of [
      ['Forbidden', { causes: [{ reason: 'NamespaceTerminating' }] }, 0],
      ['NotFound', { kind: 'namespaces' }, 0],
      ['Forbidden', {}, 1],
    ] as const) {
      const status = {
        kind: 'Status',
        status: 'Failure',
        reason,
        details,
        message: 'no',
        code: reason === 'NotFound' ? 404 : 403,
      }
      const send = async () => ({ status: status.code, headers: {}, body: textOf(JSON.stringify(status)) })
      const errors: unknown[] = []
      const recorder = createEventRecorder(createKubeClient({ transport: { send } }), 'c', {
        onError: (error) => errors.push(error),
      })
      recorder.record(pod, { type: 'Normal', reason: 'Created', message: 'made' })
      await recorder.flush()
      assert.equal(errors.length, reported)
    }
  })

  it('stops an object that makes events without end', async () => {
    const { client, sent } = doubled()
    const recorder = createEventRecorder(client, 'c', { clock: createManualClock() })
    for (let index = 0; index < 100; index += 1) {
      recorder.record(pod, { type: 'Normal', reason: 'Created', message: 'same' })
    }
    await recorder.flush()
    assert.equal(sent.length, 25)
  })
})
