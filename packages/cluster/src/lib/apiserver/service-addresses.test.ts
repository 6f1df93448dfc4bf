import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { openStore } from '../storage/store.ts'
import { startTestServer } from './test-server.ts'

const services = '/api/v1/namespaces/default/services'

describe('a service', () => {
  function service(name: string, spec: Record<string, unknown> = {}): Record<string, unknown> {
    const base = { selector: { app: name }, ports: [{ port: 80, protocol: 'TCP' }] }
    return { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { ...base, ...spec } }
  }

  it('gets an address of its own, and a node port when its type needs one', async () => {
    await using api = await startTestServer()
    const made = await Promise.all(
      ['a', 'b', 'c'].map((name) => api.call('POST', services, service(name, { type: 'NodePort' }))),
    )
    const addresses = new Set(made.map(({ body }) => body.spec.clusterIP))
    const ports = new Set(made.map(({ body }) => body.spec.ports[0].nodePort))
    assert.deepEqual([addresses.size, ports.size], [3, 3])
    for (const address of addresses) assert.match(String(address), /^10\.96\./)
    for (const port of ports) assert.ok(Number(port) >= 30_000 && Number(port) <= 32_767)
  })

  it('keeps its address through updates and gives it back when deleted', async () => {
    await using api = await startTestServer({ serviceCidr: '10.0.0.0/30' })
    const { body } = await api.call('POST', services, service('a'))
    const updated = await api.call('PUT', `${services}/a`, service('a', { sessionAffinity: 'ClientIP' }))
    assert.equal(updated.body.spec.clusterIP, body.spec.clusterIP)
    await api.call('POST', services, service('b'))
    const full = await api.call('POST', services, service('c'))
    assert.equal(full.status, 422)
    assert.match(full.body.message, /range is full/)
    await api.call('DELETE', `${services}/a`)
    assert.equal((await api.call('POST', services, service('c'))).body.spec.clusterIP, body.spec.clusterIP)
  })

  it('may choose a free address, no taken one, and none at all', async () => {
    await using api = await startTestServer()
    assert.equal((await api.call('POST', services, service('dns', { clusterIP: '10.96.0.10' }))).status, 201)
    const taken = await api.call('POST', services, service('other', { clusterIP: '10.96.0.10' }))
    assert.match(taken.body.message, /provided IP is already allocated/)
    const outside = await api.call('POST', services, service('other', { clusterIP: '10.1.0.10' }))
    assert.match(outside.body.message, /is not in the valid range/)
    const headless = await api.call('POST', services, service('headless', { clusterIP: 'None' }))
    assert.equal(headless.body.spec.clusterIP, 'None')
  })

  it('cannot change its address, except by becoming a name elsewhere', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('POST', services, service('a'))
    for (const clusterIP of ['None', '10.96.0.77']) {
      const changed = await api.call('PATCH', `${services}/a`, { spec: { clusterIP, clusterIPs: [clusterIP] } })
      assert.equal(changed.status, 422)
      assert.match(changed.body.message, /spec\.clusterIPs\[0\]: Invalid value: .* may not change once set/)
    }
    // The address asked for and refused is free for others, the one that is kept is not.
    assert.equal((await api.call('POST', services, service('b', { clusterIP: '10.96.0.77' }))).status, 201)
    assert.equal((await api.call('POST', services, service('c', { clusterIP: body.spec.clusterIP }))).status, 422)
    const elsewhere = { type: 'ExternalName', externalName: 'example.com', clusterIP: null, clusterIPs: null }
    assert.equal((await api.call('PATCH', `${services}/a`, { spec: elsewhere })).status, 200)
  })

  it('loses its node ports with the type that had them', async () => {
    await using api = await startTestServer()
    await api.call('POST', services, service('a', { type: 'NodePort' }))
    const stored = (await api.call('GET', `${services}/a`)).body
    const spec = { ...stored.spec, type: 'ExternalName', externalName: 'example.com' }
    const { status, body } = await api.call('PUT', `${services}/a`, { ...stored, spec })
    assert.deepEqual([status, body.spec.ports[0].nodePort, body.spec.clusterIP], [200, undefined, undefined])
  })

  it('has a port for health checks while a load balancer sends only to nodes with endpoints', async () => {
    await using api = await startTestServer()
    const local = { type: 'LoadBalancer', externalTrafficPolicy: 'Local' }
    const { body } = await api.call('POST', services, service('a', local))
    const port = Number(body.spec.healthCheckNodePort)
    assert.ok(port >= 30_000 && port <= 32_767 && port !== body.spec.ports[0].nodePort)
    const moved = { ...body, spec: { ...body.spec, healthCheckNodePort: port === 30_000 ? 30_001 : 30_000 } }
    const refused = await api.call('PUT', `${services}/a`, moved)
    assert.match(refused.body.message, /spec\.healthCheckNodePort: Invalid value: 3000[01]: field is immutable/)
    const open = { ...body, spec: { ...body.spec, externalTrafficPolicy: 'Cluster' } }
    assert.equal((await api.call('PUT', `${services}/a`, open)).body.spec.healthCheckNodePort, undefined)
  })

  it('still has its address after a restart of the server', async () => {
    await using store = await openStore({ dir: '', durability: 'memory' })
    const first = await startTestServer({ store, serviceCidr: '10.0.0.0/29' })
    const { body } = await first.call('POST', services, service('a', { type: 'NodePort' }))
    await first[Symbol.asyncDispose]()
    await using second = await startTestServer({ store, serviceCidr: '10.0.0.0/29' })
    const other = await second.call('POST', services, service('b', { type: 'NodePort' }))
    assert.notEqual(other.body.spec.clusterIP, body.spec.clusterIP)
    assert.notEqual(other.body.spec.ports[0].nodePort, body.spec.ports[0].nodePort)
  })
})
