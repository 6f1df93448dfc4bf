import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { startTestServer } from '../../test-server.ts'

const claims = '/api/v1/namespaces/default/persistentvolumeclaims'
const claim = (finalizers?: string[]): object => ({
  metadata: { name: 'c', finalizers },
  spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
})
const volume = {
  metadata: { name: 'v' },
  spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/x' } },
}

describe('guard', () => {
  it('protects claims and volumes from the moment they are there', async () => {
    await using api = await startTestServer({ controllers: true })
    const made = await api.call('POST', claims, claim(['example.com/own']))
    assert.deepEqual(made.body.metadata.finalizers, ['example.com/own', 'kubernetes.io/pvc-protection'])
    const { body } = await api.call('POST', '/api/v1/persistentvolumes', volume)
    assert.deepEqual(body.metadata.finalizers, ['kubernetes.io/pv-protection'])
    const deleted = await api.call('DELETE', `${claims}/c`)
    assert.equal(typeof deleted.body.metadata.deletionTimestamp, 'string')
  })

  it('leaves out what is there already, and what somebody took away later', async () => {
    await using api = await startTestServer({ controllers: true })
    const made = await api.call('POST', claims, claim(['kubernetes.io/pvc-protection']))
    assert.deepEqual(made.body.metadata.finalizers, ['kubernetes.io/pvc-protection'])
    const without = await api.call('PATCH', `${claims}/c`, { metadata: { finalizers: null } })
    assert.equal(without.body.metadata.finalizers, undefined)
  })

  it('keeps pods away from a new node until it is said to be ready', async () => {
    await using api = await startTestServer({ controllers: true })
    const own = { key: 'example.com/own', effect: 'NoSchedule' }
    const made = await api.call('POST', '/api/v1/nodes', { metadata: { name: 'n' }, spec: { taints: [own] } })
    const taint = { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }
    assert.deepEqual(made.body.spec.taints, [own, taint])
    const ready = await api.call('PATCH', '/api/v1/nodes/n', { spec: { taints: null } })
    assert.equal(ready.body.spec.taints, undefined)
    const again = await api.call('POST', '/api/v1/nodes', { metadata: { name: 'm' }, spec: { taints: [taint] } })
    assert.deepEqual(again.body.spec.taints, [taint])
  })

  it('does nothing where no controllers run that would undo it', async () => {
    await using api = await startTestServer()
    const made = await api.call('POST', claims, claim())
    assert.equal(made.body.metadata.finalizers, undefined)
    assert.equal((await api.call('POST', '/api/v1/nodes', { metadata: { name: 'n' } })).body.spec?.taints, undefined)
  })
})
