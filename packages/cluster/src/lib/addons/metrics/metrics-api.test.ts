import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import type { Kubelet } from '../../apiserver/kubelet.ts'
import { podNamed, startTestServer } from '../../apiserver/test-server.ts'
import type { TestServer } from '../../apiserver/test-server.ts'
import { renderSummary } from '../../node/usage/render-usage.ts'

const root = '/apis/metrics.k8s.io/v1beta1'

describe('createMetricsApi', () => {
  let api: TestServer
  const uids = new Map<string, string>()

  /** One node tells of the pod `web`; the other cannot be reached. */
  function kubeletOf(nodeName: string): Kubelet {
    const reading = {
      earlier: { at: 0, cpuNanos: 0, memoryBytes: 0 },
      latest: { at: 10_000, cpuNanos: 2.5e9, memoryBytes: 64 * 2 ** 20 },
    }
    const pod = { namespace: 'default', name: 'web', uid: uids.get('web') ?? '' }
    const about = { id: 'c', name: 'main', pod, pid: 1, startedAt: 0, cgroupPath: '' }
    const summary = renderSummary(nodeName, { node: reading, containers: [{ ...reading, container: about }] })
    const fetch: Kubelet['fetch'] = async () => ({
      status: 200,
      headers: {},
      body: (async function* body() {
        yield Buffer.from(JSON.stringify(summary))
      })(),
    })
    const never = async (): Promise<never> => Promise.reject(new Error('not asked for'))
    return { fetch, openContainer: never, openPod: never }
  }

  before(async () => {
    api = await startTestServer({
      kubelet: async (name) => (name === 'n1' ? kubeletOf(name) : Promise.reject(new Error('no such node'))),
    })
    for (const name of ['n1', 'n2']) {
      await api.call('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name } })
    }
    for (const name of ['web', 'idle']) {
      const spec = { nodeName: 'n1', containers: [{ name: 'main', image: 'app:1' }] }
      const { body } = await api.call('POST', '/api/v1/namespaces/default/pods', podNamed(name, { spec }))
      uids.set(name, body.metadata.uid)
    }
  })
  after(async () => await api[Symbol.asyncDispose]())

  it('is in discovery, and has an APIService that is available', async () => {
    const groups = await api.call('GET', '/apis')
    assert.ok(groups.body.groups.some(({ name }: { name: string }) => name === 'metrics.k8s.io'))
    const { body } = await api.call('GET', root)
    assert.deepEqual(
      body.resources.map(({ name, kind }: { name: string; kind: string }) => [name, kind]),
      [
        ['nodes', 'NodeMetrics'],
        ['pods', 'PodMetrics'],
      ],
    )
    const service = await api.call('GET', '/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io')
    assert.equal(service.body.status.conditions[0].status, 'True')
  })

  it('tells what nodes use, of those that answer', async () => {
    const { body } = await api.call('GET', `${root}/nodes`)
    assert.equal(body.kind, 'NodeMetricsList')
    assert.deepEqual(
      body.items.map(({ metadata, usage, window }: never) => ({
        name: (metadata as { name: string }).name,
        usage,
        window,
      })),
      [{ name: 'n1', usage: { cpu: '250m', memory: '64Mi' }, window: '10s' }],
    )
  })

  it('tells what the containers of pods use', async () => {
    const { body } = await api.call('GET', `${root}/namespaces/default/pods?labelSelector=app%3Dweb`)
    assert.deepEqual(body.items[0].containers, [{ name: 'main', usage: { cpu: '250m', memory: '64Mi' } }])
    assert.equal((await api.call('GET', `${root}/pods?labelSelector=app%3Didle`)).body.items.length, 0)
    assert.equal((await api.call('GET', `${root}/namespaces/default/pods/web`)).body.metadata.labels.app, 'web')
  })

  it('says of what was not measured that it is not found', async () => {
    const { status, body } = await api.call('GET', `${root}/namespaces/default/pods/idle`)
    assert.deepEqual([status, body.message], [404, 'podmetrics.metrics.k8s.io "default/idle" not found'])
    assert.equal((await api.call('GET', `${root}/namespaces/default/services`)).status, 404)
    assert.equal((await api.call('DELETE', `${root}/nodes/n1`)).status, 405)
  })

  it('steps back for an APIService that names another server', async () => {
    const path = '/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io'
    await api.call('PATCH', path, { spec: { service: { namespace: 'kube-system', name: 'metrics-server' } } })
    assert.equal((await api.call('GET', `${root}/nodes`)).status, 503)
    await api.call('PATCH', path, { spec: { service: null } })
    assert.equal((await api.call('GET', `${root}/nodes`)).status, 200)
  })
})
