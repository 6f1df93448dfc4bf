import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { configMapNamed, deploymentNamed, podNamed, startTestServer } from './test-server.ts'

const pods = '/api/v1/namespaces/default/pods'
const deployments = '/apis/apps/v1/namespaces/default/deployments'
const services = '/api/v1/namespaces/default/services'
const configMaps = '/api/v1/namespaces/default/configmaps'

describe('a create', () => {
  it('gives identity and revision, and keeps what only the server writes from the client', async () => {
    await using api = await startTestServer()
    const sent = configMapNamed('c')
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
    await api.call('POST', configMaps, configMapNamed('c'))
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

  it('is refused for a resourceVersion last of all, unless it is a dry run', async () => {
    await using api = await startTestServer()
    const path = '/api/v1/namespaces/default/configmaps'
    const map = { metadata: { name: 'a', resourceVersion: '5' } }
    const { status, body } = await api.call('POST', path, map)
    assert.deepEqual([status, body.message], [400, 'resourceVersion should not be set on objects to be created'])
    const wrong = { ...map, metadata: { ...map.metadata, labels: { '#': 'a' } } }
    assert.equal((await api.call('POST', path, wrong)).status, 422)
    assert.equal((await api.call('POST', `${path}?dryRun=All`, map)).status, 201)
    assert.equal((await api.call('POST', path, { metadata: { name: 'a', resourceVersion: '0' } })).status, 201)
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
      body: configMapNamed('c'),
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
      body: { ...configMapNamed('c'), apiVersion: 'v2' },
      status: 400,
      reason: 'BadRequest',
      message: /the API version in the data \(v2\) does not match the expected API version \(v1\)/,
    },
    {
      name: 'another namespace than in the path',
      path: configMaps,
      body: { ...configMapNamed('c'), metadata: { name: 'c', namespace: 'kube-system' } },
      status: 400,
      reason: 'BadRequest',
      message: /the namespace of the provided object does not match the namespace sent on the request/,
    },
    {
      name: 'no name',
      path: configMaps,
      body: configMapNamed(''),
      status: 422,
      reason: 'Invalid',
      message: /name or generateName is required/,
    },
    {
      name: 'a name that is no DNS name',
      path: configMaps,
      body: configMapNamed('Up_per'),
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
      message: /^the object provided is unrecognized \(must be of type ConfigMap\): couldn't get .*JSON.* \(\{"a":\)$/,
    },
    {
      name: 'a body that is YAML and sent as JSON',
      path: configMaps,
      body: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n',
      status: 400,
      reason: 'BadRequest',
      message: /^the object provided is unrecognized \(must be of type ConfigMap\): .* \(617069[0-9a-f]{54} \.\.\.\)$/,
    },
    {
      name: 'a value of the wrong type',
      path: configMaps,
      body: { ...configMapNamed('c'), data: 7 },
      status: 400,
      reason: 'BadRequest',
      message: /cannot unmarshal number into Go struct field/,
    },
    {
      name: 'an unknown path',
      path: '/api/v1/namespaces/default/nothings',
      body: configMapNamed('c'),
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
    const sent = { ...configMapNamed('c'), dta: {} }
    const strict = await api.call('POST', `${configMaps}?fieldValidation=Strict`, sent)
    assert.equal(strict.status, 400)
    assert.match(strict.body.message, /strict decoding error: unknown field "dta"/)
    const warned = await api.call('POST', `${configMaps}?fieldValidation=Warn`, sent)
    assert.equal(warned.status, 201)
    assert.equal(warned.headers['warning'], '299 - "unknown field \\"dta\\""')
    assert.equal(warned.body.dta, undefined)
    const ignored = await api.call('POST', `${configMaps}?fieldValidation=Ignore`, { ...configMapNamed('d'), dta: {} })
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
    const answer = await api.call('POST', configMaps, configMapNamed('big', { a: 'x'.repeat(3 << 20) }))
    assert.deepEqual([answer.status, answer.body.reason], [413, 'RequestEntityTooLarge'])
  })
})
