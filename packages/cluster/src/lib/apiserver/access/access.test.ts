import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { readBytes } from '@fairlead/kube'

import type { Identity } from '../exchange.ts'
import { podNamed, startTestServer } from '../test-server.ts'
import type { Answer, TestServer } from '../test-server.ts'
import { createSigningKey } from './tokens/signing-key.ts'

const rbac = '/apis/rbac.authorization.k8s.io/v1'
const pods = '/api/v1/namespaces/default/pods'

type Call = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Answer>

/** Requests as somebody. */
function as(api: TestServer, user: string, groups: readonly string[] = [], more: Partial<Identity> = {}): Call {
  const transport = api.server.transport({ user, groups, ...more })
  return async (method, path, body, headers = {}) => {
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
    const sent = body === undefined ? undefined : JSON.stringify(body)
    const answer = await transport.send({ method, path, body: sent, headers: { 'content-type': type, ...headers } })
    const text = Buffer.from(await readBytes(answer.body)).toString('utf8')
    return { status: answer.status, headers: answer.headers, body: text.startsWith('{') ? JSON.parse(text) : text }
  }
}

const ref = (kind: string, name: string): object => ({ apiGroup: 'rbac.authorization.k8s.io', kind, name })
const user = (name: string): object => ({ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name })

async function give(api: TestServer, rules: readonly object[], name = 'joe'): Promise<void> {
  await api.call('POST', `${rbac}/namespaces/default/roles`, { metadata: { name: `of-${name}` }, rules })
  const { status, body } = await api.call('POST', `${rbac}/namespaces/default/rolebindings`, {
    metadata: { name: `of-${name}` },
    roleRef: ref('Role', `of-${name}`),
    subjects: [user(name)],
  })
  assert.equal(status, 201, JSON.stringify(body))
}

