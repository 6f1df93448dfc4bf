import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Deployment, DeploymentStatus, ReplicaSet } from '@fairlead/kube/types/apps-v1'

import { describeDeployment, pauseVerdict } from './deployment-status.ts'

describe('describeDeployment', () => {
  const now = Date.parse('2026-01-01T01:00:00Z')
  const base: Deployment = {
    metadata: { name: 'web', generation: 1 },
    spec: { replicas: 2, progressDeadlineSeconds: 60, selector: {}, template: { spec: { containers: [] } } },
  }
  const newest = (ready: number): ReplicaSet => ({
    metadata: { name: 'web-1' },
    spec: { replicas: 2, selector: {} },
    status: { replicas: 2, readyReplicas: ready, availableReplicas: ready },
  })
  const reasons = (status: DeploymentStatus): Record<string, string | undefined> =>
    Object.fromEntries((status.conditions ?? []).map(({ type, status: value, reason }) => [type, `${value} ${reason}`]))
  const begun = '2026-01-01T00:59:30Z'
  const progressing = {
    type: 'Progressing',
    status: 'True',
    reason: 'ReplicaSetUpdated',
    lastUpdateTime: begun,
    lastTransitionTime: begun,
  }
  const before = {
    ...base,
    status: {
      observedGeneration: 1,
      replicas: 2,
      updatedReplicas: 2,
      unavailableReplicas: 2,
      conditions: [progressing],
    },
  }

  it('is complete when all replicas are new and available', () => {
    const status = describeDeployment(before, { newest: newest(2), old: [] }, {}, now)
    assert.deepEqual(reasons(status), {
      Progressing: 'True NewReplicaSetAvailable',
      Available: 'True MinimumReplicasAvailable',
    })
    assert.equal(status.unavailableReplicas, undefined)
  })

  it('says nothing of progress without a deadline', () => {
    const { progressDeadlineSeconds: _, ...spec } = before.spec ?? { selector: {}, template: {} }
    const verdict = { type: 'Progressing', status: 'True', reason: 'NewReplicaSetCreated', message: '' }
    const status = describeDeployment({ ...before, spec }, { newest: newest(1), old: [] }, { verdict }, now)
    assert.deepEqual(reasons(status), { Available: 'False MinimumReplicasUnavailable' })
  })

  for (const { name, paused, reason, expected } of [
    { name: 'is paused', paused: true, reason: 'ReplicaSetUpdated', expected: 'DeploymentPaused' },
    { name: 'is paused still', paused: true, reason: 'DeploymentPaused', expected: undefined },
    { name: 'goes on', paused: false, reason: 'DeploymentPaused', expected: 'DeploymentResumed' },
    { name: 'was never paused', paused: false, reason: 'ReplicaSetUpdated', expected: undefined },
    { name: 'is paused after it was too slow', paused: true, reason: 'ProgressDeadlineExceeded', expected: undefined },
  ]) {
    it(`says of a deployment that ${name}: ${expected ?? 'nothing'}`, () => {
      const conditions = [{ ...progressing, reason }]
      const subject = { ...before, spec: { ...before.spec, paused }, status: { ...before.status, conditions } }
      assert.equal(pauseVerdict(subject as Deployment)?.reason, expected)
    })
  }

  it('renews its deadline with every step', () => {
    const status = describeDeployment(before, { newest: newest(1), old: [] }, {}, now)
    assert.equal(status.conditions?.find(({ type }) => type === 'Progressing')?.lastUpdateTime, '2026-01-01T01:00:00Z')
    assert.equal(status.conditions?.find(({ type }) => type === 'Progressing')?.lastTransitionTime, begun)
  })

  it('gives up when nothing happened until the deadline, once', () => {
    const late = now + 30_000
    const status = describeDeployment(before, { newest: newest(0), old: [] }, {}, late)
    assert.deepEqual(reasons(status), {
      Progressing: 'False ProgressDeadlineExceeded',
      Available: 'False MinimumReplicasUnavailable',
    })
    const again = describeDeployment({ ...before, status }, { newest: newest(0), old: [] }, {}, late + 60_000)
    assert.deepEqual(again, status)
  })

  it('passes a failure to create pods on', () => {
    const failing = newest(0)
    const failure = { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message: 'forbidden' }
    const withFailure = { ...failing, status: { replicas: 0, conditions: [failure] } }
    assert.equal(
      reasons(describeDeployment(before, { newest: withFailure, old: [] }, {}, now))['ReplicaFailure'],
      'True FailedCreate',
    )
  })
})
