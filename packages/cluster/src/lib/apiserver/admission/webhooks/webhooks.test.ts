import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { deploymentNamed, podNamed, startTestServer } from '../../test-server.ts'
import { configure, patchOf, startWebhook } from './test-webhook.ts'
import type { Json } from './test-webhook.ts'

const maps = '/api/v1/namespaces/default/configmaps'
const namespace = '/api/v1/namespaces/default'
const map = (name: string, more: Json = {}): Json => ({ metadata: { name }, data: { a: 'b' }, ...more })
const rule = (resource: string, ...operations: string[]): Json => ({
  apiGroups: ['*'],
  apiVersions: ['*'],
  resources: [resource],
  operations,
})

describe('a ValidatingWebhookConfiguration', () => {
  it('lets webhooks refuse, in the words clients know', async () => {
    const answers: Record<string, Json> = {
      said: { allowed: false, status: { message: 'no such thing', code: 409, reason: 'Conflict' } },
      silent: { allowed: false },
      coded: { allowed: false, status: { reason: 'Forbidden', code: 200 } },
    }
    await using hook = await startWebhook(({ name }) => answers[name] ?? { allowed: true })
    await using api = await startTestServer()
    await configure(api, hook.configuration('Validating', 'deny'))
    const denied = 'admission webhook "deny.example.com" denied the request'
    for (const [name, code, message] of [
      ['said', 409, `${denied}: no such thing`],
      ['silent', 400, `${denied} without explanation`],
      ['coded', 400, `${denied}: Forbidden`],
    ] as const) {
      const { status, body } = await api.call('POST', maps, map(name))
      assert.deepEqual([status, body.message], [code, message])
    }
    assert.equal((await api.call('POST', maps, map('good'))).status, 201)
    assert.equal((await api.call('GET', `${maps}/said`)).status, 404)
  })

  it('is shown who does what to which object', async () => {
    await using hook = await startWebhook(() => ({ allowed: true }))
    await using api = await startTestServer()
    await configure(api, hook.configuration('Validating', 'look', { rules: [rule('configmaps', '*')] }))
    await api.call('POST', `${maps}?fieldManager=me`, map('a'))
    await api.call('PATCH', `${maps}/a?dryRun=All`, { data: { a: 'c' } })
    await api.call('DELETE', `${maps}/a`, { propagationPolicy: 'Background' })
    const [created, patched, deleted] = hook.seen
    assert.deepEqual(created.kind, { group: '', version: 'v1', kind: 'ConfigMap' })
    assert.deepEqual(created.requestResource, { group: '', version: 'v1', resource: 'configmaps' })
    assert.equal(created.path, '/review?timeout=10s')
    assert.deepEqual(created.userInfo, { username: 'admin', groups: ['system:masters', 'system:authenticated'] })
    assert.deepEqual([created.operation, created.dryRun, created.oldObject], ['CREATE', false, null])
    assert.deepEqual([created.object.kind, created.object.metadata.name], ['ConfigMap', 'a'])
    const options = { kind: 'CreateOptions', apiVersion: 'meta.k8s.io/v1', fieldManager: 'me' }
    assert.deepEqual(created.options, options)
    assert.deepEqual([patched.operation, patched.dryRun], ['UPDATE', true])
    assert.deepEqual([patched.object.data.a, patched.oldObject.data.a], ['c', 'b'])
    assert.deepEqual([deleted.operation, deleted.object, deleted.oldObject.data.a], ['DELETE', null, 'b'])
    assert.equal(deleted.options.propagationPolicy, 'Background')
  })

  it('hands on warnings, also of what is refused', async () => {
    await using hook = await startWebhook(({ name }) => ({ allowed: name !== 'bad', warnings: ['mind "this"'] }))
    await using api = await startTestServer()
    await configure(api, hook.configuration('Validating', 'warn'))
    for (const name of ['good', 'bad']) {
      const { headers } = await api.call('POST', maps, map(name))
      assert.equal(headers['warning'], '299 - "mind \\"this\\""')
    }
  })

  it('looks at namespaces, labels and conditions', async () => {
    await using hook = await startWebhook(() => ({ allowed: false }))
    await using api = await startTestServer()
    const configuration = hook.configuration('Validating', 'some', {
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'default' } },
      objectSelector: { matchExpressions: [{ key: 'watched', operator: 'Exists' }] },
      matchConditions: [
        { name: 'not-skipped', expression: "!('skip' in object.data)" },
        { name: 'by-admin', expression: "request.userInfo.username == 'admin'" },
        { name: 'may', expression: "authorizer.requestResource.check('create').allowed()" },
      ],
    })
    await configure(api, configuration)
    const labels = { watched: 'yes' }
    assert.equal((await api.call('POST', maps, map('plain'))).status, 201)
    assert.equal(
      (await api.call('POST', maps, map('skipped', { metadata: { name: 'skipped', labels }, data: { skip: '' } })))
        .status,
      201,
    )
    const elsewhere = maps.replace('default', 'kube-public')
    assert.equal((await api.call('POST', elsewhere, map('c', { metadata: { name: 'c', labels } }))).status, 201)
    assert.equal((await api.call('POST', maps, map('caught', { metadata: { name: 'caught', labels } }))).status, 400)
  })

  it('fails closed, or open where it says so', async () => {
    await using hook = await startWebhook(({ name }) => (name === 'broken' ? 500 : undefined))
    await using api = await startTestServer()
    await configure(api, hook.configuration('Validating', 'slow', { timeoutSeconds: 1 }))
    const slow = await api.call('POST', maps, map('a'))
    assert.equal(slow.status, 500)
    assert.match(
      slow.body.message,
      /^Internal error occurred: failed calling webhook "slow\.example\.com": failed to call webhook: Post "https:\/\/127\.0\.0\.1:\d+\/review\?timeout=1s": context deadline exceeded$/,
    )
    const broken = await api.call('POST', maps, map('broken'))
    assert.match(broken.body.message, /an error on the server \(.*\) has prevented the request from succeeding$/)
    await api.call('DELETE', '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/slow')
    await configure(api, hook.configuration('Validating', 'open', { timeoutSeconds: 1, failurePolicy: 'Ignore' }))
    assert.equal((await api.call('POST', maps, map('a'))).status, 201)
    await configure(api, hook.configuration('Validating', 'stranger', { clientConfig: { url: hook.url } }))
    const { body } = await api.call('POST', maps, map('b'))
    assert.match(body.message, /tls: failed to verify certificate: x509: certificate signed by unknown authority$/)
  })

  it('is not asked in a dry run when asking has effects', async () => {
    await using hook = await startWebhook(() => ({ allowed: true }))
    await using api = await startTestServer()
    const configuration = hook.configuration('Validating', 'effects')
    // As an older release let it be.
    configuration.webhooks[0].sideEffects = 'Some'
    const encode = (): Buffer => Buffer.from(JSON.stringify(configuration))
    await api.store.put('admissionregistration.k8s.io/validatingwebhookconfigurations', 'effects', encode)
    const { status, body } = await api.call('POST', `${maps}?dryRun=All`, map('a'))
    assert.deepEqual([status, body.message], [400, 'admission webhook "effects.example.com" does not support dry run'])
    assert.equal(hook.seen.length, 0)
  })

  it('sees another version of the same objects when it asks for that one only', async () => {
    await using hook = await startWebhook(() => ({ allowed: true }))
    await using api = await startTestServer()
    const rules = [
      { apiGroups: ['autoscaling'], apiVersions: ['v2'], resources: ['horizontalpodautoscalers'], operations: ['*'] },
    ]
    await configure(api, hook.configuration('Validating', 'hpa', { rules, matchPolicy: 'Equivalent' }))
    const spec = {
      maxReplicas: 3,
      scaleTargetRef: { kind: 'Deployment', name: 'd', apiVersion: 'apps/v1' },
      targetCPUUtilizationPercentage: 50,
    }
    const { status } = await api.call('POST', '/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers', {
      metadata: { name: 'h' },
      spec,
    })
    assert.equal(status, 201)
    const [seen] = hook.seen
    assert.deepEqual([seen.resource.version, seen.requestResource.version], ['v2', 'v1'])
    assert.equal(seen.object.apiVersion, 'autoscaling/v2')
    assert.equal(seen.object.spec.metrics[0].resource.target.averageUtilization, 50)
  })

  it('is not asked about what configures admission', async () => {
    await using hook = await startWebhook(() => ({ allowed: false }))
    await using api = await startTestServer()
    await configure(api, hook.configuration('Validating', 'all', { rules: [rule('*/*', '*')] }))
    const path = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/all'
    assert.equal((await api.call('PATCH', path, { metadata: { labels: { a: 'b' } } })).status, 200)
    assert.equal((await api.call('POST', maps, map('a'))).status, 400)
    assert.equal((await api.call('DELETE', path)).status, 200)
    assert.equal((await api.call('POST', maps, map('a'))).status, 201)
  })

  it('is asked about subresources, by their objects', async () => {
    await using hook = await startWebhook(() => ({ allowed: false, status: { message: 'no' } }))
    await using api = await startTestServer()
    await api.call('POST', '/apis/apps/v1/namespaces/default/deployments', deploymentNamed('d'))
    await api.call('POST', `${namespace}/pods`, podNamed('p'))
    const rules = [
      rule('*/scale', '*'),
      rule('pods/attach', 'CONNECT'),
      rule('pods/eviction', 'CREATE'),
      rule('pods/binding', '*'),
    ]
    await configure(api, hook.configuration('Validating', 'subs', { rules }))
    const scale = '/apis/apps/v1/namespaces/default/deployments/d/scale'
    const message = 'admission webhook "subs.example.com" denied the request: no'
    assert.equal((await api.call('PATCH', scale, { spec: { replicas: 3 } })).body.message, message)
    assert.equal((await api.call('GET', `${namespace}/pods/p/attach?container=main&stdin=true`)).body.message, message)
    assert.equal(
      (await api.call('POST', `${namespace}/pods/p/eviction`, { metadata: { name: 'p' } })).body.message,
      message,
    )
    const binding = { metadata: { name: 'p' }, target: { kind: 'Node', name: 'n' } }
    assert.equal((await api.call('POST', `${namespace}/pods/p/binding`, binding)).body.message, message)
    const kinds = hook.seen.map(({ kind, subResource, operation }) => [kind.kind, subResource, operation])
    assert.deepEqual(kinds, [
      ['Scale', 'scale', 'UPDATE'],
      ['PodAttachOptions', 'attach', 'CONNECT'],
      ['Eviction', 'eviction', 'CREATE'],
      ['Binding', 'binding', 'CREATE'],
    ])
    assert.deepEqual([hook.seen[0].object.spec.replicas, hook.seen[0].oldObject.spec.replicas], [3, 1])
    assert.deepEqual(hook.seen[1].object, {
      kind: 'PodAttachOptions',
      apiVersion: 'v1',
      stdin: true,
      container: 'main',
    })
  })

  it('keeps its connection', async () => {
    await using hook = await startWebhook(() => ({ allowed: true }))
    await using api = await startTestServer()
    await configure(api, hook.configuration('Validating', 'kept'))
    for (let n = 0; n < 5; n += 1) assert.equal((await api.call('POST', maps, map(`m${n}`))).status, 201)
    assert.deepEqual([hook.seen.length, hook.connections()], [5, 1])
  })
})