describe('RBAC', () => {
  it('tells who is refused in the words clients match on', async () => {
    await using api = await startTestServer()
    const joe = as(api, 'joe')
    const messages = [
      (await joe('GET', pods)).body.message,
      (await joe('GET', '/api/v1/nodes/n1')).body.message,
      (await joe('GET', '/apis/apps/v1/namespaces/default/deployments/d/scale')).body.message,
      (await joe('GET', '/api/v1/namespaces/default')).body.message,
      (await joe('GET', '/logs')).body.message,
      (await joe('GET', '/apis/example.com/v1/namespaces/default/widgets/w')).body.message,
      (await as(api, '<b>')('GET', pods)).body.message,
    ]
    assert.deepEqual(messages, [
      'pods is forbidden: User "joe" cannot list resource "pods" in API group "" in the namespace "default"',
      'nodes "n1" is forbidden: User "joe" cannot get resource "nodes" in API group "" at the cluster scope',
      'deployments.apps "d" is forbidden: User "joe" cannot get resource "deployments/scale" in API group "apps" in the namespace "default"',
      'namespaces "default" is forbidden: User "joe" cannot get resource "namespaces" in API group "" in the namespace "default"',
      'forbidden: User "joe" cannot get path "/logs"',
      'widgets.example.com "w" is forbidden: User "joe" cannot get resource "widgets" in API group "example.com" in the namespace "default"',
      'pods is forbidden: User "&lt;b&gt;" cannot list resource "pods" in API group "" in the namespace "default"',
    ])
  })

  it('follows roles and bindings at once, and says which role is missing', async () => {
    await using api = await startTestServer()
    const joe = as(api, 'joe')
    const binding = { metadata: { name: 'b' }, roleRef: ref('Role', 'reader'), subjects: [user('joe')] }
    await api.call('POST', `${rbac}/namespaces/default/rolebindings`, binding)
    const unresolved = (await joe('GET', pods)).body.message
    assert.match(unresolved, /: RBAC: role\.rbac\.authorization\.k8s\.io "reader" not found$/)
    const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['list'], resourceNames: [] }]
    await api.call('POST', `${rbac}/namespaces/default/roles`, { metadata: { name: 'reader' }, rules })
    assert.equal((await joe('GET', pods)).status, 200)
    assert.equal((await joe('GET', '/api/v1/pods')).status, 403)
    assert.equal((await joe('GET', `${pods}?watch=1`)).status, 403)
    await api.call('DELETE', `${rbac}/namespaces/default/rolebindings/b`)
    assert.equal((await joe('GET', pods)).status, 403)
  })

  it('knows names, subresources and wildcards', async () => {
    await using api = await startTestServer()
    await give(api, [
      { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'watch', 'list'], resourceNames: ['mine'] },
      { apiGroups: ['*'], resources: ['*/status'], verbs: ['*'] },
      { apiGroups: ['apps'], resources: ['*'], verbs: ['get'] },
    ])
    const joe = as(api, 'joe')
    const configMaps = '/api/v1/namespaces/default/configmaps'
    const statuses = []
    for (const [method, path] of [
      ['GET', `${configMaps}/mine`],
      ['GET', `${configMaps}/other`],
      ['GET', configMaps],
      ['GET', `${configMaps}?fieldSelector=metadata.name=mine`],
      ['GET', `${pods}/p/status`],
      ['GET', `${pods}/p`],
      ['GET', '/apis/apps/v1/namespaces/default/deployments/d/scale'],
    ] as const) {
      statuses.push((await joe(method, path)).status)
    }
    assert.deepEqual(statuses, [404, 403, 403, 200, 404, 403, 404])
  })

  it('lets those who are not known see whether the server lives, and its version', async () => {
    await using api = await startTestServer()
    const stranger = as(api, 'system:anonymous', ['system:unauthenticated'])
    // In this process everybody is known; the binding for strangers is asked for by name.
    const review = { spec: { user: 'system:anonymous', groups: ['system:unauthenticated'] } }
    const may = async (path: string): Promise<boolean> => {
      const spec = { ...review.spec, nonResourceAttributes: { path, verb: 'get' } }
      return (await api.call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', { spec })).body.status
        .allowed
    }
    const paths = ['/healthz', '/livez', '/readyz', '/version', '/api', '/apis', '/openapi/v3', '/metrics', '/']
    const open = []
    for (const path of paths) if (await may(path)) open.push(path)
    assert.deepEqual(open, ['/healthz', '/livez', '/readyz', '/version'])
    assert.equal((await stranger('GET', pods)).status, 403)
  })

  it('begins with the roles of upstream, gives them what they lack, and leaves those alone that say so', async () => {
    await using api = await startTestServer()
    const names: string[] = (await api.call('GET', `${rbac}/clusterroles`)).body.items.map(
      (role: { metadata: { name: string } }) => role.metadata.name,
    )
    for (const name of ['admin', 'edit', 'view', 'cluster-admin', 'system:node', 'system:controller:job-controller']) {
      assert.ok(names.includes(name), name)
    }
    const view = (await api.call('GET', `${rbac}/clusterroles/view`)).body
    assert.ok(view.rules.length > 5)
    await api.call('PATCH', `${rbac}/clusterroles/system:basic-user`, { rules: [] })
    const annotations = { 'rbac.authorization.kubernetes.io/autoupdate': 'false' }
    await api.call('PATCH', `${rbac}/clusterroles/system:discovery`, { metadata: { annotations }, rules: [] })
    await using again = await startTestServer({ store: api.store })
    assert.equal((await again.call('GET', `${rbac}/clusterroles/system:basic-user`)).body.rules.length, 3)
    assert.equal((await again.call('GET', `${rbac}/clusterroles/system:discovery`)).body.rules.length, 0)
  })

  it('lets nobody hand on what they do not have', async () => {
    await using api = await startTestServer()
    await give(api, [
      { apiGroups: ['rbac.authorization.k8s.io'], resources: ['roles', 'rolebindings'], verbs: ['create', 'patch'] },
      { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list'] },
    ])
    const joe = as(api, 'joe')
    const roles = `${rbac}/namespaces/default/roles`
    const own = [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }]
    const more = [{ apiGroups: [''], resources: ['pods', 'secrets'], verbs: ['get', 'delete'] }]
    assert.equal((await joe('POST', roles, { metadata: { name: 'own' }, rules: own })).status, 201)
    const refused = await joe('POST', roles, { metadata: { name: 'more' }, rules: more })
    assert.equal(
      refused.body.message,
      'roles.rbac.authorization.k8s.io "more" is forbidden: user "joe" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n' +
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}\n' +
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}',
    )
    assert.equal((await joe('PATCH', `${roles}/own`, { rules: more })).status, 403)
    assert.equal((await joe('PATCH', `${roles}/own`, { metadata: { labels: { a: 'b' } } })).status, 200)
    const bindings = `${rbac}/namespaces/default/rolebindings`
    const bind = (name: string, to: object): unknown => ({ metadata: { name }, roleRef: to, subjects: [user('ann')] })
    assert.equal((await joe('POST', bindings, bind('own', ref('Role', 'own')))).status, 201)
    assert.equal((await joe('POST', bindings, bind('all', ref('ClusterRole', 'cluster-admin')))).status, 403)
    assert.equal((await joe('POST', bindings, bind('none', ref('Role', 'nowhere')))).status, 404)
    const changed = await api.call('PATCH', `${bindings}/own`, { roleRef: ref('Role', 'more') })
    assert.match(changed.body.message, /cannot change roleRef/)
  })

  it('lets those escalate and bind who have the verb for it', async () => {
    await using api = await startTestServer()
    await give(api, [
      { apiGroups: ['rbac.authorization.k8s.io'], resources: ['roles'], verbs: ['create', 'escalate'] },
      { apiGroups: ['rbac.authorization.k8s.io'], resources: ['rolebindings'], verbs: ['create'] },
      {
        apiGroups: ['rbac.authorization.k8s.io'],
        resources: ['clusterroles'],
        verbs: ['bind'],
        resourceNames: ['view'],
      },
    ])
    const joe = as(api, 'joe')
    const rules = [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }]
    const made = await joe('POST', `${rbac}/namespaces/default/roles`, { metadata: { name: 'all' }, rules })
    assert.equal(made.status, 201)
    const bind = (to: string): unknown => ({
      metadata: { name: to },
      roleRef: ref('ClusterRole', to),
      subjects: [user('ann')],
    })
    assert.equal((await joe('POST', `${rbac}/namespaces/default/rolebindings`, bind('view'))).status, 201)
    assert.equal((await joe('POST', `${rbac}/namespaces/default/rolebindings`, bind('edit'))).status, 403)
    assert.equal((await as(api, 'ann')('GET', pods)).status, 200)
    assert.equal((await as(api, 'ann')('GET', '/api/v1/namespaces/default/secrets')).status, 403)
  })
})

