import assert from 'node:assert/strict'
import { createServer, request as send } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { createManualClock } from '../resilience/clock.ts'
import { limitListener } from './rate-limit.ts'
import type { RequestRateLimit } from './rate-limit.ts'

/** Which of the requests were let in. */
async function admit(
  key: RequestRateLimit['key'],
  requests: readonly IncomingHttpHeaders[],
): Promise<{ readonly admitted: boolean[]; readonly refused: number[] }> {
  const refused: number[] = []
  const limit = limitListener({ limit: 1, periodMs: 60_000, key }, (_request, status) => refused.push(status))
  const server = createServer(limit((_request, response) => void response.end()))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const admitted: boolean[] = []
  for (const headers of requests) {
    const call = send({ port, host: '127.0.0.1', headers, agent: false }).end()
    const [response] = await once(call, 'response')
    response.resume()
    admitted.push(response.statusCode === 200)
  }
  server.close()
  return { admitted, refused }
}

describe('limitListener', () => {
  const behind = (addresses: string): IncomingHttpHeaders => ({ 'x-forwarded-for': addresses })

  it('goes by the address that a trusted proxy saw, not by what the caller wrote', async () => {
    const { admitted, refused } = await admit({ forwardedHops: 2 }, [
      behind('10.0.0.1, 192.0.2.1, 198.51.100.9'),
      behind('10.0.0.2, 192.0.2.1, 198.51.100.9'),
      behind('10.0.0.1, 192.0.2.2, 198.51.100.9'),
    ])
    assert.deepEqual(admitted, [true, false, true])
    assert.deepEqual(refused, [429])
  })

  it('takes the /64 of IPv6 for one caller, however it is written, and IPv4 within IPv6 for itself', async () => {
    const { admitted } = await admit({ forwardedHops: 1 }, [
      behind('2001:db8:0:1::7'),
      behind('2001:DB8:0:1:ffff::8'),
      behind('2001:db8:0:2::7'),
      behind('::1'),
      behind('::2'),
      behind('::ffff:192.0.2.1'),
      behind('192.0.2.1'),
      behind('::ffff:192.0.2.2'),
    ])
    assert.deepEqual(admitted, [true, false, true, true, false, true, false, true])
  })

  it('falls back on the peer where no proxy has written anything', async () => {
    assert.deepEqual((await admit({ forwardedHops: 1 }, [{}, {}])).admitted, [true, false])
  })

  it('lets through whom the function does not name', async () => {
    const key = ({ headers }: { headers: IncomingHttpHeaders }): string | undefined => headers['x-user']?.toString()
    const { admitted } = await admit(key, [{}, {}, { 'x-user': 'ada' }, { 'x-user': 'ada' }])
    assert.deepEqual(admitted, [true, true, true, false])
  })

  it('says 30 s of 30 s, also at a time at which the sum of fractions is more', async () => {
    const clock = createManualClock(2883.692)
    const limit = limitListener({ limit: 2, periodMs: 60_000, clock }, () => {})
    const server = createServer(limit((_request, response) => void response.end()))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    assert.equal(response.headers.get('ratelimit'), '"default";r=1;t=30')
    server.close()
    server.closeAllConnections()
  })

  it('refuses a number of proxies that is none', () =>
    assert.throws(() => limitListener({ limit: 1, key: { forwardedHops: 0 } }, () => {}), {
      code: 'FAIRLEAD_SERVICE_POLICY',
    }))
})
