import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { podNamed, startTestServer } from './test-server.ts'

const pods = '/api/v1/namespaces/default/pods'
const debuggers = { spec: { ephemeralContainers: [{ name: 'debug', image: 'busybox:1' }] } }

describe('ephemeral containers', () => {
  it('are added by their subresource only', async () => {
    await using api = await startTestServer()
    await api.call('POST', pods, podNamed('web'))
    const added = await api.call('PATCH', `${pods}/web/ephemeralcontainers`, debuggers)
    assert.deepEqual([added.status, added.body.spec.ephemeralContainers?.[0].name], [200, 'debug'])
    const other = await api.call('PATCH', `${pods}/web`, {
      spec: { ephemeralContainers: [{ name: 'x', image: 'y:1' }] },
    })
    assert.equal(other.status, 422)
    assert.match(other.body.message, /spec: Forbidden: pod updates may not change fields other than/)
    const labelled = await api.call('PATCH', `${pods}/web`, { metadata: { labels: { a: 'b' } } })
    assert.equal(labelled.status, 200, labelled.body.message)
  })

  it('do not come with a new pod', async () => {
    await using api = await startTestServer()
    const pod = podNamed('web', { spec: { containers: [{ name: 'c', image: 'i:1' }], ...debuggers.spec } })
    const refused = await api.call('POST', pods, pod)
    assert.match(refused.body.message, /spec\.ephemeralContainers: Forbidden: cannot be set on create$/)
  })
})