describe('impersonation', () => {
  it('asks for the user, every group, the uid and every extra', async () => {
    await using api = await startTestServer()
    const joe = as(api, 'joe')
    const rule = (group: string, resource: string, name: string): object => ({
      apiGroups: [group],
      resources: [resource],
      verbs: ['impersonate'],
      resourceNames: [name],
    })
    const authentication = 'authentication.k8s.io'
    const rules = [
      rule('', 'users', 'ann'),
      rule('', 'groups', 'team'),
      rule(authentication, 'uids', '7'),
      rule(authentication, 'userextras/scopes', 'view'),
    ]
    await api.call('POST', `${rbac}/clusterroles`, { metadata: { name: 'actor' }, rules })
    const binding = { metadata: { name: 'actor' }, roleRef: ref('ClusterRole', 'actor'), subjects: [user('joe')] }
    await api.call('POST', `${rbac}/clusterrolebindings`, binding)
    const whoami = '/apis/authentication.k8s.io/v1/selfsubjectreviews'
    const all = {
      'impersonate-user': 'ann',
      'impersonate-group': 'team',
      'impersonate-uid': '7',
      'impersonate-extra-scopes': 'view',
    }
    const answer = await joe('POST', whoami, {}, all)
    assert.deepEqual(answer.body.status.userInfo, {
      username: 'ann',
      uid: '7',
      groups: ['team', 'system:authenticated'],
      extra: { scopes: ['view'] },
    })
    const refused = []
    for (const headers of [
      { ...all, 'impersonate-user': 'bob' },
      { ...all, 'impersonate-group': 'system:masters' },
      { ...all, 'impersonate-uid': '8' },
      { ...all, 'impersonate-extra-scopes': 'edit' },
      { 'impersonate-user': 'system:serviceaccount:default:x' },
    ]) {
      const { status, body } = await joe('POST', whoami, {}, headers)
      refused.push(`${status} ${body.message}`)
    }
    const cannot = 'is forbidden: User "joe" cannot impersonate resource'
    assert.deepEqual(refused, [
      `403 users "bob" ${cannot} "users" in API group "" at the cluster scope`,
      `403 groups "system:masters" ${cannot} "groups" in API group "" at the cluster scope`,
      `403 uids.authentication.k8s.io "8" ${cannot} "uids" in API group "authentication.k8s.io" at the cluster scope`,
      `403 userextras.authentication.k8s.io "edit" ${cannot} "userextras/scopes" in API group "authentication.k8s.io" at the cluster scope`,
      `403 serviceaccounts "x" ${cannot} "serviceaccounts" in API group "" in the namespace "default"`,
    ])
    assert.equal((await joe('POST', whoami, {}, { 'impersonate-group': 'team' })).status, 400)
  })
})

