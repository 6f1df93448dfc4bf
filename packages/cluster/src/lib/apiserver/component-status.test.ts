import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createWidgets, widgetDefinition, widgets } from './custom-resources/test-definitions.ts'
import { startTestServer } from './test-server.ts'

const path = '/api/v1/componentstatuses'
const components = [
  { name: 'scheduler', problem: () => undefined },
  { name: 'controller-manager', problem: () => 'it has ended' },
]

describe('serveComponentStatuses', () => {
  it('tells of every component and of the storage, with the warning Kubernetes has', async () => {
    await using api = await startTestServer({ components })
    const { body, headers } = await api.call('GET', path)
    assert.equal(headers['warning'], '299 - "v1 ComponentStatus is deprecated in v1.19+"')
    assert.deepEqual([body.kind, body.apiVersion], ['ComponentStatusList', 'v1'])
    assert.deepEqual(body.items, [
      {
        kind: 'ComponentStatus',
        apiVersion: 'v1',
        metadata: { name: 'controller-manager' },
        conditions: [{ type: 'Healthy', status: 'False', error: 'it has ended' }],
      },
      {
        kind: 'ComponentStatus',
        apiVersion: 'v1',
        metadata: { name: 'etcd-0' },
        conditions: [{ type: 'Healthy', status: 'True', message: 'ok' }],
      },
      {
        kind: 'ComponentStatus',
        apiVersion: 'v1',
        metadata: { name: 'scheduler' },
        conditions: [{ type: 'Healthy', status: 'True', message: 'ok' }],
      },
    ])
  })

  it('prints them as kubectl shows them', async () => {
    await using api = await startTestServer({ components })
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io'
    const { body } = await api.call('GET', path, undefined, { accept })
    assert.deepEqual(
      body.columnDefinitions.map(({ name }: { name: string }) => name),
      ['Name', 'Status', 'Message', 'Error'],
    )
    assert.deepEqual(
      body.rows.map(({ cells }: { cells: unknown[] }) => cells),
      [
        ['controller-manager', 'Unhealthy', '', 'it has ended'],
        ['etcd-0', 'Healthy', 'ok', ''],
        ['scheduler', 'Healthy', 'ok', ''],
      ],
    )
  })

  it('answers for one of them, and for those selected, and nothing else', async () => {
    await using api = await startTestServer({ components })
    assert.equal((await api.call('GET', `${path}/scheduler`)).body.metadata.name, 'scheduler')
    assert.equal((await api.call('GET', `${path}/none`)).status, 404)
    const named = await api.call('GET', `${path}?fieldSelector=metadata.name%3Dscheduler`)
    assert.equal(named.body.items.length, 1)
    assert.deepEqual((await api.call('GET', `${path}?labelSelector=a%3Db`)).body.items, [])
    assert.equal((await api.call('POST', path, { metadata: { name: 'x' } })).status, 405)
    assert.equal((await api.call('DELETE', `${path}/scheduler`)).status, 405)
    assert.equal((await api.call('GET', `${path}?watch=1`)).status, 405)
  })
})

describe('withDeprecation', () => {
  it('warns of a version of a definition once, whatever is asked of it', async () => {
    await using api = await startTestServer()
    const definition = widgetDefinition()
    definition.spec.versions[0].deprecated = true
    await createWidgets(api, definition)
    const widget = { metadata: { name: 'a' }, spec: { size: 1 } }
    for (const [method, path, body] of [
      ['POST', widgets, widget],
      ['GET', widgets, undefined],
      ['GET', `${widgets}/a`, undefined],
      ['PATCH', `${widgets}/a`, { spec: { size: 2 } }],
      ['DELETE', `${widgets}/a`, undefined],
    ] as const) {
      const { status, headers } = await api.call(method, path, body)
      assert.ok(status < 300, `${method} ${status}`)
      assert.equal(headers['warning'], '299 - "example.com/v1 Widget is deprecated"', `${method} ${path}`)
    }
  })

  it('warns of Endpoints before it warns of anything else', async () => {
    await using api = await startTestServer()
    const text = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
    const list = await api.call('GET', '/api/v1/namespaces/default/endpoints')
    assert.equal(list.headers['warning'], text)
    const made = await api.call('POST', '/api/v1/namespaces/default/endpoints', { metadata: { name: 'e' }, x: 1 })
    assert.equal(String(made.headers['warning']), `${text}, 299 - "unknown field \\"x\\""`)
    assert.equal((await api.call('GET', '/api/v1/namespaces/default/services')).headers['warning'], undefined)
  })
})
