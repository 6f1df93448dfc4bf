import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { readWatch, startTestServer } from '../test-server.ts'
import type { TestServer } from '../test-server.ts'
import { PeakGauge } from './peak-gauge.ts'
import { Buckets } from './request-series.ts'

const maps = '/api/v1/namespaces/default/configmaps'

function configMapNamed(name: string): object {
  return { metadata: { name }, data: { a: '1' } }
}

async function scrape(api: TestServer): Promise<string[]> {
  const { status, body, headers } = await api.call('GET', '/metrics')
  assert.equal(status, 200)
  assert.match(headers['content-type'] ?? '', /^text\/plain; version=0\.0\.4/)
  return (body as string).split('\n')
}

function value(lines: readonly string[], name: string, ...labels: string[]): number | undefined {
  const found = lines.filter((line) => line.startsWith(`${name}{`) && labels.every((each) => line.includes(each)))
  return found.length === 0 ? undefined : found.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

describe('serveMetrics', () => {
  it('counts requests by verb, resource, scope and status', async () => {
    await using api = await startTestServer()
    await api.call('POST', maps, configMapNamed('a'))
    await api.call('POST', maps, configMapNamed('a'))
    await api.call('POST', `${maps}?dryRun=All`, configMapNamed('b'))
    await api.call('GET', `${maps}/a`)
    await api.call('GET', `${maps}/none`)
    await api.call('GET', maps)
    await api.call('GET', '/api/v1/configmaps')
    await api.call('DELETE', maps)
    await api.call('PATCH', '/apis/apps/v1/namespaces/default/deployments/x/scale', { spec: {} })
    await api.call('GET', '/no/such/path')
    await api.call('GET', '/livez')
    const lines = await scrape(api)
    const total = (...labels: string[]): number | undefined =>
      value(lines, 'apiserver_request_total', 'resource="configmaps"', 'version="v1"', ...labels)
    assert.equal(total('verb="POST"', 'code="201"', 'scope="resource"', 'dry_run=""'), 1)
    assert.equal(total('verb="POST"', 'code="409"'), 1)
    assert.equal(total('verb="POST"', 'dry_run="All"'), 1)
    assert.equal(total('verb="GET"', 'code="200"', 'scope="resource"'), 1)
    assert.equal(total('verb="GET"', 'code="404"'), 1)
    assert.equal(total('verb="LIST"', 'scope="namespace"'), 1)
    assert.equal(total('verb="LIST"', 'scope="cluster"'), 1)
    assert.equal(total('verb="DELETE"', 'scope="namespace"'), 1)
    assert.equal(value(lines, 'apiserver_request_total', 'verb="PATCH"', 'subresource="scale"', 'code="404"'), 1)
    assert.equal(value(lines, 'apiserver_request_total', ',resource=""', 'subresource=""', 'code="404"'), 1)
    assert.equal(value(lines, 'apiserver_request_total', 'subresource="/livez"', 'code="200"'), 1)
    assert.ok(!lines.some((line) => line.includes('such')))
  })

  it('writes series as Go clients do, histograms with every bucket', async () => {
    await using api = await startTestServer()
    await api.call('GET', maps)
    const lines = await scrape(api)
    const labels =
      'component="apiserver",dry_run="",group="",resource="configmaps",scope="namespace",subresource="",verb="LIST",version="v1"'
    assert.ok(lines.includes(`apiserver_request_total{code="200",${labels}} 1`))
    const buckets = lines.filter((line) => line.startsWith(`apiserver_request_duration_seconds_bucket{${labels},le=`))
    assert.deepEqual([buckets.length, buckets.at(-1)?.endsWith('le="+Inf"} 1')], [24, true])
    assert.ok(lines.includes(`apiserver_request_duration_seconds_count{${labels}} 1`))
    assert.equal(value(lines, 'apiserver_response_sizes_bucket', 'resource="configmaps"', 'le="1000"'), 1)
    const names = new Set(lines.filter((line) => !line.startsWith('#')).map((line) => line.split(/[{ ]/, 1)[0]))
    for (const name of ['process_cpu_seconds_total', 'process_resident_memory_bytes', 'kubernetes_build_info']) {
      assert.ok(names.has(name), name)
    }
    const types = lines.filter((line) => line.startsWith('# TYPE')).map((line) => line.split(' ')[2])
    assert.equal(new Set(types).size, types.length)
  })

  it('tells what is under way, what watchers were sent and how much is stored', async () => {
    await using api = await startTestServer()
    await api.call('POST', maps, configMapNamed('a'))
    const path = `${maps}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`
    let during: string[] = []
    await readWatch(api.transport, path, (events) => events.length >= 2)
    const watched = await api.transport.send({ method: 'GET', path: `${maps}?watch=1&resourceVersion=0`, headers: {} })
    for await (const _ of watched.body) {
      during = await scrape(api)
      break
    }
    const watching = ['resource="configmaps"', 'verb="WATCH"']
    assert.equal(value(during, 'apiserver_longrunning_requests', ...watching), 1)
    assert.equal(value(during, 'apiserver_storage_objects', 'resource="configmaps"'), 1)
    assert.equal(value(during, 'apiserver_storage_objects', 'resource="deployments.apps"'), 0)
    assert.equal(value(during, 'apiserver_resource_objects', 'group="apps",resource="deployments"'), 0)
    assert.equal(value(during, 'apiserver_watch_events_total', 'resource="configmaps"'), 2)
    assert.equal(value(during, 'apiserver_current_inflight_requests', 'request_kind="readOnly"'), 1)
    let after = await scrape(api)
    while (value(after, 'apiserver_longrunning_requests', ...watching) !== 0) after = await scrape(api)
    assert.equal(value(after, 'apiserver_request_total', ...watching), 2)
  })

  it('is for those whose role says so', async () => {
    await using api = await startTestServer()
    const as = { 'impersonate-user': 'prometheus' }
    assert.equal((await api.call('GET', '/metrics', undefined, as)).status, 403)
    await api.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'monitoring' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:monitoring' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'prometheus' }],
    })
    assert.equal((await api.call('GET', '/metrics', undefined, as)).status, 200)
  })
})

describe('PeakGauge', () => {
  it('reads the most of this second and the one before', () => {
    const gauge = new PeakGauge()
    for (let n = 0; n < 3; n += 1) gauge.add(100)
    for (let n = 0; n < 3; n += 1) gauge.remove()
    assert.equal(gauge.read(900), 3)
    assert.equal(gauge.read(1500), 3)
    assert.equal(gauge.read(2500), 0)
    gauge.add(2600)
    assert.equal(gauge.read(9000), 1)
    gauge.remove()
    assert.equal(gauge.read(20_000), 0)
  })
})

describe('Buckets', () => {
  it('counts a number in the first bucket that reaches it', () => {
    const buckets = new Buckets([1, 2])
    for (const value of [0, 1, 1.5, 2, 3]) buckets.add(value)
    assert.deepEqual([[...buckets.counts], buckets.sum], [[2, 2, 1], 7.5])
  })
})