describe('a MutatingWebhookConfiguration', () => {
  it('is completed and checked', async () => {
    await using hook = await startWebhook(() => ({ allowed: true }))
    await using api = await startTestServer()
    const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'
    const { body } = await api.call('POST', path, hook.configuration('Mutating', 'good'))
    const { failurePolicy, matchPolicy, timeoutSeconds, reinvocationPolicy, objectSelector, rules } = body.webhooks[0]
    const defaults = [failurePolicy, matchPolicy, timeoutSeconds, reinvocationPolicy, objectSelector, rules[0].scope]
    assert.deepEqual(defaults, ['Fail', 'Equivalent', 10, 'Never', {}, '*'])
    for (const [more, message] of [
      [{ name: 'short' }, /webhooks\[0\]\.name: .*at least three segments separated by dots/],
      [{ sideEffects: 'Some' }, /sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"/],
      [{ timeoutSeconds: 31 }, /the timeout value must be between 1 and 30 seconds/],
      [{ clientConfig: {} }, /clientConfig: Required value: exactly one of url or service is required/],
      [{ clientConfig: { url: 'http://a' } }, /'https' is the only allowed URL scheme/],
      [{ admissionReviewVersions: ['v7'] }, /must include at least one of v1, v1beta1/],
      [{ matchConditions: [{ name: 'a', expression: 'nothing' }] }, /undeclared reference to 'nothing'/],
    ] as const) {
      const refused = await api.call('POST', path, hook.configuration('Mutating', 'bad', more))
      assert.equal(refused.status, 422)
      assert.match(refused.body.message, message)
    }
  })

  it('changes objects, whose defaults and owners stay right', async () => {
    const container = { name: 'added', image: 'side:1' }
    await using hook = await startWebhook(() =>
      patchOf({ op: 'add', path: '/spec/initContainers', value: [container] }),
    )
    await using api = await startTestServer()
    await configure(api, hook.configuration('Mutating', 'inject', { rules: [rule('pods', 'CREATE')] }))
    const { status, body } = await api.call('POST', `${namespace}/pods`, podNamed('p'))
    assert.equal(status, 201)
    assert.equal(body.spec.initContainers[0].terminationMessagePolicy, 'File')
    assert.ok(!JSON.stringify(body.metadata.managedFields).includes('initContainers'))
  })

  it('works one after the other by name, and again for those that ask for it', async () => {
    const path = '/data/seen'
    await using first = await startWebhook(({ object }) =>
      patchOf({ op: 'add', path, value: Object.keys(object.data).join() }),
    )
    await using second = await startWebhook(() => patchOf({ op: 'add', path: '/data/late', value: 'x' }))
    await using api = await startTestServer()
    await configure(api, second.configuration('Mutating', 'b'))
    await configure(api, first.configuration('Mutating', 'a', { reinvocationPolicy: 'IfNeeded' }))
    const { body } = await api.call('POST', maps, map('m'))
    assert.deepEqual(body.data, { a: 'b', late: 'x', seen: 'a,seen,late' })
    assert.deepEqual([first.seen.length, second.seen.length], [2, 1])
  })

  it('has what it makes judged like everything else', async () => {
    await using hook = await startWebhook(() => patchOf({ op: 'add', path: '/data/not a key', value: 'x' }))
    await using api = await startTestServer()
    await configure(api, hook.configuration('Mutating', 'spoil'))
    assert.equal((await api.call('POST', maps, map('m'))).status, 422)
  })

  it('mends what would not be valid without it', async () => {
    await using hook = await startWebhook(() =>
      patchOf({ op: 'add', path: '/spec/containers/0/image', value: 'app:1' }),
    )
    await using api = await startTestServer()
    await configure(api, hook.configuration('Mutating', 'mend', { rules: [rule('pods', 'CREATE')] }))
    const { status, body } = await api.call(
      'POST',
      `${namespace}/pods`,
      podNamed('p', { spec: { containers: [{ name: 'c' }] } }),
    )
    assert.deepEqual([status, body.spec?.containers[0].image], [201, 'app:1'])
  })

  it('adds no fields that the type of the object does not have', async () => {
    await using hook = await startWebhook(() => patchOf({ op: 'add', path: '/nowhere', value: 'x' }))
    await using api = await startTestServer()
    await configure(api, hook.configuration('Mutating', 'beyond'))
    const { status, body } = await api.call('POST', maps, map('m'))
    assert.deepEqual([status, body.nowhere], [201, undefined])
  })

  it('adds no fields that the schema of a custom resource does not have', async () => {
    const strings = { properties: { size: { type: 'string' } }, type: 'object' }
    const schema = { openAPIV3Schema: { type: 'object', properties: { data: strings } } }
    await using hook = await startWebhook(() =>
      patchOf({ op: 'replace', path: '/data', value: { size: 'large', colour: 'red' } }),
    )
    await using api = await startTestServer()
    const definition = {
      metadata: { name: 'widgets.example.com' },
      spec: {
        group: 'example.com',
        names: { plural: 'widgets', kind: 'Widget' },
        scope: 'Namespaced',
        versions: [{ name: 'v1', served: true, storage: true, schema }],
      },
    }
    await api.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', definition)
    const rules = [{ operations: ['CREATE'], apiGroups: ['example.com'], apiVersions: ['v1'], resources: ['widgets'] }]
    await configure(api, hook.configuration('Mutating', 'widgets', { rules }))
    const widget = { metadata: { name: 'w' }, data: { size: 'small' } }
    const { status, body } = await api.call('POST', '/apis/example.com/v1/namespaces/default/widgets', widget)
    assert.deepEqual([status, body.data], [201, { size: 'large' }])
  })

  it('tells of answers that make no sense', async () => {
    const answers: Record<string, Json> = {
      type: { allowed: true, patch: 'W10=' },
      uid: { uid: 'other', allowed: true },
    }
    await using hook = await startWebhook(({ name }) => answers[name])
    await using api = await startTestServer()
    await configure(api, hook.configuration('Mutating', 'odd'))
    assert.match(
      (await api.call('POST', maps, map('type'))).body.message,
      /webhook returned response\.patch but not response\.patchType$/,
    )
    assert.match(
      (await api.call('POST', maps, map('uid'))).body.message,
      /expected response\.uid="[^"]+", got "other"$/,
    )
  })

  it('is asked again when the object changed meanwhile', async () => {
    await using api = await startTestServer()
    await api.call('POST', maps, map('m'))
    let isFirst = true
    await using hook = await startWebhook(({ userInfo }) => {
      if (userInfo.username !== 'admin' || !isFirst) return patchOf({ op: 'add', path: '/data/hook', value: 'x' })
      isFirst = false
      // Somebody whom nobody asks changes it while this is being decided.
      void api.store.transact('configmaps', 'default/m', (current) => ({
        operation: 'put',
        encode: (revision) => {
          const object = JSON.parse(String(current?.bytes))
          object.data.other = 'y'
          object.metadata.resourceVersion = String(revision)
          return Buffer.from(JSON.stringify(object))
        },
      }))
      return patchOf({ op: 'add', path: '/data/hook', value: 'x' })
    })
    await configure(api, hook.configuration('Mutating', 'race'))
    const { status, body } = await api.call('PATCH', `${maps}/m`, { data: { mine: 'z' } })
    assert.equal(status, 200)
    assert.deepEqual(body.data, { a: 'b', hook: 'x', mine: 'z', other: 'y' })
    assert.equal(hook.seen.length, 2)
  })

  it('is reached through a service', async () => {
    await using hook = await startWebhook(() => ({ allowed: false }), '127.0.0.9', ['hook.default.svc'])
    await using api = await startTestServer()
    await api.call('POST', `${namespace}/services`, { metadata: { name: 'hook' }, spec: { ports: [{ port: 443 }] } })
    const slice = {
      metadata: { name: 'hook', labels: { 'kubernetes.io/service-name': 'hook' } },
      addressType: 'IPv4',
      ports: [{ port: hook.port }],
      endpoints: [{ addresses: ['127.0.0.9'] }],
    }
    assert.equal(
      (await api.call('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', slice)).status,
      201,
    )
    const clientConfig = { service: { name: 'hook', namespace: 'default', path: '/x' }, caBundle: hook.caBundle }
    await configure(api, hook.configuration('Mutating', 'service', { clientConfig }))
    assert.equal(
      (await api.call('POST', maps, map('m'))).body.message,
      'admission webhook "service.example.com" denied the request without explanation',
    )
    assert.equal(hook.seen[0].path, '/x?timeout=10s')
  })
})
