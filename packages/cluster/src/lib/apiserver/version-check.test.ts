import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { deploymentNamed, startTestServer } from './test-server.ts'

const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'x' }, spec: {} }
const leases = '/apis/coordination.k8s.io/v1/namespaces/default/leases'
const definition = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'ropes.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural: 'ropes', kind: 'Rope' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: { scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' } },
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
}
const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const ropes = '/apis/example.com/v1/namespaces/default/ropes'

describe('checkVersion', () => {
  it('refuses a replacement without resourceVersion where upstream does', async () => {
    await using api = await startTestServer()
    await api.call('POST', leases, lease)
    const { status, body } = await api.call('PUT', `${leases}/x`, { ...lease, spec: { holderIdentity: 'me' } })
    assert.equal(status, 422)
    const why = 'metadata.resourceVersion: Invalid value: 0: must be specified for an update'
    assert.equal(body.message, `leases.coordination.k8s.io "x" is invalid: ${why}`)
    assert.equal(body.details.kind, 'leases')
    const { resourceVersion } = (await api.call('GET', `${leases}/x`)).body.metadata
    const known = await api.call('PUT', `${leases}/x`, { ...lease, metadata: { name: 'x', resourceVersion } })
    assert.equal(known.status, 200)
    assert.equal((await api.call('PATCH', `${leases}/x`, { spec: { holderIdentity: 'me' } })).status, 200)
  })

  it('asks for the version of custom resources and their definitions, but not of their scale', async () => {
    await using api = await startTestServer()
    assert.equal((await api.call('POST', definitions, definition)).status, 201)
    const again = await api.call('PUT', `${definitions}/ropes.example.com`, definition)
    assert.match(
      again.body.message,
      /^customresourcedefinitions\.apiextensions\.k8s\.io "ropes\.example\.com" is invalid/,
    )
    const rope = { apiVersion: 'example.com/v1', kind: 'Rope', metadata: { name: 'x' }, spec: { replicas: 1 } }
    assert.equal((await api.call('POST', ropes, rope)).status, 201)
    assert.match((await api.call('PUT', `${ropes}/x`, rope)).body.message, /^ropes\.example\.com "x" is invalid/)
    const scale = { apiVersion: 'autoscaling/v1', kind: 'Scale', metadata: { name: 'x' }, spec: { replicas: 3 } }
    const scaled = await api.call('PUT', `${ropes}/x/scale`, scale)
    assert.equal(scaled.body.spec?.replicas, 3, JSON.stringify(scaled.body))
  })

  it('replaces whatever is there of other kinds', async () => {
    await using api = await startTestServer()
    const deployments = '/apis/apps/v1/namespaces/default/deployments'
    await api.call('POST', deployments, deploymentNamed('x'))
    assert.equal((await api.call('PUT', `${deployments}/x`, deploymentNamed('x'))).status, 200)
  })
})
