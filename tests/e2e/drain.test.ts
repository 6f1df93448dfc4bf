import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
// The benchmark does a hundred of these.
import { restartUnderLoad } from './support/drain-rig.ts'

describe('drain, five restarts under load', { timeout: 600_000 }, () => {
  it('fails no request, breaks no connection and loses no event', async () => {
    const seen = await restartUnderLoad(5)
    assert.deepEqual(seen.failures, [])
    assert.equal(seen.cut, 0)
    assert.equal(seen.drainedMs.length, 5)
    for (const count of [seen.http1, seen.http2, seen.messages, seen.events]) assert.ok(count > 50, `only ${count}`)
  })
})
