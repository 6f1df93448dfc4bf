import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { openStore } from '../storage/store.ts'
import { createApiServer } from './server.ts'
import { deploymentNamed, podNamed, startTestServer } from './test-server.ts'

const pods = '/api/v1/namespaces/default/pods'
const deployments = '/apis/apps/v1/namespaces/default/deployments'
const services = '/api/v1/namespaces/default/services'
const configMaps = '/api/v1/namespaces/default/configmaps'

function configMap(name: string, data: Record<string, string> = { a: '1' }): Record<string, unknown> {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data }
}

describe('a create', () => {
  it('gives identity and revision, and keeps what only the server writes from the client', async () => {
    await using api = await startTestServer()
    const sent = configMap('c')
    sent['metadata'] = { name: 'c', uid: 'mine', creationTimestamp: null, selfLink: 'x', managedFields: [{}] }
    const { status, body } = await api.call('POST', configMaps, sent)
    assert.equal(status, 201)
    assert.match(body.metadata.uid, /^[0-9a-f-]{36}$/)
    assert.match(body.metadata.creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    assert.equal(body.metadata.resourceVersion, String(api.store.revision))
    assert.deepEqual(Object.keys(body), ['apiVersion', 'kind', 'metadata', 'data'])
    assert.deepEqual(
      body.metadata.managedFields.map((entry: { manager: string; operation: string }) => [
        entry.manager,
        entry.operation,
      ]),
      [['unknown', 'Update']],
    )
    assert.equal(body.metadata.namespace, 'default')
  })

  it('says AlreadyExists, in the words of Kubernetes', async () => {
    await using api = await startTestServer()
    await api.call('POST', deployments, deploymentNamed('web'))
    const { status, body } = await api.call('POST', deployments, deploymentNamed('web'))
    assert.equal(status, 409)
    assert.equal(body.reason, 'AlreadyExists')
    assert.equal(body.message, 'deployments.apps "web" already exists')
    assert.deepEqual(body.details, { name: 'web', group: 'apps', kind: 'deployments' })
  })

  it('says what is wrong with an object before that its name is taken', async () => {
    await using api = await startTestServer()
    const ports = [{ port: 80 }]
    const { body } = await api.call('POST', services, { metadata: { name: 'web' }, spec: { ports } })
    const { clusterIP } = body.spec
    const create = async (name: string, spec: object): Promise<number> =>
      (await api.call('POST', services, { metadata: { name }, spec })).status
    assert.equal(await create('web', { ports: [{ port: 70_000 }] }), 422)
    assert.equal(await create('web', { ports }), 409)
    assert.equal(await create('web', { ports, clusterIP }), 422, 'whoever has the address')
    assert.equal(await create('web', { ports, clusterIP: '10.96.0.99' }), 409)
    assert.equal(await create('again', { ports, clusterIP: '10.96.0.99' }), 201, 'a refused create takes nothing')
    assert.equal(await create('other', { ports, clusterIP }), 422, 'the address is still that of the first')
    await api.call('POST', deployments, deploymentNamed('web'))
    const wrong = await api.call('POST', deployments, { ...deploymentNamed('web'), spec: { replicas: -1 } })
    assert.deepEqual([wrong.status, wrong.body.reason], [422, 'Invalid'])
  })

  it('makes up a name from generateName', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('POST', pods, podNamed('x', { metadata: { generateName: 'job-' } }))
    assert.match(body.metadata.name, /^job-[a-z0-9]{5}$/)
  })

  it('by name does not fall back to a generated one when the name is taken', async () => {
    await using api = await startTestServer()
    await api.call('POST', configMaps, configMap('c'))
    const again = await api.call('POST', configMaps, { metadata: { name: 'c', generateName: 'c-' } })
    assert.deepEqual([again.status, again.body.reason], [409, 'AlreadyExists'])
  })

  it('refuses owners that cannot be found, as the garbage collector would take them for gone', async () => {
    await using api = await startTestServer()
    const owner = { apiVersion: 'v1', kind: 'ConfigMap', name: 'o', uid: 'u', controller: true }
    for (const [ownerReferences, message] of [
      [[{ ...owner, uid: undefined }], /metadata\.ownerReferences\.uid: Invalid value: "": uid must not be empty/],
      [[owner, { ...owner, name: 'p', uid: 'v' }], /Only one reference can have Controller set to true/],
    ] as const) {
      const { status, body } = await api.call('POST', configMaps, { metadata: { name: 'c', ownerReferences } })
      assert.equal(status, 422)
      assert.match(body.message, message)
    }
  })

  it('decides everything and keeps nothing with dryRun', async () => {
    await using api = await startTestServer()
    const read = { metadata: { name: 'settings', resourceVersion: '7' } }
    assert.equal((await api.call('POST', '/api/v1/namespaces/default/configmaps', read)).status, 400)
    assert.equal((await api.call('POST', '/api/v1/namespaces/default/configmaps?dryRun=All', read)).status, 201)
    const before = api.store.revision
    const { status, body } = await api.call('POST', `${pods}?dryRun=All`, podNamed('x'))
    assert.equal(status, 201)
    assert.ok(body.metadata.uid)
    assert.equal(api.store.revision, before)
  })

  for (const { name, path, body, status, reason, message } of [
    {
      name: 'a missing namespace',
      path: '/api/v1/namespaces/none/configmaps',
      body: configMap('c'),
      status: 404,
      reason: 'NotFound',
      message: /^namespaces "none" not found$/,
    },
    {
      name: 'another kind',
      path: configMaps,
      body: podNamed('x'),
      status: 400,
      reason: 'BadRequest',
      message: /cannot be handled as a ConfigMap/,
    },
    {
      name: 'another version',
      path: configMaps,
      body: { ...configMap('c'), apiVersion: 'v2' },
      status: 400,
      reason: 'BadRequest',
      message: /the API version in the data \(v2\) does not match the expected API version \(v1\)/,
    },
    {
      name: 'another namespace than in the path',
      path: configMaps,
      body: { ...configMap('c'), metadata: { name: 'c', namespace: 'kube-system' } },
      status: 400,
      reason: 'BadRequest',
      message: /the namespace of the provided object does not match the namespace sent on the request/,
    },
    {
      name: 'no name',
      path: configMaps,
      body: configMap(''),
      status: 422,
      reason: 'Invalid',
      message: /name or generateName is required/,
    },
    {
      name: 'a name that is no DNS name',
      path: configMaps,
      body: configMap('Up_per'),
      status: 422,
      reason: 'Invalid',
      message: /^ConfigMap "Up_per" is invalid: metadata.name: Invalid value: "Up_per": a lowercase RFC 1123 subdomain/,
    },
    {
      name: 'text that is no JSON',
      path: configMaps,
      body: '{"a":',
      status: 400,
      reason: 'BadRequest',
      message: /JSON/,
    },
    {
      name: 'a value of the wrong type',
      path: configMaps,
      body: { ...configMap('c'), data: 7 },
      status: 400,
      reason: 'BadRequest',
      message: /cannot unmarshal number into Go struct field/,
    },
    {
      name: 'an unknown path',
      path: '/api/v1/namespaces/default/nothings',
      body: configMap('c'),
      status: 404,
      reason: 'NotFound',
      message: /^the server could not find the requested resource$/,
    },
  ]) {
    it(`refuses ${name}`, async () => {
      await using api = await startTestServer()
      const answer = await api.call('POST', path, body)
      assert.deepEqual([answer.status, answer.body.reason], [status, reason])
      assert.match(answer.body.message, message)
      assert.equal(answer.body.kind, 'Status')
    })
  }

  it('treats unknown fields as asked, and never keeps them', async () => {
    await using api = await startTestServer()
    const sent = { ...configMap('c'), dta: {} }
    const strict = await api.call('POST', `${configMaps}?fieldValidation=Strict`, sent)
    assert.equal(strict.status, 400)
    assert.match(strict.body.message, /strict decoding error: unknown field "dta"/)
    const warned = await api.call('POST', `${configMaps}?fieldValidation=Warn`, sent)
    assert.equal(warned.status, 201)
    assert.equal(warned.headers['warning'], '299 - "unknown field \\"dta\\""')
    assert.equal(warned.body.dta, undefined)
    const ignored = await api.call('POST', `${configMaps}?fieldValidation=Ignore`, { ...configMap('d'), dta: {} })
    assert.deepEqual([ignored.status, ignored.headers['warning']], [201, undefined])
  })

  it('tells of fields given twice, and refuses them when asked to be strict', async () => {
    await using api = await startTestServer()
    const text = '{"metadata":{"name":"c"},"data":{"a":"1","a":"2"},"unknown":1}'
    const json = { 'content-type': 'application/json' }
    const strict = await api.call('POST', `${configMaps}?fieldValidation=Strict`, text, json)
    assert.match(strict.body.message, /strict decoding error: unknown field "unknown", duplicate field "data.a"$/)
    const warned = await api.call('POST', configMaps, text, json)
    assert.match(String(warned.headers['warning']), /duplicate field/)
  })

  it('takes YAML, and refuses what it cannot read with 415', async () => {
    await using api = await startTestServer()
    const yaml = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\ndata: {a: b}\n'
    const made = await api.call('POST', configMaps, yaml, { 'content-type': 'application/yaml' })
    assert.deepEqual([made.status, made.body.data], [201, { a: 'b' }])
    assert.equal((await api.call('POST', configMaps, 'x', { 'content-type': 'text/plain' })).status, 415)
  })

  it('refuses an object nested too deep to walk as a mistake of the client', async () => {
    await using api = await startTestServer()
    const body = `{"metadata":{"name":"c"},"data":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}`
    assert.equal((await api.call('POST', configMaps, body)).status, 400)
  })

  it('refuses a body past the limit with 413', async () => {
    await using api = await startTestServer()
    const answer = await api.call('POST', configMaps, configMap('big', { a: 'x'.repeat(3 << 20) }))
    assert.deepEqual([answer.status, answer.body.reason], [413, 'RequestEntityTooLarge'])
  })
})

