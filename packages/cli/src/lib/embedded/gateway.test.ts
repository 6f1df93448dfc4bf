import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createKubeClient } from '@fairlead/kube'
import { createApiServer, openStore } from '@fairlead/cluster/apiserver'
import { listEntrances, renderEntrance, toEntrance } from './gateway.ts'

describe('toEntrance', () => {
  it('tells where an Ingress is reached, by the ports of its status', () => {
    const ingress = {
      metadata: { name: 'web', namespace: 'shop' },
      spec: { rules: [{ host: 'web.localhost' }, {}] },
      status: { loadBalancer: { ingress: [{ ip: '127.0.0.1', ports: [{ port: 8080 }, { port: 8443 }] }] } },
    }
    const entrance = toEntrance('Ingress', ingress)
    assert.equal(renderEntrance(entrance), 'Ingress shop/web at 127.0.0.1:8080, 127.0.0.1:8443 for web.localhost')
  })

  it('tells of the listeners of a Gateway that are served, each address once', () => {
    const programmed = (status: string) => [{ type: 'Programmed', status }]
    const gateway = {
      metadata: { name: 'edge', namespace: 'shop' },
      spec: {
        listeners: [
          { name: 'a', port: 8000, hostname: 'a.localhost' },
          { name: 'b', port: 8000, hostname: 'b.localhost' },
          { name: 'taken', port: 80 },
        ],
      },
      status: {
        addresses: [{ type: 'IPAddress', value: '127.0.80.1' }],
        listeners: [
          { name: 'a', conditions: programmed('True') },
          { name: 'b', conditions: programmed('True') },
          { name: 'taken', conditions: programmed('False') },
        ],
      },
    }
    const entrance = toEntrance('Gateway', gateway)
    assert.equal(renderEntrance(entrance), 'Gateway shop/edge at 127.0.80.1:8000 for a.localhost, b.localhost')
  })

  it('says so when nothing serves one', () => {
    assert.equal(
      renderEntrance(toEntrance('Ingress', { metadata: { name: 'web', namespace: 'shop' } })),
      'Ingress shop/web is not served',
    )
  })
})

describe('listEntrances', () => {
  it('finds those of kinds that are there, where others are not installed', async () => {
    await using store = await openStore({ dir: '', durability: 'memory' })
    await using server = createApiServer({ store })
    const client = createKubeClient({ transport: server.transport({ user: 'ada', groups: ['system:masters'] }) })
    const backend = { service: { name: 'web', port: { number: 80 } } }
    await client.resource('networking.k8s.io/v1/Ingress').create({
      metadata: { name: 'web', namespace: 'default' },
      spec: { defaultBackend: backend },
    })
    const found = await listEntrances(client, AbortSignal.timeout(30_000))
    assert.deepEqual(
      found.map(({ kind, name }) => `${kind} ${name}`),
      ['Ingress web'],
    )
  })
})
