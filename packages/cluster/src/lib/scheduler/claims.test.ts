import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'

import { createVolumeFilter, judgeClaims } from './claims.ts'
import { viewNode } from './node-view.ts'

const pod = {
  metadata: { name: 'p', namespace: 'default' },
  spec: { containers: [], volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'data' } }] },
}
const claimOf = (phase: string, storageClassName = ''): PersistentVolumeClaim => ({
  metadata: { name: 'data' },
  spec: { storageClassName },
  status: { phase },
})

void describe('judgeClaims', () => {
  for (const { name, claim, state } of [
    { name: 'waits for a claim that is not there', claim: undefined, state: 'missing' },
    { name: 'waits for a volume', claim: claimOf('Pending'), state: 'missing' },
    { name: 'goes on with a volume', claim: claimOf('Bound'), state: 'ready' },
    { name: 'chooses a node first where the class says so', claim: claimOf('Pending', 'late'), state: 'delayed' },
  ]) {
    void it(name, () => {
      const late = { provisioner: 'x', volumeBindingMode: 'WaitForFirstConsumer' }
      const sources = {
        claim: () => claim,
        storageClass: (of: string) => (of === 'late' ? late : undefined),
        volume: () => undefined,
      }
      assert.equal(judgeClaims(pod, sources).state, state)
    })
  }
})

void describe('createVolumeFilter', () => {
  const claim = { ...claimOf('Bound'), spec: { volumeName: 'pv' } }
  const sources = (nodeAffinity?: object) => ({ claim: () => claim, volume: () => ({ spec: { nodeAffinity } }) })
  const on = (name: string) => viewNode({ metadata: { name, labels: { host: name } } }, [])

  void it('keeps a pod where its volumes are', () => {
    const matchExpressions = [{ key: 'host', operator: 'In', values: ['a'] }]
    const rejectionsOf = createVolumeFilter(pod, sources({ required: { nodeSelectorTerms: [{ matchExpressions }] } }))
    assert.deepEqual(rejectionsOf?.(on('a')), [])
    const [rejection] = rejectionsOf?.(on('b')) ?? []
    assert.equal(rejection?.reason, "node(s) didn't match PersistentVolume's node affinity")
    assert.equal(rejection.isFinal, true)
  })

  void it('is none for volumes that are anywhere', () => {
    assert.equal(createVolumeFilter(pod, sources()), undefined)
  })
})
