import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { StatefulSet, StatefulSetSpec } from '@fairlead/kube/types/apps-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { revisionLabel } from '../controller-revision.ts'
import { decideClaimOwners, isStaleClaim } from './claim-retention.ts'
import { decideSteps } from './decide-stateful-set.ts'
import type { SetStep } from './decide-stateful-set.ts'
import { renderPod } from './identity.ts'
import { describeStatefulSet } from './stateful-set-status.ts'

const template = { metadata: { labels: { app: 'db' } }, spec: { containers: [{ name: 'db', image: 'db:1' }] } }

function setOf(spec: Partial<StatefulSetSpec> = {}): StatefulSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 'db', namespace: 'default', uid: 'set' },
    spec: { serviceName: 'db', replicas: 3, selector: { matchLabels: { app: 'db' } }, template, ...spec },
  }
}

/** `2` ready, `2?` running and not ready, `2!` failed, `2.` succeeded, `2-` being deleted, `2@old` of the old revision. */
function podOf(text: string): Pod {
  const [ordinal = 0, mark = '', revision = 'new'] = /^(\d+)([?!.-]?)@?(\w+)?$/.exec(text)?.slice(1) ?? []
  const pod = renderPod(setOf(), Number(ordinal), { template, revision })
  const phase = mark === '!' ? 'Failed' : mark === '.' ? 'Succeeded' : 'Running'
  const status = mark === '' || mark === '-' ? 'True' : 'False'
  const conditions = [{ type: 'Ready', status, lastTransitionTime: '2026-01-01T00:00:00Z' }]
  const deletion = mark === '-' ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}
  return { ...pod, metadata: { ...pod.metadata, uid: `pod-${ordinal}`, ...deletion }, status: { phase, conditions } }
}

function render(step: SetStep): string {
  if (step.act === 'create') return `create ${step.ordinal} ${step.revision}`
  return `${step.act} ${step.pod.metadata?.name}${step.act === 'delete' ? ` ${step.why}` : ''}`
}

const now = Date.parse('2026-01-01T00:00:10Z')
const viewOf = (spec: Partial<StatefulSetSpec>, pods: readonly string[]): Parameters<typeof decideSteps>[0] => ({
  set: setOf(spec),
  pods: pods.map(podOf),
  currentRevision: 'old',
  updateRevision: 'new',
  now,
})

const parallel = { podManagementPolicy: 'Parallel' }
const rolling = (rollingUpdate: object): Partial<StatefulSetSpec> => ({
  updateStrategy: { type: 'RollingUpdate', rollingUpdate },
})

void describe('decideSteps', () => {
  for (const { name, spec = {}, pods, steps } of [
    { name: 'begins with the first pod', pods: [], steps: ['create 0 update'] },
    { name: 'waits until the first is ready', pods: ['0?'], steps: [] },
    { name: 'goes on when it is', pods: ['0'], steps: ['create 1 update'] },
    { name: 'waits for what is being deleted', pods: ['0', '1-', '2'], steps: [] },
    { name: 'waits for minReadySeconds', spec: { minReadySeconds: 11 }, pods: ['0'], steps: [] },
    { name: 'has done enough', pods: ['0', '1', '2'], steps: [] },
    { name: 'begins at the ordinal asked for', spec: { ordinals: { start: 5 } }, pods: [], steps: ['create 5 update'] },
    { name: 'fills a gap', pods: ['0', '2'], steps: ['create 1 update'] },
    { name: 'replaces a failed pod', pods: ['0', '1!', '2'], steps: ['delete db-1 failed'] },
    { name: 'replaces a pod that ended', pods: ['0.'], steps: ['delete db-0 ended'] },
    { name: 'makes all at once', spec: parallel, pods: ['1'], steps: ['create 0 update', 'create 2 update'] },
    { name: 'removes the highest', spec: { replicas: 1 }, pods: ['0', '1', '2'], steps: ['delete db-2 surplus'] },
    { name: 'removes one at a time', spec: { replicas: 1 }, pods: ['0', '1', '2-'], steps: [] },
    { name: 'keeps the healthy while another is sick', spec: { replicas: 1 }, pods: ['0?', '1', '2'], steps: [] },
    { name: 'removes a sick surplus', spec: { replicas: 1 }, pods: ['0', '1', '2?'], steps: ['delete db-2 surplus'] },
    {
      name: 'leaves the higher of two sick ones until the lower is well',
      spec: { replicas: 1 },
      pods: ['0', '1?', '2?'],
      steps: [],
    },
    {
      name: 'removes all surplus at once',
      spec: { ...parallel, replicas: 1 },
      pods: ['0', '1', '2?'],
      steps: ['delete db-2 surplus', 'delete db-1 surplus'],
    },
    { name: 'updates from the highest', pods: ['0@old', '1@old', '2@old'], steps: ['delete db-2 outdated'] },
    { name: 'updates the next when that is ready', pods: ['0@old', '1@old', '2'], steps: ['delete db-1 outdated'] },
    { name: 'waits for an updated pod', spec: parallel, pods: ['0@old', '1@old', '2?'], steps: [] },
    { name: 'stops at the partition', spec: rolling({ partition: 2 }), pods: ['0@old', '1@old', '2'], steps: [] },
    {
      name: 'makes pods below the partition of the current revision',
      spec: rolling({ partition: 2 }),
      pods: ['0@old', '2'],
      steps: ['create 1 current'],
    },
    {
      name: 'updates pod by pod whatever may be away',
      spec: { ...parallel, ...rolling({ maxUnavailable: 2 }) },
      pods: ['0@old', '1@old', '2?'],
      steps: [],
    },
    {
      name: 'leaves updates to others',
      spec: { updateStrategy: { type: 'OnDelete' } },
      pods: ['0@old', '1@old', '2@old'],
      steps: [],
    },
  ]) {
    void it(name, () => assert.deepEqual(decideSteps(viewOf(spec, pods)).map(render), steps))
  }

  void it('does nothing for a set that is being deleted', () => {
    const set = { ...setOf(), metadata: { ...setOf().metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } }
    assert.deepEqual(decideSteps({ ...viewOf({}, []), set }), [])
  })

  void it('gives an adopted pod the labels of its ordinal', () => {
    const view = viewOf({ replicas: 1 }, ['0'])
    const [pod] = view.pods
    const stray = { ...pod, metadata: { ...pod?.metadata, labels: { app: 'db', [revisionLabel]: 'new' } } }
    assert.deepEqual(decideSteps({ ...view, pods: [stray] }).map(render), ['repair db-0'])
  })
})

