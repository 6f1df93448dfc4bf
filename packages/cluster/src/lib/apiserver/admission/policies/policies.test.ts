import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { deploymentNamed, podNamed, startTestServer } from '../../test-server.ts'
import type { TestServer } from '../../test-server.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- objects as they come over the wire
type Json = any

const group = '/apis/admissionregistration.k8s.io/v1'
const maps = '/api/v1/namespaces/default/configmaps'
const deployments = '/apis/apps/v1/namespaces/default/deployments'
const map = (name: string, data: Json = {}): Json => ({ metadata: { name }, data })
const ruleFor = (resource: string, apiGroups = [''], operations = ['CREATE', 'UPDATE']): Json => ({
  resourceRules: [{ apiGroups, apiVersions: ['v1'], operations, resources: [resource] }],
})

async function create(api: TestServer, path: string, object: Json): Promise<Json> {
  const { status, body } = await api.call('POST', path, object)
  assert.equal(status, 201, body.message)
  return body
}

async function enforce(api: TestServer, spec: Json, binding: Json = {}): Promise<void> {
  await create(api, `${group}/validatingadmissionpolicies`, {
    metadata: { name: 'policy' },
    spec: { matchConstraints: ruleFor('configmaps'), ...spec },
  })
  await create(api, `${group}/validatingadmissionpolicybindings`, {
    metadata: { name: 'binding' },
    spec: { policyName: 'policy', validationActions: ['Deny'], ...binding },
  })
}

const prefix = (name: string): string =>
  `configmaps "${name}" is forbidden: ValidatingAdmissionPolicy 'policy' with binding 'binding' denied request: `

