import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { readBytes } from '@fairlead/kube'

import type { Identity } from '../exchange.ts'
import { startTestServer } from '../test-server.ts'
import type { Answer, TestServer } from '../test-server.ts'

const group = 'resource.k8s.io'
const claims = `/apis/${group}/v1/namespaces/default/resourceclaims`
const templates = `/apis/${group}/v1/namespaces/default/resourceclaimtemplates`
const roles = '/apis/rbac.authorization.k8s.io/v1'

const specOf = (adminAccess?: boolean): object => ({
  devices: { requests: [{ name: 'gpu', exactly: { deviceClassName: 'gpus', adminAccess } }] },
})
const result = { request: 'gpu', driver: 'gpu.example.com', pool: 'n1', device: 'gpu-0' }
const onNode = {
  nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1'] }] }],
}
const allocation = { devices: { results: [result] }, nodeSelector: onNode }
const { request: _, ...device } = result
const adminLabelled = { metadata: { labels: { 'resource.kubernetes.io/admin-access': 'true' } } }

async function allow(api: TestServer, user: string, resource: string, verbs: readonly string[]): Promise<void> {
  const name = `${user}-${resource.replace('/', '-')}`
  const rule = { apiGroups: [group], resources: [resource], verbs }
  await api.call('POST', `${roles}/clusterroles`, { metadata: { name }, rules: [rule] })
  const { status } = await api.call('POST', `${roles}/clusterrolebindings`, {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
  })
  assert.equal(status, 201)
}

async function patchStatus(api: TestServer, identity: Identity, status: object): Promise<Answer> {
  const answer = await api.server.transport(identity).send({
    method: 'PATCH',
    path: `${claims}/c/status`,
    body: JSON.stringify({ status }),
    headers: { 'content-type': 'application/merge-patch+json' },
  })
  const text = Buffer.from(await readBytes(answer.body)).toString('utf8')
  return { status: answer.status, headers: answer.headers, body: JSON.parse(text) }
}

const joe: Identity = { user: 'joe', groups: ['system:authenticated'] }

describe('judgeClaim', () => {
  it('grants admin access in namespaces labelled for it only', async () => {
    await using api = await startTestServer()
    const refused = await api.call('POST', claims, { metadata: { name: 'a' }, spec: specOf(true) })
    assert.equal(refused.status, 422)
    assert.deepEqual(refused.body.details.causes, [
      {
        reason: 'FieldValueForbidden',
        message:
          'Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace',
        field: 'spec.devices.requests[0].adminAccess',
      },
    ])
    const template = { metadata: { name: 't' }, spec: { spec: specOf(true) } }
    assert.equal((await api.call('POST', templates, template)).status, 422)
    assert.equal((await api.call('POST', claims, { metadata: { name: 'b' }, spec: specOf(false) })).status, 201)
    const status = { allocation: { devices: { results: [{ ...result, adminAccess: true }] } } }
    const granted = await api.call('PATCH', `${claims}/b/status`, { status })
    assert.match(
      granted.body.message,
      /status\.allocation\.devices\.results\[0\]\.adminAccess: Forbidden: admin access/,
    )
    await api.call('PATCH', '/api/v1/namespaces/default', adminLabelled)
    assert.equal((await api.call('POST', claims, { metadata: { name: 'a' }, spec: specOf(true) })).status, 201)
    assert.equal((await api.call('POST', templates, template)).status, 201)
    assert.equal((await api.call('PATCH', `${claims}/b/status`, { status })).status, 200)
  })

  it('lets those give devices away who may bind claims', async () => {
    await using api = await startTestServer()
    await api.call('POST', claims, { metadata: { name: 'c' }, spec: specOf() })
    await allow(api, 'joe', 'resourceclaims/status', ['update', 'patch'])
    const refused = await patchStatus(api, joe, { allocation })
    assert.equal(refused.status, 422)
    assert.equal(
      refused.body.details.causes[0].message,
      'Forbidden: changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb="patch" permission: ' +
        'resourceclaims.resource.k8s.io is forbidden: User "joe" cannot patch resource "resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope',
    )
    await allow(api, 'joe', 'resourceclaims/binding', ['patch'])
    assert.equal((await patchStatus(api, joe, { allocation })).status, 200)
  })

  it('lets those tell of devices who act for their drivers, anywhere or on the node the claim is for', async () => {
    await using api = await startTestServer()
    await api.call('POST', claims, { metadata: { name: 'c' }, spec: specOf() })
    await api.call('PATCH', `${claims}/c/status`, { status: { allocation } })
    const extra = { 'authentication.kubernetes.io/node-name': ['n1'] }
    const account: Identity = { user: 'system:serviceaccount:default:driver', groups: [], extra }
    await allow(api, account.user, 'resourceclaims/status', ['patch'])
    const refused = await patchStatus(api, account, { devices: [device] })
    assert.match(
      refused.body.details.causes[0].message,
      /^Forbidden: changing status\.devices requires resource="resourceclaims\/driver", verb="\[associated-node:patch arbitrary-node:patch\]" permission: resourceclaims\.resource\.k8s\.io "gpu\.example\.com" is forbidden: User "system:serviceaccount:default:driver" cannot associated-node:patch resource "resourceclaims\/driver"/,
    )
    await allow(api, account.user, 'resourceclaims/driver', ['associated-node:patch'])
    assert.equal((await patchStatus(api, account, { devices: [device] })).status, 200)
    assert.equal((await patchStatus(api, account, { devices: [device] })).status, 200, 'nothing changes')
    const elsewhere = { ...account, extra: { 'authentication.kubernetes.io/node-name': ['n2'] } }
    const gone = await patchStatus(api, elsewhere, { devices: null })
    assert.match(gone.body.message, /verb="\[arbitrary-node:patch\]"/)
    await allow(api, 'joe', 'resourceclaims/status', ['patch'])
    await allow(api, 'joe', 'resourceclaims/driver', ['arbitrary-node:patch'])
    assert.equal((await patchStatus(api, joe, { devices: null })).status, 200)
  })
})
