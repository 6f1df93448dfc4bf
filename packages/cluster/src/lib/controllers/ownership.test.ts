import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Pod } from '@fairlead/kube/types/core-v1'

import { decideClaim } from './ownership.ts'

describe('decideClaim', () => {
  const owner = { metadata: { name: 'web', uid: 'owner' } }
  const reference = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', controller: true }
  const pod = (name: string, app: string, uid?: string): Pod => {
    return { metadata: { name, labels: { app }, ownerReferences: uid === undefined ? [] : [{ ...reference, uid }] } }
  }
  const pods = [
    pod('mine', 'web', 'owner'),
    pod('lost', 'other', 'owner'),
    pod('orphan', 'web'),
    pod('theirs', 'web', 'x'),
    pod('alien', 'z'),
  ]
  const names = (list: readonly Pod[]): (string | undefined)[] => list.map(({ metadata }) => metadata?.name)

  it('keeps, adopts and releases', () => {
    const claim = decideClaim(owner, { matchLabels: { app: 'web' } }, pods)
    assert.deepEqual([names(claim.kept), names(claim.adopted), names(claim.released)], [['mine'], ['orphan'], ['lost']])
  })

  it('adopts nothing for an owner that is being deleted', () => {
    const dying = { metadata: { ...owner.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } }
    assert.deepEqual(decideClaim(dying, { matchLabels: { app: 'web' } }, pods).adopted, [])
  })
})
