import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { openHealthChecks } from './health-checks.ts'
import { createServiceTable } from './service-table.ts'
import { createMemorySource, eventually, makeService, makeSlice } from './testing.ts'

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

void describe('openHealthChecks', () => {
  void it('answers as kube-proxy for Services that have the port, for as long as they have it', async () => {
    const port = await freePort()
    const spec = { type: 'LoadBalancer', healthCheckNodePort: port, ports: [{ port: 80 }] }
    const services = createMemorySource([makeService('web', spec)])
    const local = { addresses: ['10.64.0.2'], nodeName: 'here', conditions: { ready: true } }
    const unready = { ...local, addresses: ['10.64.0.3'], conditions: { ready: false } }
    const slices = createMemorySource([makeSlice('web', [], [local, unready, '192.0.2.1'])])
    const table = createServiceTable(services, slices)
    const checks = openHealthChecks({ table, hosts: ['127.0.0.1'] })
    try {
      const ask = (): Promise<Response> => fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })
      const answer = await eventually(ask)
      assert.equal(answer.status, 200)
      const service = { namespace: 'shop', name: 'web' }
      assert.deepEqual(await answer.json(), { service, localEndpoints: 1, serviceProxyHealthy: true })
      slices.put(makeSlice('web', [], [unready]))
      await table.settled()
      assert.equal((await ask()).status, 503)
      services.put(makeService('web', { ...spec, healthCheckNodePort: undefined }))
      await table.settled()
      await assert.rejects(ask())
    } finally {
      table.close()
      await checks.close()
    }
  })
})
