import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createWidgets, widgetDefinition, widgets } from '../custom-resources/test-definitions.ts'
import { deploymentNamed, podNamed, startTestServer } from '../test-server.ts'
import type { Answer, TestServer } from '../test-server.ts'

const maps = '/api/v1/namespaces/default/configmaps'
const deployments = '/apis/apps/v1/namespaces/default/deployments'
const pods = '/api/v1/namespaces/default/pods'
const applyType = { 'content-type': 'application/apply-patch+yaml' }

function mapNamed(name: string, data?: Record<string, unknown>): Record<string, unknown> {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, ...(data === undefined ? {} : { data }) }
}

async function apply(api: TestServer, path: string, body: unknown, query: string): Promise<Answer> {
  return await api.call('PATCH', `${path}?${query}`, body, applyType)
}

/** Who owns what, without times. */
function owners(answer: Answer): Record<string, unknown> {
  const entries = (answer.body.metadata.managedFields ?? []) as Record<string, unknown>[]
  return Object.fromEntries(
    entries.map(({ manager, operation, subresource, fieldsV1 }) => [
      [manager, operation, subresource].filter(Boolean).join(' '),
      fieldsV1,
    ]),
  )
}

describe('server-side apply', () => {
  it('makes an object that is not there, and changes one that is', async () => {
    await using api = await startTestServer()
    const made = await apply(api, `${maps}/c`, mapNamed('c', { a: '1' }), 'fieldManager=one')
    assert.equal(made.status, 201)
    assert.deepEqual(owners(made), { 'one Apply': { 'f:data': { 'f:a': {} } } })
    const changed = await apply(api, `${maps}/c`, mapNamed('c', { b: '2' }), 'fieldManager=one')
    assert.deepEqual([changed.status, changed.body.data], [200, { b: '2' }])
    assert.ok(Number(changed.body.metadata.resourceVersion) > Number(made.body.metadata.resourceVersion))
  })

  it('reads YAML, and takes the name from the URL', async () => {
    await using api = await startTestServer()
    const text = 'apiVersion: v1\nkind: ConfigMap\ndata:\n  a: "1"\n'
    const made = await apply(api, `${maps}/c`, text, 'fieldManager=one')
    assert.deepEqual([made.status, made.body.metadata.name, made.body.data], [201, 'c', { a: '1' }])
  })

  it('tells of a key given twice by its line, and refuses it when asked to be strict', async () => {
    await using api = await startTestServer()
    const text = '\napiVersion: v1\nkind: ConfigMap\ndata:\n  a: "1"\n  a: "2"\n'
    const strict = await apply(api, `${maps}/c`, text, 'fieldManager=one&fieldValidation=Strict')
    assert.equal(strict.status, 400)
    assert.match(strict.body.message, /^error strict decoding YAML: .*line 6: key "a" already set in map$/s)
    const lenient = await apply(api, `${maps}/c`, text, 'fieldManager=one')
    assert.deepEqual([lenient.status, lenient.body.data], [201, { a: '2' }])
  })

  it('writes nothing when nothing would change', async () => {
    await using api = await startTestServer()
    const { body } = await apply(api, `${maps}/c`, mapNamed('c', { a: '1' }), 'fieldManager=one')
    const again = await apply(api, `${maps}/c`, mapNamed('c', { a: '1' }), 'fieldManager=one')
    assert.equal(again.body.metadata.resourceVersion, body.metadata.resourceVersion)
    const updated = await api.call('PUT', `${maps}/c?fieldManager=two`, body)
    assert.equal(updated.body.metadata.resourceVersion, body.metadata.resourceVersion)
  })

  it('tells conflicts as upstream does, and takes fields over by force', async () => {
    await using api = await startTestServer()
    await api.call('POST', `${deployments}?fieldManager=creator`, deploymentNamed('web'))
    const config = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' }, spec: { replicas: 5 } }
    const refused = await apply(api, `${deployments}/web`, config, 'fieldManager=one')
    assert.deepEqual(
      [refused.status, refused.body.reason, refused.body.message, refused.body.details],
      [
        409,
        'Conflict',
        'Apply failed with 1 conflict: conflict with "creator" using apps/v1: .spec.replicas',
        {
          causes: [
            {
              reason: 'FieldManagerConflict',
              message: 'conflict with "creator" using apps/v1',
              field: '.spec.replicas',
            },
          ],
        },
      ],
    )
    const forced = await apply(api, `${deployments}/web`, config, 'fieldManager=one&force=true')
    assert.deepEqual([forced.status, forced.body.spec.replicas], [200, 5])
    assert.deepEqual(owners(forced)['one Apply'], { 'f:spec': { 'f:replicas': {} } })
    assert.equal(forced.body.metadata.generation, 2)
  })

  it('keeps what a dry run decides out of the store', async () => {
    await using api = await startTestServer()
    const made = await apply(api, `${maps}/c`, mapNamed('c', { a: '1' }), 'fieldManager=one&dryRun=All')
    assert.equal(made.status, 201)
    assert.equal((await api.call('GET', `${maps}/c`)).status, 404)
  })

  const refusals: { name: string; body: unknown; query: string; status: number; message: RegExp }[] = [
    {
      name: 'no manager',
      body: mapNamed('c'),
      query: '',
      status: 422,
      message: /^PatchOptions\.meta\.k8s\.io "" is invalid: fieldManager: Required value: is required for apply patch$/,
    },
    {
      name: 'a manager of 129 bytes',
      body: mapNamed('c'),
      query: `fieldManager=${'x'.repeat(129)}`,
      status: 422,
      message: /fieldManager: Too long: may not be more than 128 bytes/,
    },
    {
      name: 'an unknown field',
      body: { ...mapNamed('c'), bogus: 1 },
      query: 'fieldManager=one',
      status: 500,
      message:
        /^failed to create typed patch object \(default\/c; \/v1, Kind=ConfigMap\): \.bogus: field not declared in schema$/,
    },
    {
      name: 'another kind',
      body: { ...mapNamed('c'), kind: 'Secret' },
      query: 'fieldManager=one',
      status: 400,
      message: /^invalid object type: \/v1, Kind=Secret$/,
    },
    {
      name: 'managed fields',
      body: { ...mapNamed('c'), metadata: { name: 'c', managedFields: [] } },
      query: 'fieldManager=one',
      status: 400,
      message: /^metadata\.managedFields must be nil$/,
    },
    {
      name: 'another name',
      body: mapNamed('d'),
      query: 'fieldManager=one',
      status: 400,
      message: /the name of the object \(d\) does not match the name on the URL \(c\)/,
    },
    { name: 'no YAML', body: 'a: b: c', query: 'fieldManager=one', status: 400, message: /^error decoding YAML: / },
    {
      name: 'a key twice, strictly',
      body: '{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"1","a":"2"}}',
      query: 'fieldManager=one&fieldValidation=Strict',
      status: 400,
      message: /^error strict decoding YAML: .*data\.a/,
    },
    {
      name: 'the uid of an object that is not there',
      body: { ...mapNamed('c'), metadata: { name: 'c', uid: 'u' } },
      query: 'fieldManager=one',
      status: 409,
      message: /uid mismatch: the provided object specified uid u, and no existing object was found/,
    },
  ]
  for (const { name, body, query, status, message } of refusals) {
    it(`refuses ${name}`, async () => {
      await using api = await startTestServer()
      const answer = await apply(api, `${maps}/c`, body, query)
      assert.equal(answer.status, status, JSON.stringify(answer.body))
      assert.match(answer.body.message, message)
    })
  }

  it('refuses CBOR, naming what it reads, and force where nothing is applied', async () => {
    await using api = await startTestServer()
    await api.call('POST', maps, mapNamed('c'))
    const cbor = await api.call('PATCH', `${maps}/c`, 'x', { 'content-type': 'application/apply-patch+cbor' })
    assert.equal(cbor.status, 415)
    assert.match(cbor.body.message, /application\/strategic-merge-patch\+json, application\/apply-patch\+yaml$/)
    const forced = await api.call('PATCH', `${maps}/c?force=true`, { data: {} })
    assert.equal(forced.status, 422)
    assert.match(forced.body.message, /force: Forbidden: may not be specified for non-apply patch/)
  })

  it('gives a status its own owners, and never owns what the write cannot change', async () => {
    await using api = await startTestServer()
    await api.call('POST', `${deployments}?fieldManager=creator`, {
      ...deploymentNamed('web'),
      status: { replicas: 9 },
    })
    const status = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' }, status: { replicas: 2 } }
    const applied = await apply(api, `${deployments}/web/status`, status, 'fieldManager=controller')
    assert.deepEqual([applied.status, applied.body.status.replicas], [200, 2], JSON.stringify(applied.body))
    assert.deepEqual(owners(applied)['controller Apply status'], { 'f:status': { 'f:replicas': {} } })
    assert.equal(Object.hasOwn(owners(applied)['creator Update'] as object, 'f:status'), false)
    assert.equal((await apply(api, `${deployments}/none/status`, status, 'fieldManager=controller')).status, 404)
  })

  it('gives replicas to whoever scales', async () => {
    await using api = await startTestServer()
    const config = deploymentNamed('web')
    await apply(api, `${deployments}/web`, config, 'fieldManager=one')
    const scaled = await api.call('PATCH', `${deployments}/web/scale?fieldManager=scaler`, { spec: { replicas: 4 } })
    assert.equal(scaled.body.spec.replicas, 4)
    const after = await api.call('GET', `${deployments}/web`)
    assert.deepEqual(owners(after)['scaler Update scale'], { 'f:spec': { 'f:replicas': {} } })
    const refused = await apply(api, `${deployments}/web`, config, 'fieldManager=one')
    assert.match(
      refused.body.message,
      /conflict with "scaler" with subresource "scale" using apps\/v1: \.spec\.replicas/,
    )
    const scale = { apiVersion: 'autoscaling/v1', kind: 'Scale', metadata: { name: 'web' }, spec: { replicas: 6 } }
    const taken = await apply(api, `${deployments}/web/scale`, scale, 'fieldManager=two&force=true')
    assert.deepEqual([taken.status, taken.body.spec?.replicas], [200, 6], JSON.stringify(taken.body))
    const last = await api.call('GET', `${deployments}/web`)
    assert.deepEqual(owners(last)['two Apply scale'], { 'f:spec': { 'f:replicas': {} } })
  })
})