describe('an update', () => {
  it('conflicts on an old resourceVersion, with the text clients match', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('POST', configMaps, configMap('c'))
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
    const created = await api.call('POST', configMaps, { ...configMap('c'), metadata })
    assert.equal(created.status, 201)
    const same = await api.call('PUT', `${configMaps}/c`, { ...created.body, metadata })
    assert.equal(same.body.metadata.resourceVersion, created.body.metadata.resourceVersion)
    const changed = await api.call('PUT', `${configMaps}/c`, { ...configMap('c', { a: '2' }), metadata })
    assert.equal(changed.status, 200)
    assert.notEqual(changed.body.metadata.resourceVersion, created.body.metadata.resourceVersion)
  })

  it('that changes nothing keeps the resourceVersion', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('POST', configMaps, configMap('c'))
    const again = await api.call('PUT', `${configMaps}/c`, { ...configMap('c'), metadata: { name: 'c' } })
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
    await api.call('POST', configMaps, configMap('c'))
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
    await api.call('POST', configMaps, configMap('c'))
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
  })

  it('by patch cannot turn an object into another kind, whose rules would then check it', async () => {
    await using api = await startTestServer()
    await api.call('POST', configMaps, configMap('c'))
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
    await api.call('POST', configMaps, configMap('c'))
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

describe('a deletion', () => {
  it('is done at once and answers with the uid', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('POST', configMaps, configMap('c'))
    const gone = await api.call('DELETE', `${configMaps}/c`)
    assert.deepEqual([gone.status, gone.body.status, gone.body.details.uid], [200, 'Success', body.metadata.uid])
    assert.equal((await api.call('GET', `${configMaps}/c`)).status, 404)
  })

  it('waits for finalizers', async () => {
    await using api = await startTestServer()
    await api.call('POST', configMaps, { ...configMap('c'), metadata: { name: 'c', finalizers: ['example.com/hold'] } })
    const held = await api.call('DELETE', `${configMaps}/c`)
    assert.ok(held.body.metadata.deletionTimestamp)
    const again = await api.call('DELETE', `${configMaps}/c`)
    assert.equal(again.body.metadata.resourceVersion, held.body.metadata.resourceVersion)
    await api.call('PATCH', `${configMaps}/c`, { metadata: { finalizers: null } })
    assert.equal((await api.call('GET', `${configMaps}/c`)).status, 404)
  })

  for (const [policy, finalizer] of [
    ['Foreground', 'foregroundDeletion'],
    ['Orphan', 'orphan'],
  ] as const) {
    it(`leaves ${policy} to the garbage collector`, async () => {
      await using api = await startTestServer()
      await api.call('POST', deployments, deploymentNamed('web'))
      const { body } = await api.call('DELETE', `${deployments}/web`, { propagationPolicy: policy })
      assert.deepEqual(body.metadata.finalizers, [finalizer])
    })
  }

  it('that has begun takes no further finalizers', async () => {
    await using api = await startTestServer()
    await api.call('POST', configMaps, { metadata: { name: 'c', finalizers: ['example.com/a', 'example.com/b'] } })
    await api.call('DELETE', `${configMaps}/c`)
    const patch = (finalizers: string[]) => api.call('PATCH', `${configMaps}/c`, { metadata: { finalizers } })
    const more = await patch(['example.com/a', 'example.com/c'])
    assert.equal(more.status, 422)
    assert.match(more.body.message, /no new finalizers can be added if the object is being deleted/)
    assert.equal((await patch(['example.com/b'])).status, 200)
  })

  it('checks preconditions', async () => {
    await using api = await startTestServer()
    await api.call('POST', configMaps, configMap('c'))
    const answer = await api.call('DELETE', `${configMaps}/c`, { preconditions: { uid: 'other' } })
    assert.equal(answer.status, 409)
    assert.match(answer.body.message, /Precondition failed: UID in precondition: other, UID in object meta: /)
  })

  it('gives a scheduled pod its grace period, and a pod without node none', async () => {
    await using api = await startTestServer()
    await api.call('POST', pods, podNamed('waiting'))
    assert.equal((await api.call('DELETE', `${pods}/waiting`)).body.status, 'Success')
    await api.call('POST', pods, podNamed('running'))
    const bound = await api.call('POST', `${pods}/running/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'running' },
      target: { kind: 'Node', name: 'n1' },
    })
    assert.equal(bound.status, 201)
    const graceful = await api.call('DELETE', `${pods}/running`)
    assert.equal(graceful.body.metadata.deletionGracePeriodSeconds, 30)
    const shorter = await api.call('DELETE', `${pods}/running`, { gracePeriodSeconds: 5 })
    assert.equal(shorter.body.metadata.deletionGracePeriodSeconds, 5)
    assert.equal((await api.call('DELETE', `${pods}/running`, { gracePeriodSeconds: 0 })).body.status, 'Success')
    assert.equal((await api.call('GET', `${pods}/running`)).status, 404)
  })

  it('of a collection covers what the selector covers', async () => {
    await using api = await startTestServer()
    for (const name of ['a', 'b', 'c']) await api.call('POST', pods, podNamed(name))
    const { body } = await api.call('DELETE', `${pods}?labelSelector=app+in+(a,b)`)
    assert.equal(body.items.length, 2)
    const left = await api.call('GET', pods)
    assert.deepEqual(
      left.body.items.map((item: { metadata: { name: string } }) => item.metadata.name),
      ['c'],
    )
  })
})

describe('a namespace', () => {
  it('stays Terminating until finalized, and takes nothing new', async () => {
    await using api = await startTestServer()
    await api.call('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'team' } })
    const { body } = await api.call('DELETE', '/api/v1/namespaces/team')
    assert.equal(body.status.phase, 'Terminating')
    const late = await api.call('POST', '/api/v1/namespaces/team/configmaps', configMap('c'))
    assert.equal(late.status, 403)
    assert.match(late.body.message, /because it is being terminated/)
    await api.call('PUT', '/api/v1/namespaces/team/finalize', { ...body, spec: { finalizers: [] } })
    assert.equal((await api.call('GET', '/api/v1/namespaces/team')).status, 404)
  })

  it('that the cluster needs may not be deleted', async () => {
    await using api = await startTestServer()
    assert.equal((await api.call('DELETE', '/api/v1/namespaces/kube-system')).status, 403)
  })
})

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

describe('a pod', () => {
  it('keeps the tolerations every pod has when its own are replaced', async () => {
    await using api = await startTestServer()
    await api.call('POST', pods, podNamed('x'))
    const own = { key: 'gpu', operator: 'Exists' }
    const type = { 'content-type': 'application/merge-patch+json' }
    const { status, body } = await api.call('PATCH', `${pods}/x`, { spec: { tolerations: [own] } }, type)
    assert.equal(status, 200)
    assert.deepEqual(
      body.spec.tolerations.map(({ key }: { key: string }) => key),
      ['gpu', 'node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'],
    )
  })

  it('is bound once', async () => {
    await using api = await startTestServer()
    await api.call('POST', pods, podNamed('x'))
    const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { name: 'x' }, target: { kind: 'Node', name: 'n1' } }
    await api.call('POST', `${pods}/x/binding`, binding)
    const { body } = await api.call('GET', `${pods}/x`)
    assert.equal(body.spec.nodeName, 'n1')
    assert.equal(body.metadata.generation, 1)
    assert.ok(body.status.conditions.some((item: { type: string }) => item.type === 'PodScheduled'))
    const again = await api.call('POST', `${pods}/x/binding`, binding)
    assert.match(again.body.message, /pod x is already assigned to node "n1"/)
  })

  it('is not bound by a decision about an earlier pod of its name', async () => {
    await using api = await startTestServer()
    const { body: earlier } = await api.call('POST', pods, podNamed('x'))
    await api.call('DELETE', `${pods}/x`)
    await api.call('POST', pods, podNamed('x'))
    const metadata = { name: 'x', uid: earlier.metadata.uid }
    const binding = { apiVersion: 'v1', kind: 'Binding', metadata, target: { kind: 'Node', name: 'n1' } }
    const { status, body } = await api.call('POST', `${pods}/x/binding`, binding)
    assert.deepEqual([status, body.reason], [409, 'Conflict'])
  })

  it('is evicted only when its disruption budget allows', async () => {
    await using api = await startTestServer()
    await api.call('POST', pods, podNamed('x'))
    await api.call('PATCH', `${pods}/x/status`, { status: { phase: 'Running' } })
    const budgets = '/apis/policy/v1/namespaces/default/poddisruptionbudgets'
    const selector = { matchLabels: { app: 'x' } }
    await api.call('POST', budgets, {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name: 'b' },
      spec: { minAvailable: 1, selector },
    })
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'x' } }
    const refused = await api.call('POST', `${pods}/x/eviction`, eviction)
    assert.deepEqual([refused.status, refused.body.reason], [429, 'TooManyRequests'])
    const counted = { currentHealthy: 1, desiredHealthy: 0, expectedPods: 1 }
    // Nothing is allowed by a count of before the budget was last changed.
    const status = { ...counted, disruptionsAllowed: 1, observedGeneration: 1 }
    await api.call('PATCH', `${budgets}/b/status`, { status })
    assert.equal((await api.call('POST', `${pods}/x/eviction`, eviction)).status, 201)
    assert.equal((await api.call('GET', `${pods}/x`)).status, 404)
  })

  it('has its log streamed from the agent of its node, and the agent told when the client leaves', async () => {
    const asked: string[] = []
    const { promise: left, resolve: leave } = Promise.withResolvers<void>()
    await using api = await startTestServer({
      kubelet: (nodeName) =>
        Promise.resolve({
          fetch({ path, signal }) {
            asked.push(`${nodeName} ${path}`)
            signal.addEventListener('abort', () => leave())
            return Promise.resolve({ status: 200, headers: {}, body: endless(signal) })
          },
          openContainer: () => Promise.reject(new Error('nothing runs')),
          openPod: () => Promise.reject(new Error('nothing runs')),
        }),
    })
    await api.call('POST', pods, podNamed('x'))
    await api.call('POST', `${pods}/x/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'x' },
      target: { name: 'n1' },
    })
    const { body } = await api.transport.send({ method: 'GET', path: `${pods}/x/log?follow=true&tailLines=5` })
    for await (const chunk of body) {
      assert.equal(Buffer.from(chunk).toString(), 'line\n')
      break
    }
    await left
    assert.deepEqual(asked, ['n1 /containerLogs/default/x/main?follow=true&tailLines=5'])
    const unknown = await api.call('GET', `${pods}/x/log?container=side`)
    assert.equal(unknown.body.message, 'container side is not valid for pod x')
  })
})

