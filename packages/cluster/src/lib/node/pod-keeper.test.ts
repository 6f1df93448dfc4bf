import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createPodKeeper } from './pod-keeper.ts'
import type { KeptPod, PodRecords } from './pod-records.ts'

function podAt(startTime: number): KeptPod {
  return { uid: 'u', namespace: 'n', name: 'p', startTime, containers: {} }
}

/** Records that are written when `go` is called. */
function slowRecords(): { records: PodRecords; written: number[]; go: (error?: Error) => void } {
  const written: number[] = []
  let pending: PromiseWithResolvers<void> | undefined
  const records = {
    dirOf: () => '',
    logsOf: () => '',
    readAll: async () => [],
    remove: async () => {},
    sweepLogs: async () => {},
    async write({ startTime }: KeptPod) {
      written.push(startTime)
      pending = Promise.withResolvers()
      await pending.promise
    },
  }
  return { records, written, go: (error) => (error ? pending?.reject(error) : pending?.resolve()) }
}

describe('createPodKeeper', () => {
  it('writes what is the same once, and of what comes meanwhile the newest', async () => {
    const { records, written, go } = slowRecords()
    const keeper = createPodKeeper(records, assert.ifError)
    for (const time of [1, 1, 2, 3]) keeper.keep(podAt(time))
    const kept = keeper.kept()
    assert.deepEqual(written, [1])
    go()
    while (written.length < 2) await Promise.resolve()
    go()
    await kept
    assert.deepEqual(written, [1, 3])
    keeper.keep(podAt(3))
    await keeper.kept()
    assert.deepEqual(written, [1, 3])
  })

  it('tells of a write that failed, and writes the same again when asked', async () => {
    const { records, written, go } = slowRecords()
    const errors: unknown[] = []
    const keeper = createPodKeeper(records, (error) => void errors.push(error))
    keeper.keep(podAt(1))
    const kept = keeper.kept()
    go(new Error('no space'))
    await kept
    assert.equal(errors.length, 1)
    keeper.keep(podAt(1))
    go()
    await keeper.kept()
    assert.deepEqual(written, [1, 1])
  })
})
