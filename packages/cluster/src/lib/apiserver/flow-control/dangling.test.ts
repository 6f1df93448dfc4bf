import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { startTestServer } from '../test-server.ts'
import type { TestServer } from '../test-server.ts'
import { decideDangling } from './dangling.ts'

const root = '/apis/flowcontrol.apiserver.k8s.io/v1'

describe('followDangling', () => {
  async function until(api: TestServer, name: string, status: string): Promise<Record<string, unknown>> {
    const path = `${root}/flowschemas/${name}`
    for (;;) {
      const { body } = await api.call('GET', path)
      const condition = body.status?.conditions?.find(({ type }: { type: string }) => type === 'Dangling')
      if (condition?.status === status) return condition
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  it('has nothing left to write when the server is ready', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('GET', `${root}/flowschemas`)
    for (const { metadata, status } of body.items) assert.equal(status.conditions[0].reason, 'Found', metadata.name)
  })

  it('says of each schema whether its level is there', async () => {
    await using api = await startTestServer({ now: () => Date.parse('2026-01-02T03:04:05Z') })
    assert.deepEqual(await until(api, 'probes', 'False'), {
      type: 'Dangling',
      status: 'False',
      lastTransitionTime: '2026-01-02T03:04:05Z',
      reason: 'Found',
      message: 'This FlowSchema references the PriorityLevelConfiguration object named "exempt" and it exists',
    })
    const { body } = await api.call('GET', `${root}/flowschemas/probes`)
    const spec = { ...body.spec, priorityLevelConfiguration: { name: 'later' } }
    await api.call('POST', `${root}/flowschemas`, { metadata: { name: 'mine' }, spec })
    const { message } = await until(api, 'mine', 'True')
    assert.equal(
      message,
      'This FlowSchema references the PriorityLevelConfiguration object named "later" but there is no such object',
    )
    const level = (await api.call('GET', `${root}/prioritylevelconfigurations/system`)).body.spec
    await api.call('POST', `${root}/prioritylevelconfigurations`, { metadata: { name: 'later' }, spec: level })
    await until(api, 'mine', 'False')
  })
})

describe('decideDangling', () => {
  it('keeps the time of a condition that only says it in other words', () => {
    const spec = { priorityLevelConfiguration: { name: 'a' } }
    const known = { type: 'Dangling', status: 'False', lastTransitionTime: '2026-01-01T00:00:00Z', message: 'old' }
    const decided = decideDangling({ spec, status: { conditions: [known] } }, true, 0)
    assert.equal(decided?.lastTransitionTime, known.lastTransitionTime)
    assert.equal(decided && decideDangling({ spec, status: { conditions: [decided] } }, true, 0), undefined)
    const changed = decideDangling({ spec, status: { conditions: [known] } }, false, 0)
    assert.deepEqual([changed?.status, changed?.lastTransitionTime], ['True', '1970-01-01T00:00:00Z'])
  })
})
