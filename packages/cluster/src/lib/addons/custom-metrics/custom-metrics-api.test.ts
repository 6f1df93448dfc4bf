import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'

import { podNamed, startTestServer } from '../../apiserver/test-server.ts'
import type { TestServer } from '../../apiserver/test-server.ts'
import { scrape } from './scrape.ts'

const root = '/apis/custom.metrics.k8s.io/v1beta2'
const services = '/apis/apiregistration.k8s.io/v1/apiservices'

describe('createCustomMetricsApi', () => {
  let api: TestServer
  let answer = 'jobs_waiting{queue="a"} 12.5\njobs_waiting{queue="b"} 1\n'
  const pod = createServer((_, response) => response.end(answer))

  before(async () => {
    pod.listen(0, '127.0.0.1')
    await once(pod, 'listening')
    api = await startTestServer({ kubelet: async () => Promise.reject(new Error('no node')) })
    const port = String((pod.address() as AddressInfo).port)
    for (const [name, annotations] of [
      ['web', { 'prometheus.io/scrape': 'true', 'prometheus.io/port': port }],
      ['quiet', {}],
    ] as const) {
      const spec = { containers: [{ name: 'main', image: 'app:1' }] }
      const made = { ...podNamed(name, { spec }), metadata: { name, annotations } }
      await api.call('POST', '/api/v1/namespaces/default/pods', made)
      const status = { phase: 'Running', podIP: '127.0.0.1' }
      await api.call('PATCH', `/api/v1/namespaces/default/pods/${name}/status`, { status })
    }
  })
  after(async () => {
    await api[Symbol.asyncDispose]()
    pod.close()
    pod.closeAllConnections()
  })

  it('is in discovery, and names the metrics that were found', async () => {
    const { body } = await api.call('GET', '/apis/custom.metrics.k8s.io')
    assert.equal(body.preferredVersion.groupVersion, 'custom.metrics.k8s.io/v1beta2')
    await api.call('GET', `${root}/namespaces/default/pods/*/jobs_waiting`)
    const list = await api.call('GET', root)
    assert.deepEqual(
      list.body.resources.map(({ name }: { name: string }) => name),
      ['pods/jobs_waiting'],
    )
  })

  it('tells what pods tell, by labels of pods and of series', async () => {
    const { body } = await api.call('GET', `${root}/namespaces/default/pods/*/jobs_waiting`)
    assert.equal(body.kind, 'MetricValueList')
    const [item] = body.items
    assert.equal(body.items.length, 1)
    assert.deepEqual(item.describedObject, { kind: 'Pod', namespace: 'default', name: 'web', apiVersion: '/v1' })
    assert.deepEqual([item.metric.name, item.value], ['jobs_waiting', '13500m'])
    const one = await api.call('GET', `${root}/namespaces/default/pods/web/jobs_waiting?metricLabelSelector=queue%3Db`)
    assert.equal(one.body.items[0].value, '1')
    const none = await api.call('GET', `${root}/namespaces/default/pods/*/jobs_waiting?labelSelector=app%3Dother`)
    assert.deepEqual(none.body.items, [])
  })

  it('says of what no pod tells that it is not found', async () => {
    const { status, body } = await api.call('GET', `${root}/namespaces/default/pods/web/nothing`)
    assert.equal(status, 404)
    assert.match(body.message, /could not find the metric nothing for pods default\/web/)
    assert.equal((await api.call('GET', `${root}/namespaces/default/services/web/jobs_waiting`)).status, 404)
    assert.equal((await api.call('POST', `${root}/namespaces/default/pods/web/x`, {})).status, 405)
  })

  it('waits for no pod beyond its deadline, and takes no endless answer', async () => {
    const { port } = pod.address() as AddressInfo
    const target = { host: '127.0.0.1', port, path: '/' }
    const short = answer
    answer = 'x'.repeat(5 << 20)
    await assert.rejects(scrape(target, 30_000), /more than 4194304 bytes/)
    answer = short
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const late = { ...target, port: (silent.address() as AddressInfo).port }
    await assert.rejects(scrape(late, 50), /no answer in time/)
    silent.close()
    silent.closeAllConnections()
  })

  it('steps back for a server of any version of the group, and comes again', async () => {
    const spec = { group: 'custom.metrics.k8s.io', version: 'v1beta1', groupPriorityMinimum: 100, versionPriority: 100 }
    const service = { namespace: 'kube-system', name: 'prometheus-adapter' }
    const about = { apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService' }
    const metadata = { name: 'v1beta1.custom.metrics.k8s.io' }
    await api.call('POST', services, { ...about, metadata, spec: { ...spec, service, insecureSkipTLSVerify: true } })
    assert.equal((await api.call('GET', `${root}/namespaces/default/pods/*/jobs_waiting`)).status, 404)
    assert.equal((await api.call('GET', '/apis/custom.metrics.k8s.io')).body.preferredVersion.version, 'v1beta1')
    await api.call('DELETE', `${services}/v1beta1.custom.metrics.k8s.io`)
    assert.equal((await api.call('GET', `${root}/namespaces/default/pods/*/jobs_waiting`)).status, 200)
  })
})
