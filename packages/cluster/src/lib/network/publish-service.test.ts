import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { startTestServer } from '../apiserver/test-server.ts'
import { publishDns } from './dns-service.ts'

void describe('publishService', () => {
  void it('tells of its new place when the process has started anew, and leaves the Service as it is', async () => {
    await using api = await startTestServer()
    const { signal } = new AbortController()
    const errors: unknown[] = []
    const onError = (error: unknown): void => void errors.push(error)
    const at = { namespace: 'kube-system' }
    for (const port of [10_053, 10_054]) {
      const dns = { host: '10.64.0.1', port }
      await publishDns({ client: api.client, address: '10.96.0.10', dns, signal, onError })
      const service = await api.client.resource('v1/Service').get('kube-dns', at)
      assert.equal(service.spec?.clusterIP, '10.96.0.10')
      const slice = await api.client.resource('discovery.k8s.io/v1/EndpointSlice').get('kube-dns', at)
      assert.deepEqual(
        slice.ports?.map((each) => each.port),
        [port, port],
      )
    }
    assert.deepEqual(errors, [])
  })
})
