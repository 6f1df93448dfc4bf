import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { configMapNamed, deploymentNamed, podNamed, startTestServer } from './test-server.ts'

const pods = '/api/v1/namespaces/default/pods'
const deployments = '/apis/apps/v1/namespaces/default/deployments'
const configMaps = '/api/v1/namespaces/default/configmaps'

describe('an update', () => {
  it('conflicts on an old resourceVersion, with the text clients match', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('POST', configMaps, configMapNamed('c'))
    await api.call('PUT', `${configMaps}/c`, { ...body, data: { a: '2' } })
    const late = await api.call('PUT', `${configMaps}/c`, { ...body, data: { a: '3' } })
    assert.deepEqual([late.status, late.body.reason], [409, 'Conflict'])
    assert.equal(
      late.body.message,
      'Operation cannot be fulfilled on configmaps "c": the object has been modified; please apply your changes to the latest version and try again',
    )
  })

  it('takes the resourceVersion "0" for none, as Go does', async () => {
    await using api = await startTestServer()
    const metadata = { name: 'c', resourceVersion: '0' }
    const created = await api.call('POST', configMaps, { ...configMapNamed('c'), metadata })
    assert.equal(created.status, 201)
    const same = await api.call('PUT', `${configMaps}/c`, { ...created.body, metadata })
    assert.equal(same.body.metadata.resourceVersion, created.body.metadata.resourceVersion)
    const changed = await api.call('PUT', `${configMaps}/c`, { ...configMapNamed('c', { a: '2' }), metadata })
    assert.equal(changed.status, 200)
    assert.notEqual(changed.body.metadata.resourceVersion, created.body.metadata.resourceVersion)
  })

  it('that changes nothing keeps the resourceVersion', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('POST', configMaps, configMapNamed('c'))
    const again = await api.call('PUT', `${configMaps}/c`, { ...configMapNamed('c'), metadata: { name: 'c' } })
    assert.equal(again.body.metadata.resourceVersion, body.metadata.resourceVersion)
    assert.equal(again.body.metadata.uid, body.metadata.uid)
    const patched = await api.call('PATCH', `${configMaps}/c`, { data: { a: '1' } })
    assert.equal(patched.body.metadata.resourceVersion, body.metadata.resourceVersion)
  })

  it('counts generation for what is desired only, and keeps status and spec apart', async () => {
    await using api = await startTestServer()
    await api.call('POST', deployments, deploymentNamed('web'))
    const labelled = await api.call('PATCH', `${deployments}/web`, {
      metadata: { labels: { a: 'b' } },
      status: { replicas: 9 },
    })
    assert.equal(labelled.body.metadata.generation, 1)
    assert.notEqual(labelled.body.status?.replicas, 9)
    const scaled = await api.call('PATCH', `${deployments}/web`, { spec: { replicas: 2 } })
    assert.equal(scaled.body.metadata.generation, 2)
    const reported = await api.call('PATCH', `${deployments}/web/status`, {
      status: { replicas: 2 },
      spec: { replicas: 7 },
    })
    assert.deepEqual([reported.body.status.replicas, reported.body.spec.replicas], [2, 2])
    assert.equal(reported.body.metadata.generation, 2)
  })

  it('of the status writes annotations and finalizers too, and labels unless the kind keeps them', async () => {
    await using api = await startTestServer()
    const metadata = { annotations: { seen: 'yes' }, labels: { new: 'label' }, name: 'other' }
    await api.call('POST', pods, podNamed('p'))
    const pod = await api.call('PATCH', `${pods}/p/status`, { metadata, status: { reason: 'Because' } })
    assert.equal(pod.status, 400, 'the name is not to be changed')
    const { name: _name, ...rest } = metadata
    const written = await api.call('PATCH', `${pods}/p/status`, { metadata: rest, status: { reason: 'Because' } })
    assert.deepEqual(written.body.metadata.annotations, { seen: 'yes' })
    assert.equal(written.body.metadata.labels.new, 'label')
    await api.call('POST', deployments, deploymentNamed('web'))
    const kept = await api.call('PATCH', `${deployments}/web/status`, { metadata: rest })
    assert.deepEqual([kept.body.metadata.annotations, kept.body.metadata.labels?.new], [{ seen: 'yes' }, undefined])
  })

  for (const { type, patch, image } of [
    {
      type: 'application/json-patch+json',
      patch: [{ op: 'replace', path: '/spec/template/spec/containers/0/image', value: 'app:2' }],
      image: ['app:2'],
    },
    {
      type: 'application/merge-patch+json',
      patch: { spec: { template: { spec: { containers: [{ name: 'main', image: 'app:3' }] } } } },
      image: ['app:3'],
    },
    {
      type: 'application/strategic-merge-patch+json',
      patch: { spec: { template: { spec: { containers: [{ name: 'main', image: 'app:4' }] } } } },
      image: ['app:4'],
    },
  ]) {
    it(`applies ${type}`, async () => {
      await using api = await startTestServer()
      await api.call('POST', deployments, deploymentNamed('web'))
      const { status, body } = await api.call('PATCH', `${deployments}/web`, patch, { 'content-type': type })
      assert.equal(status, 200)
      assert.deepEqual(
        body.spec.template.spec.containers.map((item: { image: string }) => item.image),
        image,
      )
    })
  }

  it('of an object without its namespace finds no such place, whatever the method', async () => {
    await using api = await startTestServer()
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
      const { status, body } = await api.call(method, '/api/v1/configmaps/settings', method === 'GET' ? undefined : {})
      assert.equal(status, 404, method)
      assert.equal(body.reason, 'NotFound')
    }
    assert.equal((await api.call('POST', '/version', {})).status, 405)
  })

  it('answers a JSON patch whose test fails with 422, an unknown patch type with 415', async () => {
    await using api = await startTestServer()
    await api.call('POST', configMaps, configMapNamed('c'))
    const patch = [{ op: 'test', path: '/data/a', value: 'no' }]
    const failed = await api.call('PATCH', `${configMaps}/c`, patch, { 'content-type': 'application/json-patch+json' })
    assert.equal(failed.status, 422)
    assert.deepEqual(
      [failed.body.reason, failed.body.message],
      [
        'Invalid',
        'the server rejected our request due to an error in our request: testing value /data/a failed: test failed',
      ],
    )
    const noList = await api.call('PATCH', `${configMaps}/c`, {}, { 'content-type': 'application/json-patch+json' })
    assert.equal(noList.status, 400)
    const apply = await api.call('PATCH', `${configMaps}/c`, {}, { 'content-type': 'application/apply-patch+cbor' })
    assert.deepEqual([apply.status, apply.body.reason], [415, 'UnsupportedMediaType'])
  })

  it('refuses a JSON patch that is none with 400, one of too many operations with 413', async () => {
    await using api = await startTestServer()
    await api.call('POST', configMaps, configMapNamed('c'))
    const type = { 'content-type': 'application/json-patch+json' }
    const patched = async (patch: unknown, query = ''): Promise<unknown[]> => {
      const { status, body } = await api.call('PATCH', `${configMaps}/c${query}`, patch, type)
      return [status, body.reason, body.message]
    }
    const unread = (text: string): unknown[] => [400, 'BadRequest', text]
    assert.deepEqual(
      await patched({}),
      unread('error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp'),
    )
    assert.deepEqual(
      await patched({}, '?fieldValidation=Ignore'),
      unread('json: cannot unmarshal object into Go value of type jsonpatch.Patch'),
    )
    assert.deepEqual(
      await patched([{ op: 'add', path: 1 }]),
      unread(
        'error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.path of type string',
      ),
    )
    assert.deepEqual(
      await patched(Array.from({ length: 10_001 }, () => ({ op: 'test', path: '/kind', value: 'ConfigMap' }))),
      [
        413,
        'RequestEntityTooLarge',
        'Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001',
      ],
    )
    const missing = await api.call('PATCH', `${configMaps}/none`, [], type)
    assert.equal(missing.status, 404)
  })

  it('tells of what a patch says twice or in vain, and refuses it when asked to be strict', async () => {
    await using api = await startTestServer()
    await api.call('POST', deployments, deploymentNamed('web'))
    const operations =
      '[{"op":"add","path":"/spec/sise","value":1,"foo":2},{"op":"add","path":"/a","path":"/spec/paused","value":true}]'
    const json = { 'content-type': 'application/json-patch+json' }
    const findings = [
      'json patch unknown field "[0].foo"',
      'json patch duplicate field "[1].path"',
      'unknown field "spec.sise"',
    ]
    const warned = await api.call('PATCH', `${deployments}/web`, operations, json)
    assert.equal(warned.status, 200)
    for (const each of findings) assert.ok(String(warned.headers['warning']).includes(JSON.stringify(each)), each)
    const ignored = await api.call('PATCH', `${deployments}/web?fieldValidation=Ignore`, operations, json)
    assert.deepEqual([ignored.status, ignored.headers['warning']], [200, undefined])
    const strict = await api.call('PATCH', `${deployments}/web?fieldValidation=Strict`, operations, json)
    assert.deepEqual([strict.status, strict.body.reason], [422, 'Invalid'])
    assert.ok(strict.body.message.startsWith(' "" is invalid: patch: Invalid value: "{\\"'), strict.body.message)
    assert.ok(strict.body.message.endsWith(`: strict decoding error: ${findings.join(', ')}`), strict.body.message)
    assert.equal(strict.body.details.causes[0].field, 'patch')
    const merge = { 'content-type': 'application/strategic-merge-patch+json' }
    const twice = await api.call(
      'PATCH',
      `${deployments}/web?fieldValidation=Strict`,
      '{"spec":{"paused":true,"paused":false}}',
      merge,
    )
    assert.equal(
      twice.body.message,
      ' "" is invalid: patch: Invalid value: "map[spec:map[paused:false]]": strict decoding error: duplicate field "spec.paused"',
    )
    const wrong = await api.call('PATCH', `${deployments}/web`, { spec: { replicas: 'x' } })
    assert.equal(wrong.status, 422)
    assert.match(wrong.body.message, /^ "" is invalid: patch: Invalid value: .*: json: .*replicas/)
    const restored = await api.call('PATCH', `${deployments}/web`, { metadata: { labels: 'x' } }, merge)
    assert.equal(
      restored.body.message,
      ' "" is invalid: patch: Invalid value: "map[metadata:map[labels:x]]": cannot restore map from string',
    )
  })

  it('by patch cannot turn an object into another kind, whose rules would then check it', async () => {
    await using api = await startTestServer()
    await api.call('POST', configMaps, configMapNamed('c'))
    await api.call('POST', deployments, deploymentNamed('web'))
    for (const [path, patch] of [
      [`${configMaps}/c`, { kind: 'Secret' }],
      [`${configMaps}/c`, { apiVersion: 'v2' }],
      [`${deployments}/web/scale`, { kind: 'Other', spec: { replicas: '3' } }],
    ] as const) {
      const { status, body } = await api.call('PATCH', path, patch)
      assert.deepEqual([status, body.reason], [400, 'BadRequest'], JSON.stringify(body))
    }
    assert.equal((await api.call('PATCH', `${configMaps}/c`, { kind: null, apiVersion: 'v1' })).status, 200)
  })

  it('lets concurrent patches of one object all take effect', async () => {
    await using api = await startTestServer()
    await api.call('POST', configMaps, configMapNamed('c'))
    const keys = Array.from({ length: 20 }, (_, n) => `k${n}`)
    await Promise.all(keys.map((key) => api.call('PATCH', `${configMaps}/c`, { data: { [key]: 'x' } })))
    const { body } = await api.call('GET', `${configMaps}/c`)
    assert.deepEqual(Object.keys(body.data).toSorted(), ['a', ...keys].toSorted())
  })

  it('sets replicas through scale and reports the selector as text', async () => {
    await using api = await startTestServer()
    await api.call('POST', deployments, deploymentNamed('web'))
    const { status, body } = await api.call('PATCH', `${deployments}/web/scale`, { spec: { replicas: 5 } })
    assert.equal(status, 200)
    assert.deepEqual(
      [body.kind, body.apiVersion, body.spec.replicas, body.status.selector],
      ['Scale', 'autoscaling/v1', 5, 'app=web'],
    )
    assert.equal((await api.call('GET', `${deployments}/web`)).body.spec.replicas, 5)
  })
})
