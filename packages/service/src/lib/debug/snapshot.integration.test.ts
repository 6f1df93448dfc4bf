import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { createLogger } from '../log/logger.ts'
import { createDebug } from './endpoints.ts'

describe('heap snapshot', () => {
  it('streams one snapshot, refuses a second meanwhile, and takes another afterwards', async () => {
    const debug = createDebug({ log: createLogger({ level: 'silent' }) })
    const server = createServer((request, response) => void debug.handle(request, response)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/debug/heap-snapshot`
    try {
      // The body is not read: the stream waits, and so does the snapshot.
      const first = await fetch(url, { method: 'POST' })
      assert.equal(first.status, 200)
      assert.match(first.headers.get('content-disposition') ?? '', /\.heapsnapshot"$/)
      assert.equal((await fetch(url, { method: 'POST' })).status, 409)
      const snapshot = (await first.json()) as Record<string, unknown>
      assert.ok('snapshot' in snapshot && 'strings' in snapshot)
      const again = await fetch(url, { method: 'POST' })
      assert.equal(again.status, 200)
      // Stopping breaks off what is running.
      debug.stop()
      await assert.rejects(again.text())
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })
})