describe('a ValidatingAdmissionPolicy', () => {
  for (const { name, validation, code, reason, why } of [
    {
      name: 'its expression',
      validation: { expression: "'owner' in object.data" },
      code: 422,
      reason: 'Invalid',
      why: "failed expression: 'owner' in object.data",
    },
    { name: 'a message', validation: { expression: 'false', message: 'no' }, code: 422, reason: 'Invalid', why: 'no' },
    {
      name: 'a message worked out, with a reason',
      validation: { expression: 'false', messageExpression: "'not ' + object.metadata.name", reason: 'Forbidden' },
      code: 403,
      reason: 'Forbidden',
      why: 'not m',
    },
    {
      name: 'what went wrong',
      validation: { expression: "object.data.missing == 'x'" },
      code: 422,
      reason: 'Invalid',
      why: "expression 'object.data.missing == 'x'' resulted in error: no such key: missing",
    },
  ]) {
    it(`refuses with ${name}`, async () => {
      await using api = await startTestServer()
      await enforce(api, { validations: [validation] })
      const { status, body } = await api.call('POST', maps, map('m', { a: 'b' }))
      assert.deepEqual([status, body.reason, body.message], [code, reason, prefix('m') + why])
    })
  }

  it('does nothing without a binding, outside of its constraints, or when a condition is false', async () => {
    await using api = await startTestServer()
    const spec = {
      matchConstraints: ruleFor('configmaps'),
      matchConditions: [{ name: 'only', expression: "request.name != 'spared'" }],
      validations: [{ expression: 'false' }],
    }
    await create(api, `${group}/validatingadmissionpolicies`, { metadata: { name: 'policy' }, spec })
    await create(api, maps, map('before'))
    const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': 'default' } }
    await create(api, `${group}/validatingadmissionpolicybindings`, {
      metadata: { name: 'binding' },
      spec: { policyName: 'policy', validationActions: ['Deny'], matchResources: { namespaceSelector } },
    })
    await create(api, maps.replace('default', 'kube-public'), map('elsewhere'))
    await create(api, maps, map('spared'))
    assert.equal((await api.call('POST', maps, map('m'))).status, 422)
    assert.equal((await api.call('DELETE', `${maps}/before`)).status, 200)
  })

  it('may warn and note instead', async () => {
    await using api = await startTestServer()
    await enforce(
      api,
      { validations: [{ expression: 'false', message: 'mind' }] },
      { validationActions: ['Warn', 'Audit'] },
    )
    const { status, headers } = await api.call('POST', maps, map('m'))
    const text = "Validation failed for ValidatingAdmissionPolicy 'policy' with binding 'binding': mind"
    assert.deepEqual([status, headers['warning']], [201, `299 - "${text}"`])
  })

  it('lets failures pass when it says so', async () => {
    await using api = await startTestServer()
    await enforce(api, { failurePolicy: 'Ignore', validations: [{ expression: 'object.nothing.here' }] })
    assert.equal((await api.call('POST', maps, map('m'))).status, 201)
  })

  it('knows parameters, variables, the namespace, the old object and who may do what', async () => {
    await using api = await startTestServer()
    await create(api, maps.replace('default', 'kube-public'), map('params', { most: '2' }))
    await enforce(
      api,
      {
        paramKind: { apiVersion: 'v1', kind: 'ConfigMap' },
        variables: [
          { name: 'most', expression: 'int(params.data.most)' },
          { name: 'count', expression: 'has(object.data) ? size(object.data) : 0' },
        ],
        validations: [
          { expression: 'variables.count <= variables.most', messageExpression: "'at most ' + string(variables.most)" },
          { expression: "namespaceObject.metadata.name == 'default'" },
          { expression: "request.operation == 'CREATE' || oldObject.data.a == object.data.a", message: 'a stays' },
          { expression: "authorizer.group('').resource('pods').namespace('default').check('delete').allowed()" },
          { expression: "!authorizer.serviceAccount('default', 'x').path('/metrics').check('get').allowed()" },
        ],
      },
      { paramRef: { name: 'params', namespace: 'kube-public', parameterNotFoundAction: 'Deny' } },
    )
    assert.equal(
      (await api.call('POST', maps, map('m', { a: '1', b: '2', c: '3' }))).body.message,
      `${prefix('m')}at most 2`,
    )
    await create(api, maps, map('m', { a: '1' }))
    assert.equal((await api.call('PATCH', `${maps}/m`, { data: { a: '2' } })).body.message, `${prefix('m')}a stays`)
    await api.call('DELETE', `${maps.replace('default', 'kube-public')}/params`)
    const { body } = await api.call('POST', maps, map('n'))
    assert.match(body.message, /no params found for policy binding with `Deny` parameterNotFoundAction$/)
  })

  it('is asked about a Scale', async () => {
    await using api = await startTestServer()
    await create(api, deployments, deploymentNamed('d'))
    const matchConstraints = ruleFor('deployments/scale', ['apps'], ['UPDATE'])
    await enforce(api, { matchConstraints, validations: [{ expression: 'object.spec.replicas < 5', message: 'few' }] })
    assert.match((await api.call('PATCH', `${deployments}/d/scale`, { spec: { replicas: 9 } })).body.message, /few$/)
    assert.equal((await api.call('PATCH', `${deployments}/d/scale`, { spec: { replicas: 2 } })).body.spec.replicas, 2)
  })

  it('is refused when it cannot work', async () => {
    await using api = await startTestServer()
    const spec = { matchConstraints: ruleFor('configmaps'), validations: [{ expression: 'object.x ==' }] }
    const { status, body } = await api.call('POST', `${group}/validatingadmissionpolicies`, {
      metadata: { name: 'p' },
      spec,
    })
    assert.equal(status, 422)
    assert.match(
      body.message,
      /spec\.validations\[0\]\.expression: Invalid value: "object\.x ==": compilation failed: ERROR: <input>:1:12: Syntax error/,
    )
    const both = { metadata: { name: 'b' }, spec: { policyName: 'p', validationActions: ['Deny', 'Warn'] } }
    assert.match(
      (await api.call('POST', `${group}/validatingadmissionpolicybindings`, both)).body.message,
      /must not contain both Deny and Warn/,
    )
  })

  it('has its expressions checked against the kinds it names', async () => {
    await using api = await startTestServer()
    await create(api, `${group}/validatingadmissionpolicies`, {
      metadata: { name: 'typed' },
      spec: {
        matchConstraints: ruleFor('deployments', ['apps']),
        validations: [{ expression: "object.spec.replicas > '1'" }, { expression: 'object.spec.replicas > 1' }],
      },
    })
    const path = `${group}/validatingadmissionpolicies/typed`
    let status: Json
    for (let n = 0; n < 100 && status?.typeChecking === undefined; n += 1)
      status = (await api.call('GET', path)).body.status
    assert.equal(status.observedGeneration, 1)
    const [{ fieldRef, warning }, ...more] = status.typeChecking.expressionWarnings
    assert.deepEqual([fieldRef, more], ['spec.validations[0].expression', []])
    assert.match(
      warning,
      /^apps\/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '\(int, string\)'\n/,
    )
  })
})

