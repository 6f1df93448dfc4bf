import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { compactHistory } from './compaction.ts'
import { podNamed, readWatch, startTestServer } from './test-server.ts'

const pods = '/api/v1/namespaces/default/pods'
const fiveMinutesMs = 5 * 60_000

describe('compactHistory', () => {
  it('lets pages and watches go back five to ten minutes, and tells those that come later how to go on', async (t) => {
    await using api = await startTestServer()
    t.mock.timers.enable({ apis: ['setInterval'] })
    const stop = compactHistory(api.store)
    const create = async (name: string): Promise<void> => {
      assert.equal((await api.call('POST', pods, podNamed(name))).status, 201)
    }
    for (const name of ['a', 'b', 'c']) await create(name)
    const first = await api.call('GET', `${pods}?limit=1`)
    const { continue: token, resourceVersion } = first.body.metadata
    await create('a0')

    t.mock.timers.tick(fiveMinutesMs)
    const next = await api.call('GET', `${pods}?limit=1&continue=${token}`)
    assert.equal(next.status, 200)
    assert.equal(next.body.items[0].metadata.name, 'b')
    assert.equal(next.body.metadata.resourceVersion, resourceVersion)

    t.mock.timers.tick(fiveMinutesMs)
    const late = await api.call('GET', `${pods}?limit=1&continue=${token}`)
    assert.equal(late.status, 410)
    assert.equal(late.body.reason, 'Expired')
    assert.match(late.body.message, /^The provided continue parameter is too old to display a consistent list result/)
    const rest = await api.call('GET', `${pods}?continue=${late.body.metadata.continue}`)
    assert.deepEqual(
      rest.body.items.map(({ metadata }: { metadata: { name: string } }) => metadata.name),
      ['a0', 'b', 'c'],
    )
    const [event] = await readWatch(api.transport, `${pods}?watch=true&resourceVersion=${resourceVersion}`, () => true)
    assert.equal(event?.type, 'ERROR')
    assert.equal(event?.object.code, 410)
    assert.equal(event?.object.reason, 'Expired')

    const newest = api.store.revision
    stop()
    await create('d')
    t.mock.timers.tick(3 * fiveMinutesMs)
    assert.ok(api.store.compactedRevision <= newest, 'nothing is forgotten once it is stopped')
  })

  it('keeps a watch alive that is at the newest revision of a cluster in which nothing happens', async (t) => {
    await using api = await startTestServer()
    t.mock.timers.enable({ apis: ['setInterval'] })
    const stop = compactHistory(api.store)
    t.mock.timers.tick(10 * fiveMinutesMs)
    const { revision } = api.store
    await api.call('POST', pods, podNamed('late'))
    const [event] = await readWatch(api.transport, `${pods}?watch=true&resourceVersion=${revision}`, () => true)
    assert.equal(event?.type, 'ADDED')
    stop()
  })
})
