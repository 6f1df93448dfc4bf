import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { createDebug } from '../debug/endpoints.ts'
import { createHealth } from '../health/health.ts'
import { createLogger } from '../log/logger.ts'
import { addLogMetrics } from '../log/metrics.ts'
import { createMetrics } from '../metrics/metrics.ts'
import { createAdminListener, createAdminRest } from './admin.ts'

describe('the admin port', () => {
  it('has health, metrics, debug and an index of them', async () => {
    const log = createLogger({ sink: { write() {}, flush() {} } })
    const metrics = createMetrics()
    const end = addLogMetrics(metrics, log)
    const health = createHealth({ service: 'test', log, metrics })
    const debug = createDebug({ log })
    const server = createServer(createAdminListener(health, metrics, createAdminRest(debug))).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const get = async (path: string, accept = '*/*'): Promise<Response> =>
      await fetch(url + path, { headers: { accept } })
    try {
      health.state = 'ready'
      log.warn('counted')
      const { paths } = (await (await get('/')).json()) as { paths: string[] }
      for (const path of paths.filter((entry) => entry.startsWith('GET ')))
        assert.equal((await get(path.slice(4))).status, 200, path)
      assert.match(await (await get('/', 'text/html')).text(), /<a href="\/health\/ready">/)
      assert.match(await (await get('/metrics')).text(), /log_lines_total\{level="warn"\} 1\n/)
      const detailed = await get('/health', 'application/health+json')
      assert.equal(detailed.headers.get('content-type'), 'application/health+json')
      assert.partialDeepStrictEqual(await detailed.json(), { status: 'pass' })
      health.state = 'draining'
      assert.equal((await get('/livez')).status, 200)
      assert.equal((await get('/readyz')).status, 503)
      assert.equal((await get('/health', 'application/health+json')).status, 503)
      assert.equal((await get('/none')).status, 404)
    } finally {
      end()
      debug.stop()
      server.closeAllConnections()
      server.close()
    }
  })
})
