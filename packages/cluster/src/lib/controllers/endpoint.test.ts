import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { EndpointHints } from '@fairlead/kube/types/discovery-v1'

import { eventually, node, openWorkbench, reportPod } from './testing/workbench.ts'

void describe('runEndpointSliceController', () => {
  void it('tells the zone of endpoints and for whom they are, and follows when a node moves', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const zone = 'topology.kubernetes.io/zone'
    const nodes = client.resource('v1/Node')
    await nodes.create({ ...node('n1'), metadata: { name: 'n1', labels: { [zone]: 'a' } } })
    const spec = { selector: { app: 'web' }, ports: [{ port: 80 }], trafficDistribution: 'PreferSameNode' }
    await client.resource('v1/Service').create({ metadata: { name: 'web', namespace: 'default' }, spec })
    const pod = await client.resource('v1/Pod').create({
      metadata: { name: 'web', namespace: 'default', labels: { app: 'web' } },
      spec: { nodeName: 'n1', containers: [{ name: 'app', image: 'app:1' }] },
    })
    await reportPod(client, pod, true)
    const slices = client.resource('discovery.k8s.io/v1/EndpointSlice')
    const hintsFor = (wanted: string): Promise<EndpointHints | undefined> =>
      eventually(`the endpoint is in ${wanted}`, async () => {
        const [slice] = (await slices.list({ namespace: 'default', labelSelector: 'kubernetes.io/service-name=web' }))
          .items
        const [endpoint] = slice?.endpoints ?? []
        return endpoint?.zone === wanted && endpoint.conditions?.ready === true && endpoint
      }).then(({ hints }) => hints)
    assert.deepEqual(await hintsFor('a'), { forZones: [{ name: 'a' }], forNodes: [{ name: 'n1' }] })
    await nodes.patch('n1', { type: 'merge', body: { metadata: { labels: { [zone]: 'b' } } } })
    assert.deepEqual(await hintsFor('b'), { forZones: [{ name: 'b' }], forNodes: [{ name: 'n1' }] })
    assert.deepEqual(bench.errors, [])
  })
})