describe('service account tokens', () => {
  const accounts = '/api/v1/namespaces/default/serviceaccounts'

  async function review(api: TestServer, token: string, audiences?: string[]): Promise<Answer['body']> {
    const body = { spec: { token, audiences } }
    return (await api.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', body)).body.status
  }

  it('are good for their audience, until they expire, as long as the account is there', async () => {
    let now = Date.now()
    await using api = await startTestServer({ now: () => now })
    await api.call('POST', accounts, { metadata: { name: 'robot' } })
    const issued = (await api.call('POST', `${accounts}/robot/token`, { spec: { expirationSeconds: 600 } })).body
    assert.equal(
      issued.status.expirationTimestamp,
      new Date(Math.floor(now / 1000) * 1000 + 600_000).toISOString().replace('.000Z', 'Z'),
    )
    const { token } = issued.status
    const found = await review(api, token)
    assert.equal(found.user.username, 'system:serviceaccount:default:robot')
    assert.deepEqual(found.audiences, ['https://kubernetes.default.svc.cluster.local'])
    assert.ok(found.user.groups.includes('system:serviceaccounts:default'))
    assert.match(found.user.extra['authentication.kubernetes.io/credential-id'][0], /^JTI=/)
    assert.match((await review(api, token, ['vault'])).error, /token audiences .* is invalid for the target audiences/)
    const forged = `${token.split('.').slice(0, 2).join('.')}.${'A'.repeat(86)}`
    assert.deepEqual(await review(api, forged), { user: {}, error: 'invalid bearer token' })
    const foreign = createSigningKey().sign({ sub: 'system:serviceaccount:default:robot' })
    assert.equal((await review(api, foreign)).error, 'invalid bearer token')
    now += 661_000
    assert.match((await review(api, token)).error, /has expired/)
    now -= 661_000
    await api.call('DELETE', `${accounts}/robot`)
    assert.match((await review(api, token)).error, /not found/)
    await api.call('POST', accounts, { metadata: { name: 'robot' } })
    assert.match((await review(api, token)).error, /service account UID \(.*\) does not match claim/)
  })

  it('end with the pod they are bound to', async () => {
    await using api = await startTestServer()
    await api.call('POST', accounts, { metadata: { name: 'default' } })
    const spec = { serviceAccountName: 'default', containers: [{ name: 'main', image: 'app:1' }] }
    const { uid } = (await api.call('POST', pods, podNamed('p', { spec }))).body.metadata
    const bound = { apiVersion: 'v1', kind: 'Pod', name: 'p' }
    const ask = (boundObjectRef: object): Promise<Answer> =>
      api.call('POST', `${accounts}/default/token`, { spec: { boundObjectRef } })
    const { token } = (await ask({ ...bound, uid })).body.status
    const { extra } = (await review(api, token)).user
    assert.deepEqual(extra['authentication.kubernetes.io/pod-uid'], [uid])
    assert.equal((await ask({ ...bound, uid: 'other' })).status, 409)
    assert.equal((await ask({ ...bound, name: 'none' })).status, 404)
    assert.equal((await ask({ apiVersion: 'v1', kind: 'ConfigMap', name: 'x' })).status, 400)
    await api.call('DELETE', `${pods}/p?gracePeriodSeconds=0`)
    assert.match((await review(api, token)).error, /has been invalidated/)
  })

  it('have bounds', async () => {
    await using api = await startTestServer()
    await api.call('POST', accounts, { metadata: { name: 'robot' } })
    const ask = (spec: object): Promise<Answer> => api.call('POST', `${accounts}/robot/token`, { spec })
    assert.match(
      (await ask({ expirationSeconds: 599 })).body.message,
      /may not specify a duration less than 10 minutes/,
    )
    assert.match((await ask({ expirationSeconds: 2 ** 32 + 1 })).body.message, /larger than 2\^32 seconds/)
    assert.equal((await api.call('POST', `${accounts}/nobody/token`, {})).status, 404)
  })

  it('can be verified by others with the published key', async () => {
    await using api = await startTestServer()
    await api.call('POST', accounts, { metadata: { name: 'robot' } })
    const { token } = (await api.call('POST', `${accounts}/robot/token`, {})).body.status
    const { keys } = (await api.call('GET', '/openid/v1/jwks')).body
    const configuration = (await api.call('GET', '/.well-known/openid-configuration')).body
    const [head, body, signature] = token.split('.')
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString())
    assert.equal(claims.iss, configuration.issuer)
    assert.equal(JSON.parse(Buffer.from(head, 'base64url').toString()).kid, keys[0].kid)
    assert.equal(keys[0].d, undefined)
    const key = await crypto.subtle.importKey('jwk', keys[0], { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify'])
    const algorithm = { name: 'ECDSA', hash: 'SHA-256' }
    const bytes = Buffer.from(signature, 'base64url')
    assert.ok(await crypto.subtle.verify(algorithm, key, bytes, Buffer.from(`${head}.${body}`)))
    // Whoever holds a token of the cluster may know its issuer; a person needs to be given it.
    const discovery = '/.well-known/openid-configuration'
    assert.equal((await as(api, 'system:serviceaccount:a:b', ['system:serviceaccounts'])('GET', discovery)).status, 200)
    assert.equal((await as(api, 'joe')('GET', discovery)).status, 403)
  })

  it('come into pods by themselves, with the authority and the namespace', async () => {
    await using api = await startTestServer({ serviceAccounts: true })
    const missing = await api.call('POST', pods, podNamed('early'))
    assert.equal(
      missing.body.message,
      'pods "early" is forbidden: error looking up service account default/default: serviceaccount "default" not found',
    )
    const secrets = [{ name: 'pull' }]
    await api.call('POST', accounts, { metadata: { name: 'default' }, imagePullSecrets: secrets })
    const { spec } = (await api.call('POST', pods, podNamed('p'))).body
    const [volume] = spec.volumes
    assert.match(volume.name, /^kube-api-access-[a-z0-9]{5}$/)
    assert.deepEqual(
      volume.projected.sources.map((source: object) => Object.keys(source)[0]),
      ['serviceAccountToken', 'configMap', 'downwardAPI'],
    )
    assert.equal(spec.containers[0].volumeMounts[0].mountPath, '/var/run/secrets/kubernetes.io/serviceaccount')
    assert.deepEqual(spec.imagePullSecrets, secrets)
    const plain = podNamed('plain')
    const off = { ...plain, spec: { ...(plain['spec'] as object), automountServiceAccountToken: false } }
    assert.equal((await api.call('POST', pods, off)).body.spec.volumes, undefined)
  })
})

describe('nodes', () => {
  it('read what pods bound to them name, write about themselves, and no more', async () => {
    await using api = await startTestServer()
    const node = as(api, 'system:node:n1', ['system:nodes'])
    const named = podNamed('p')
    const spec = named['spec'] as { containers: object[] }
    const env = [{ name: 'A', valueFrom: { secretKeyRef: { name: 'mine', key: 'k' } } }]
    const bound = { ...named, spec: { nodeName: 'n1', containers: [{ name: 'main', image: 'app:1', env }] } }
    await api.call('POST', pods, bound)
    await api.call('POST', pods, { ...podNamed('far'), spec: { ...spec, nodeName: 'n2' } })
    const accounts = '/api/v1/namespaces/default/serviceaccounts'
    await api.call('POST', accounts, { metadata: { name: 'default' } })
    for (const name of ['mine', 'other'])
      await api.call('POST', '/api/v1/namespaces/default/secrets', { metadata: { name } })
    const labels = (key: string): object => ({ metadata: { name: 'n1', labels: { [key]: 'x' } } })
    const seen: string[] = []
    for (const [method, path, body] of [
      ['GET', '/api/v1/namespaces/default/secrets/mine'],
      ['GET', '/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dmine'],
      ['GET', '/api/v1/namespaces/default/secrets/other'],
      ['GET', '/api/v1/namespaces/default/secrets'],
      ['GET', '/api/v1/pods?fieldSelector=spec.nodeName%3Dn1'],
      ['GET', '/api/v1/pods?fieldSelector=spec.nodeName%3Dn2'],
      ['GET', `${pods}/p`],
      ['GET', `${pods}/far`],
      ['POST', '/api/v1/nodes', labels('kubernetes.io/hostname')],
      ['POST', '/api/v1/nodes', { metadata: { name: 'n2' } }],
      ['PATCH', '/api/v1/nodes/n1', labels('node-restriction.kubernetes.io/a')],
      ['PATCH', '/api/v1/nodes/n1', { spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] } }],
      ['PATCH', `${pods}/p/status`, { status: { phase: 'Running' } }],
      ['PATCH', `${pods}/far/status`, { status: { phase: 'Running' } }],
      ['DELETE', `${pods}/far`],
      ['POST', pods, { ...podNamed('new'), spec: { ...spec, nodeName: 'n1' } }],
      ['POST', `${accounts}/default/token`, {}],
    ] as const) {
      const { status } = await node(method, path, body)
      seen.push(`${method} ${path.split('?')[0]?.split('/').slice(-2).join('/')} ${status}`)
    }
    assert.deepEqual(seen, [
      'GET secrets/mine 200',
      'GET default/secrets 200',
      'GET secrets/other 403',
      'GET default/secrets 403',
      'GET v1/pods 200',
      'GET v1/pods 403',
      'GET pods/p 200',
      'GET pods/far 403',
      'POST v1/nodes 201',
      'POST v1/nodes 403',
      'PATCH nodes/n1 403',
      'PATCH nodes/n1 403',
      'PATCH p/status 200',
      'PATCH far/status 403',
      'DELETE pods/far 403',
      'POST default/pods 403',
      'POST default/token 403',
    ])
  })
})