void describe('describeStatefulSet', () => {
  void it('keeps the current revision until the last pod is replaced and ready', () => {
    const half = describeStatefulSet(viewOf({}, ['0@old', '1?', '2']), 0)
    assert.equal(half.currentRevision, 'old')
    assert.deepEqual([half.replicas, half.readyReplicas, half.currentReplicas, half.updatedReplicas], [3, 2, 1, 2])
    const done = describeStatefulSet(viewOf({}, ['0', '1', '2']), 0)
    assert.deepEqual([done.currentRevision, done.currentReplicas, done.updatedReplicas], ['new', 3, 3])
  })

  void it('counts as available who is ready long enough', () => {
    const status = describeStatefulSet(viewOf({ minReadySeconds: 60 }, ['0', '1', '2']), 0)
    assert.deepEqual([status.readyReplicas, status.availableReplicas], [3, 0])
  })
})

void describe('decideClaimOwners', () => {
  const retention = (whenDeleted: string, whenScaled: string): Partial<StatefulSetSpec> => ({
    persistentVolumeClaimRetentionPolicy: { whenDeleted, whenScaled },
  })
  const owned = (...uids: string[]): object[] =>
    uids.map((uid) => ({ uid, kind: uid === 'set' ? 'StatefulSet' : 'Pod', name: uid, apiVersion: 'v1' }))
  for (const { name, spec, pod, before, after } of [
    { name: 'leaves a claim that stays', spec: {}, pod: '0', before: [], after: undefined },
    { name: 'lets it go with the set', spec: retention('Delete', 'Retain'), pod: '0', before: [], after: ['set'] },
    {
      name: 'and with the set only, past the end',
      spec: retention('Delete', 'Retain'),
      pod: '3',
      before: [],
      after: ['set'],
    },
    {
      name: 'lets it go with the pod past the end',
      spec: retention('Retain', 'Delete'),
      pod: '3',
      before: [],
      after: ['pod-3'],
    },
    { name: 'not with a pod that stays', spec: retention('Retain', 'Delete'), pod: '2', before: ['pod-2'], after: [] },
    { name: 'follows a policy taken back', spec: {}, pod: '0', before: ['set'], after: [] },
    { name: 'changes sides', spec: retention('Delete', 'Delete'), pod: '3', before: ['set'], after: ['pod-3'] },
  ]) {
    void it(name, () => {
      const claim = { metadata: { ownerReferences: owned(...before) as [] } }
      const uids = decideClaimOwners(setOf(spec), podOf(pod), claim)?.map(({ uid }) => uid)
      assert.deepEqual(uids, after)
    })
  }

  void it('leaves a claim alone that goes with an earlier set or pod of the name', () => {
    for (const [kind, name] of [
      ['StatefulSet', 'db'],
      ['Pod', 'db-0'],
    ] as const) {
      const claim = { metadata: { ownerReferences: [{ apiVersion: 'v1', kind, name, uid: 'former' }] } }
      assert.equal(decideClaimOwners(setOf(retention('Delete', 'Delete')), podOf('0'), claim), undefined)
    }
  })

  void it('lets a claim go that has another controller by now', () => {
    const other = { uid: 'x', kind: 'Other', name: 'x', apiVersion: 'v1', controller: true }
    const claim = { metadata: { ownerReferences: [other, ...(owned('set') as [])] } }
    assert.deepEqual(decideClaimOwners(setOf(retention('Delete', 'Delete')), podOf('0'), claim), [other])
  })

  void it('leaves the claim of another controller alone', () => {
    const other = { uid: 'x', kind: 'Other', name: 'x', apiVersion: 'v1', controller: true }
    const claim = { metadata: { ownerReferences: [other] } }
    assert.equal(decideClaimOwners(setOf(retention('Delete', 'Delete')), podOf('0'), claim), undefined)
  })

  void it('knows a claim that goes with an earlier pod', () => {
    const ownerReferences = [{ uid: 'former', kind: 'Pod', name: 'db-3', apiVersion: 'v1' }]
    assert.equal(isStaleClaim({ metadata: { ownerReferences } }, 'db-3', undefined), true)
    assert.equal(isStaleClaim({ metadata: { ownerReferences } }, 'db-3', 'former'), false)
  })
})
