import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { configMapNamed, deploymentNamed, podNamed, startTestServer } from './test-server.ts'

const pods = '/api/v1/namespaces/default/pods'
const deployments = '/apis/apps/v1/namespaces/default/deployments'
const configMaps = '/api/v1/namespaces/default/configmaps'

describe('a deletion', () => {
  it('is done at once and answers with the uid', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('POST', configMaps, configMapNamed('c'))
    const gone = await api.call('DELETE', `${configMaps}/c`)
    assert.deepEqual([gone.status, gone.body.status, gone.body.details.uid], [200, 'Success', body.metadata.uid])
    assert.equal((await api.call('GET', `${configMaps}/c`)).status, 404)
  })

  it('waits for finalizers', async () => {
    await using api = await startTestServer()
    await api.call('POST', configMaps, {
      ...configMapNamed('c'),
      metadata: { name: 'c', finalizers: ['example.com/hold'] },
    })
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
    await api.call('POST', configMaps, configMapNamed('c'))
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
    const late = await api.call('POST', '/api/v1/namespaces/team/configmaps', configMapNamed('c'))
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
