import { once } from 'node:events'
import { createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { policy } from './testing.ts'
import { openH2Upstream } from './upstream-h2.ts'

void describe('openH2Upstream', () => {
  it('has closed once its connections have gone, asked as often as one likes', { timeout: 300_000 }, async () => {
    const server = createServer()
    server.on('sessionError', () => {})
    const asked = once(server, 'stream')
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const upstream = openH2Upstream('127.0.0.1', (server.address() as AddressInfo).port, { policy })
    const handler = { onSend() {}, onHead() {}, onData: () => true, onEnd() {}, onError() {} }
    upstream.send({ method: 'GET', path: '/', headers: { host: 'web' }, body: null }, handler)
    await asked

    const first = upstream.close()
    const second = upstream.close()
    upstream.destroy()
    const third = upstream.close()
    await Promise.all([first, second, third])
    const gone = once(server, 'close')
    server.close()
    await gone
  })
})