describe('a MutatingAdmissionPolicy', () => {
  async function mutate(api: TestServer, name: string, spec: Json): Promise<void> {
    await create(api, `${group}/mutatingadmissionpolicies`, {
      metadata: { name },
      spec: { reinvocationPolicy: 'Never', ...spec },
    })
    await create(api, `${group}/mutatingadmissionpolicybindings`, { metadata: { name }, spec: { policyName: name } })
  }

  it('applies configurations', async () => {
    await using api = await startTestServer()
    const expression = `Object{
      metadata: Object.metadata{labels: {"team": request.userInfo.username}},
      spec: Object.spec{initContainers: [Object.spec.initContainers{name: "side", image: "side:1"}]}
    }`
    await mutate(api, 'inject', {
      matchConstraints: ruleFor('pods'),
      mutations: [{ patchType: 'ApplyConfiguration', applyConfiguration: { expression } }],
    })
    const { metadata, spec } = await create(api, '/api/v1/namespaces/default/pods', podNamed('p'))
    assert.deepEqual(metadata.labels, { app: 'p', team: 'admin' })
    assert.equal(spec.initContainers[0].image, 'side:1')
    assert.equal(spec.containers[0].image, 'app:1')
    assert.ok(!JSON.stringify(metadata.managedFields).includes('initContainers'))
  })

  it('applies JSON patches, in order, and again where asked to', async () => {
    await using api = await startTestServer()
    const patch = (expression: string): Json => ({ patchType: 'JSONPatch', jsonPatch: { expression } })
    await mutate(api, 'a', {
      reinvocationPolicy: 'IfNeeded',
      matchConstraints: ruleFor('configmaps'),
      variables: [{ name: 'keys', expression: "object.data.map(k, k).join(',')" }],
      mutations: [patch('[JSONPatch{op: "add", path: "/data/seen", value: string(size(object.data))}]')],
    })
    await mutate(api, 'b', {
      matchConstraints: ruleFor('configmaps'),
      mutations: [patch('[JSONPatch{op: "add", path: "/data/" + jsonpatch.escapeKey("x.y"), value: "z"}]')],
    })
    assert.deepEqual((await create(api, maps, map('m', { a: 'b' }))).data, { a: 'b', 'x.y': 'z', seen: '3' })
  })

  it('is refused when it cannot work, and refuses when it fails', async () => {
    await using api = await startTestServer()
    const spec = {
      matchConstraints: ruleFor('configmaps'),
      reinvocationPolicy: 'Never',
      mutations: [{ patchType: 'JSONPatch', jsonPatch: { expression: '[JSONPatch{what: "add"}]' } }],
    }
    const { body } = await api.call('POST', `${group}/mutatingadmissionpolicies`, { metadata: { name: 'p' }, spec })
    assert.match(body.message, /spec\.mutations\[0\]\.jsonPatch\.expression: Invalid value: .*undefined field 'what'/s)
    const expression = '[JSONPatch{op: "add", path: "/data/x", value: object.data.none}]'
    await mutate(api, 'p', { ...spec, mutations: [{ patchType: 'JSONPatch', jsonPatch: { expression } }] })
    const failed = await api.call('POST', maps, map('m', { a: 'b' }))
    assert.equal(
      failed.body.message,
      `configmaps "m" is forbidden: policy 'p' with binding 'p' denied request: no such key: none`,
    )
  })
})
