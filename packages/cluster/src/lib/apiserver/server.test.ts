import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { openStore } from '../storage/store.ts'
import { createApiServer } from './server.ts'
import { configMapNamed, startTestServer } from './test-server.ts'

const pods = '/api/v1/namespaces/default/pods'
const configMaps = '/api/v1/namespaces/default/configmaps'

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
    await api.call('POST', configMaps, configMapNamed('c'))
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