describe('ownership of writes', () => {
  it('names the writer after fieldManager, else after what stands before / in the User-Agent', async () => {
    await using api = await startTestServer()
    const named = await api.call('POST', `${maps}?fieldManager=me`, mapNamed('a', { k: 'v' }), {
      'user-agent': 'kubectl/1.36',
    })
    const unnamed = await api.call('POST', maps, mapNamed('b', { k: 'v' }), { 'user-agent': 'kubectl/1.36 (linux)' })
    assert.deepEqual([Object.keys(owners(named)), Object.keys(owners(unnamed))], [['me Update'], ['kubectl Update']])
  })

  it('owns defaults, and nothing of what admission adds', async () => {
    await using api = await startTestServer({ serviceAccounts: true })
    await api.call('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } })
    const { body } = await api.call('POST', `${pods}?fieldManager=me`, podNamed('web'))
    const spec = body.metadata.managedFields[0].fieldsV1['f:spec']
    assert.equal(body.spec.serviceAccountName, 'default')
    assert.deepEqual(Object.keys(spec).toSorted(), [
      'f:containers',
      'f:dnsPolicy',
      'f:enableServiceLinks',
      'f:restartPolicy',
      'f:schedulerName',
      'f:securityContext',
      'f:terminationGracePeriodSeconds',
    ])
  })

  it('forgets owners on request, and remembers them when a client drops the list', async () => {
    await using api = await startTestServer()
    await api.call('POST', `${maps}?fieldManager=me`, mapNamed('c', { a: '1' }))
    const dropped = await api.call('PUT', `${maps}/c?fieldManager=you`, mapNamed('c', { a: '1', b: '2' }))
    assert.deepEqual(Object.keys(owners(dropped)), ['me Update', 'you Update'])
    const reset = await api.call('PATCH', `${maps}/c`, { metadata: { managedFields: [{}] } })
    assert.equal(reset.body.metadata.managedFields, undefined)
    const later = await apply(api, `${maps}/c`, mapNamed('c', { a: '1' }), 'fieldManager=one')
    assert.deepEqual(Object.keys(owners(later)).toSorted(), ['before-first-apply Update', 'one Apply'])
  })

  it('takes owners rewritten by JSON patch, as the migration from client-side apply does', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('POST', `${maps}?fieldManager=kubectl-client-side-apply`, mapNamed('c', { a: '1' }))
    const [entry] = body.metadata.managedFields
    const patch = [
      { op: 'replace', path: '/metadata/managedFields', value: [{ ...entry, manager: 'kubectl', operation: 'Apply' }] },
      { op: 'replace', path: '/metadata/resourceVersion', value: body.metadata.resourceVersion },
    ]
    const type = { 'content-type': 'application/json-patch+json' }
    const patched = await api.call('PATCH', `${maps}/c`, patch, type)
    assert.deepEqual(owners(patched), { 'kubectl Apply': { 'f:data': { '.': {}, 'f:a': {} } } })
  })

  it('counts a version of the object that others wrote in', async () => {
    await using api = await startTestServer()
    const scalers = '/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers'
    const target = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' }
    const spec = { maxReplicas: 3, scaleTargetRef: target, targetCPUUtilizationPercentage: 50 }
    const old = { apiVersion: 'autoscaling/v1', kind: 'HorizontalPodAutoscaler', metadata: { name: 'h' }, spec }
    const made = await apply(api, `${scalers}/h`, old, 'fieldManager=one')
    assert.equal(made.status, 201, JSON.stringify(made.body))
    const config = {
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'h' },
      spec: { maxReplicas: 5, scaleTargetRef: target },
    }
    const refused = await apply(api, `${scalers.replace('v1', 'v2')}/h`, config, 'fieldManager=two')
    assert.match(refused.body.message, /^Apply failed with 1 conflict: conflict with "one": \.spec\.maxReplicas$/)
  })
  it('gives the field a definition names to whoever scales a custom resource', async () => {
    await using api = await startTestServer()
    const definition = widgetDefinition()
    const [version] = definition.spec.versions
    const old = {
      ...version,
      name: 'v1beta1',
      storage: false,
      subresources: { status: {} },
      selectableFields: undefined,
    }
    definition.spec.versions.push(old)
    await createWidgets(api, definition)
    const config = { apiVersion: 'example.com/v1', kind: 'Widget', metadata: { name: 'a' }, spec: { size: 1 } }
    await apply(api, `${widgets}/a`, config, 'fieldManager=one')
    const beta = { ...config, apiVersion: 'example.com/v1beta1', spec: { size: 1, note: 'x' } }
    await apply(api, `${widgets.replace('v1', 'v1beta1')}/a`, beta, 'fieldManager=two')
    await api.call('PATCH', `${widgets}/a/scale?fieldManager=scaler`, { spec: { replicas: 5 } })
    const scaled = owners(await api.call('GET', `${widgets}/a`))
    assert.deepEqual(scaled['scaler Update scale'], { 'f:spec': { 'f:size': {} } })
    assert.equal(scaled['one Apply'], undefined)
    // A version without a scale keeps what it has.
    assert.deepEqual(scaled['two Apply'], { 'f:spec': { 'f:note': {}, 'f:size': {} } })
    const refused = await apply(api, `${widgets}/a`, config, 'fieldManager=one')
    assert.match(refused.body.message, /"scaler" with subresource "scale" using example\.com\/v1:\n- \.spec\.size/)
    const scale = { apiVersion: 'autoscaling/v1', kind: 'Scale', metadata: { name: 'a' }, spec: { replicas: 6 } }
    assert.equal((await apply(api, `${widgets}/a/scale`, scale, 'fieldManager=three')).status, 409)
    assert.equal((await apply(api, `${widgets}/a/scale`, scale, 'fieldManager=three&force=true')).status, 200)
    const last = owners(await api.call('GET', `${widgets}/a`))
    assert.deepEqual(
      [last['three Apply scale'], last['scaler Update scale']],
      [{ 'f:spec': { 'f:size': {} } }, undefined],
    )
  })

  it('refuses a Scale that is none, and one that names no number', async () => {
    await using api = await startTestServer()
    await api.call('POST', deployments, deploymentNamed('web'))
    const negative = await api.call('PATCH', `${deployments}/web/scale`, { spec: { replicas: -1 } })
    assert.equal(negative.status, 422)
    assert.equal(
      negative.body.message,
      'Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
    )
    const definition = widgetDefinition()
    definition.spec.versions[0].schema.openAPIV3Schema.properties.spec.required = []
    await createWidgets(api, definition)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: {} })
    const none = await api.call('PATCH', `${widgets}/a/scale`, { metadata: { labels: { a: 'b' } } })
    assert.deepEqual([none.status, none.body.message], [400, 'the spec replicas field ".spec.size" cannot be empty'])
    const set = await api.call('PATCH', `${widgets}/a/scale`, { spec: { replicas: 3 } })
    assert.deepEqual([set.status, set.body.spec.replicas], [200, 3])
  })
})
