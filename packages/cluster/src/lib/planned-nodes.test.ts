import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { chooseNodes, planNodes } from './planned-nodes.ts'

async function openDir(): Promise<AsyncDisposable & { dir: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-nodes-'))
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) }
}

describe('chooseNodes', () => {
  it('is one node without a zone at first, then what it was last', async () => {
    await using folder = await openDir()
    assert.deepEqual(await chooseNodes(folder.dir, {}), { count: 1, zones: [] })
    assert.deepEqual(await chooseNodes(folder.dir, { count: 3, zones: ['a', 'b'] }), { count: 3, zones: ['a', 'b'] })
    assert.deepEqual(await chooseNodes(folder.dir, { count: 2 }), { count: 2, zones: ['a', 'b'] })
    assert.deepEqual(await chooseNodes(folder.dir, {}), { count: 2, zones: ['a', 'b'] })
  })

  for (const count of [0, -1, 1.5, 21]) {
    it(`refuses ${count} nodes`, async () => {
      await using folder = await openDir()
      await assert.rejects(chooseNodes(folder.dir, { count }), { code: 'FAIRLEAD_CLUSTER_NODES' })
    })
  }

  for (const zone of ['', '-a', 'a b', 'a'.repeat(64)]) {
    it(`refuses the zone "${zone}"`, async () => {
      await using folder = await openDir()
      await assert.rejects(chooseNodes(folder.dir, { zones: ['fine', zone] }), { code: 'FAIRLEAD_CLUSTER_ZONE' })
    })
  }
})

describe('planNodes', () => {
  it('keeps the first where it was, and numbers the others', () => {
    assert.deepEqual(planNodes('/c', 'vm', { count: 3, zones: ['a', 'b'] }), [
      { name: 'vm', dir: '/c/node', zone: 'a' },
      { name: 'vm-2', dir: '/c/nodes/vm-2', zone: 'b' },
      { name: 'vm-3', dir: '/c/nodes/vm-3', zone: 'a' },
    ])
    assert.deepEqual(planNodes('/c', 'vm', { count: 1, zones: [] }), [{ name: 'vm', dir: '/c/node', zone: undefined }])
  })
})