describe('reviews', () => {
  it('say what somebody may do and why', async () => {
    await using api = await startTestServer()
    await give(api, [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }])
    const resourceAttributes = { verb: 'get', resource: 'pods', namespace: 'default' }
    const path = '/apis/authorization.k8s.io/v1'
    const asked = await api.call('POST', `${path}/subjectaccessreviews`, { spec: { user: 'joe', resourceAttributes } })
    assert.deepEqual(asked.body.status, {
      allowed: true,
      reason: 'RBAC: allowed by RoleBinding "of-joe/default" of Role "of-joe" to User "joe"',
    })
    const joe = as(api, 'joe')
    assert.equal(
      (await joe('POST', `${path}/subjectaccessreviews`, { spec: { user: 'ann', resourceAttributes } })).status,
      403,
    )
    const local = `${path}/namespaces/default/localsubjectaccessreviews`
    const spec = { user: 'joe', resourceAttributes: { ...resourceAttributes, namespace: 'other' } }
    const mismatch = await api.call('POST', local, { metadata: { namespace: 'default' }, spec })
    assert.match(mismatch.body.message, /must match metadata\.namespace/)
    assert.match((await joe('POST', `${path}/selfsubjectaccessreviews`, { spec: {} })).body.message, /exactly one of/)
    const rules = (await joe('POST', `${path}/selfsubjectrulesreviews`, { spec: { namespace: 'default' } })).body.status
    assert.ok(rules.resourceRules.some(({ resources }: { resources: string[] }) => resources[0] === 'pods'))
    assert.equal(rules.incomplete, false)
  })
})