async function* endless(signal: AbortSignal): AsyncGenerator<Uint8Array> {
  while (!signal.aborted) {
    yield Buffer.from('line\n')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe('createApiServer', () => {
  it('starts with the namespaces every cluster has', async () => {
    await using api = await startTestServer()
    const { items } = await api.client.resource('v1/Namespace').list()
    const names = items.map((item) => item.metadata?.name)
    assert.deepEqual(names, ['default', 'kube-node-lease', 'kube-public', 'kube-system'])
  })

  it('lets administrators and components in, and nobody else', async () => {
    await using api = await startTestServer()
    for (const [identity, status] of [
      [{ user: 'joe', groups: ['system:masters'] }, 200],
      [{ user: 'system:kube-scheduler', groups: [] }, 200],
      [{ user: 'system:node:n1', groups: ['system:nodes'] }, 403],
      [{ user: 'joe', groups: [] }, 403],
    ] as const) {
      const answer = await api.server.transport(identity).send({ method: 'GET', path: pods })
      assert.equal(answer.status, status, identity.user)
    }
  })

  it('keeps of an object its own bytes only, no shared pool around them', async () => {
    await using api = await startTestServer()
    await api.call('POST', configMaps, configMap('c'))
    const entry = api.store.get('configmaps', 'default/c')
    assert.equal(entry?.bytes.buffer.byteLength, entry?.bytes.length)
  })

  it('serves one Event under both of its versions', async () => {
    await using api = await startTestServer()
    const involvedObject = { kind: 'Pod', name: 'x', namespace: 'default' }
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'e' },
      involvedObject,
      reason: 'Pulled',
      message: 'done',
      type: 'Normal',
    }
    assert.equal((await api.call('POST', '/api/v1/namespaces/default/events', event)).status, 201)
    const { body } = await api.call('GET', '/apis/events.k8s.io/v1/namespaces/default/events/e')
    assert.deepEqual(
      [body.apiVersion, body.note, body.regarding.name, body.message],
      ['events.k8s.io/v1', 'done', 'x', undefined],
    )
    const list = '/apis/events.k8s.io/v1/namespaces/default/events'
    const named = await api.call('GET', `${list}?fieldSelector=regarding.name%3Dx,reportingController%3D`)
    assert.equal(named.body.items.length, 1)
    assert.equal((await api.call('GET', `${list}?fieldSelector=regarding.name%3Dy`)).body.items.length, 0)
  })

  it('ends watches when it closes', async () => {
    const store = await openStore({ dir: '', durability: 'memory' })
    const server = createApiServer({ store })
    const transport = server.transport({ user: 'admin', groups: ['system:masters'] })
    const { body } = await transport.send({ method: 'GET', path: `${pods}?watch=true` })
    const ended = (async () => {
      for await (const _ of body) assert.fail('nothing happens')
    })()
    await server.close()
    await ended
    await store.close()
  })
})
