import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { sweepEvents } from './expiry.ts'
import { startTestServer } from './test-server.ts'

const events = '/api/v1/namespaces/default/events'
const hourMs = 3_600_000

describe('sweepEvents', () => {
  it('deletes events an hour after they last happened, and tells watchers', async () => {
    await using api = await startTestServer()
    const now = Date.now()
    for (const [name, age] of [
      ['old', 2 * hourMs],
      ['repeated', 2 * hourMs],
      ['fresh', 1000],
    ] as const) {
      const lastTimestamp = new Date(name === 'repeated' ? now : now - age).toISOString().replace(/\.\d+/, '')
      const firstTimestamp = new Date(now - age).toISOString().replace(/\.\d+/, '')
      const involvedObject = { kind: 'Pod', namespace: 'default', name: 'x' }
      const event = {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name },
        involvedObject,
        firstTimestamp,
        lastTimestamp,
        type: 'Normal',
      }
      assert.equal((await api.call('POST', events, event)).status, 201)
    }
    const deleted: string[] = []
    api.store.subscribe('events', undefined, ({ operation, entry }) =>
      deleted.push(`${operation} ${entry.id} ${entry.revision}`),
    )
    await sweepEvents(api.store, now)
    assert.deepEqual(deleted, [`delete default/old ${api.store.revision}`])
    await sweepEvents(api.store, now + 2 * hourMs)
    assert.equal(api.store.count('events'), 0)
  })
})
