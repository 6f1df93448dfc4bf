import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Deployment, ReplicaSet } from '@fairlead/kube/types/apps-v1'

import { boundsOf, decideNewest, decideRollingUpdate, decideScale } from './rollout-plan.ts'

type Bound = number | string

function deployment(replicas: number, maxSurge: Bound, maxUnavailable: Bound, type = 'RollingUpdate'): Deployment {
  const template = { spec: { containers: [] } }
  const strategy = type === 'RollingUpdate' ? { type, rollingUpdate: { maxSurge, maxUnavailable } } : { type }
  return { spec: { replicas, strategy, selector: {}, template } }
}

/** A replica set of `replicas`, of which `available` are available; `max` is the annotation of its last scaling. */
function set(name: string, replicas: number, available: number = replicas, max?: number): ReplicaSet {
  const annotations: Record<string, string> =
    max === undefined ? {} : { 'deployment.kubernetes.io/max-replicas': String(max) }
  const creationTimestamp = `2026-01-01T00:00:0${name.length}Z`
  return {
    metadata: { name, annotations, creationTimestamp },
    spec: { replicas, selector: {} },
    status: { replicas, availableReplicas: available },
  }
}

/** The replica set as it is once it was scaled for `desired` replicas of the deployment. */
function saturated(replicaSet: ReplicaSet, desired: number): ReplicaSet {
  const annotations = { ...replicaSet.metadata?.annotations, 'deployment.kubernetes.io/desired-replicas': `${desired}` }
  return { ...replicaSet, metadata: { ...replicaSet.metadata, annotations } }
}

const plain = (scalings: ReturnType<typeof decideScale>): Record<string, number> =>
  Object.fromEntries(scalings.map(({ replicaSet, replicas }) => [replicaSet.metadata?.name ?? '', replicas]))

void describe('boundsOf', () => {
  for (const [replicas, surge, unavailable, maxSurge, maxUnavailable] of [
    [10, '25%', '25%', 3, 2],
    [1, '25%', '25%', 1, 0],
    [3, 2, 1, 2, 1],
    [3, 0, 0, 0, 1],
    [4, '0%', '10%', 0, 1],
    [2, 0, 5, 0, 2],
  ] as const) {
    void it(`${replicas} replicas, surge ${surge}, unavailable ${unavailable}`, () =>
      assert.deepEqual(boundsOf(deployment(replicas, surge, unavailable)), { maxSurge, maxUnavailable }))
  }
})

void describe('decideNewest', () => {
  for (const [name, wanted, old, expected] of [
    ['starts whole when nothing is old', deployment(3, 1, 0), [], 3],
    ['starts with the surge beside the old', deployment(3, 1, 0), [set('a', 3)], 1],
    ['starts with nothing when there is no room', deployment(3, 0, 1), [set('a', 3)], 0],
    ['starts whole when recreating', deployment(3, 0, 0, 'Recreate'), [], 3],
  ] as const) {
    void it(name, () => assert.equal(decideNewest(wanted, { newest: undefined, old }), expected))
  }
})

void describe('decideRollingUpdate', () => {
  const cases: {
    name: string
    deployment: Deployment
    newest: ReplicaSet
    old: ReplicaSet[]
    expected: Record<string, number>
  }[] = [
    {
      name: 'grows the newest first',
      deployment: deployment(10, 2, 2),
      newest: set('new', 0),
      old: [set('a', 10)],
      expected: { new: 2 },
    },
    {
      name: 'then shrinks the old by what may be missing',
      deployment: deployment(10, 2, 2),
      newest: set('new', 2, 0),
      old: [set('a', 10)],
      expected: { a: 8 },
    },
    {
      name: 'waits while nothing new is available',
      deployment: deployment(3, 1, 0),
      newest: set('new', 1, 0),
      old: [set('a', 3)],
      expected: {},
    },
    {
      name: 'goes on when it is',
      deployment: deployment(3, 1, 0),
      newest: set('new', 1),
      old: [set('a', 3)],
      expected: { a: 2 },
    },
    {
      name: 'takes replicas that never came up first',
      deployment: deployment(4, 1, 0),
      newest: set('new', 1, 1),
      old: [set('aa', 2, 2), set('a', 2, 1)],
      expected: { a: 1 },
    },
    {
      name: 'lets broken old replicas go at once',
      deployment: deployment(3, 1, 1),
      newest: set('new', 1, 1),
      old: [set('a', 3, 0)],
      expected: { a: 1 },
    },
    {
      name: 'shrinks a newest that is too large',
      deployment: deployment(3, 1, 0),
      newest: set('new', 5),
      old: [],
      expected: { new: 3 },
    },
    { name: 'ends', deployment: deployment(3, 1, 0), newest: set('new', 3), old: [set('a', 0)], expected: {} },
    {
      name: 'scales everything to nothing',
      deployment: deployment(0, 1, 0),
      newest: set('new', 0),
      old: [set('a', 2)],
      expected: { a: 0 },
    },
  ]
  for (const { name, deployment: wanted, newest, old, expected } of cases) {
    void it(name, () => assert.deepEqual(plain(decideRollingUpdate(wanted, { newest, old })), expected))
  }

  void it('reaches its end without leaving its bounds, whatever the numbers', () => {
    for (const [replicas, surge, unavailable] of [
      [1, 1, 0],
      [1, 0, 1],
      [3, 1, 1],
      [10, 3, 2],
      [7, 0, 3],
      [20, 5, 0],
    ] as const) {
      const wanted = deployment(replicas, surge, unavailable)
      let sizes: Record<string, number> = { new: 0, a: replicas }
      for (let step = 0; step < 100 && sizes['new'] !== replicas; step += 1) {
        const { new: size = 0, a = 0 } = sizes
        const scalings = decideRollingUpdate(wanted, { newest: set('new', size), old: [set('a', a)] })
        sizes = { ...sizes, ...plain(scalings) }
        const total = (sizes['new'] ?? 0) + (sizes['a'] ?? 0)
        assert.ok(total <= replicas + surge, `${total} of ${replicas}+${surge}`)
        // What was started in this step is not available yet.
        assert.ok(Math.min(size, sizes['new'] ?? 0) + (sizes['a'] ?? 0) >= replicas - unavailable)
      }
      const last = decideRollingUpdate(wanted, { newest: set('new', replicas), old: [set('a', sizes['a'] ?? 0)] })
      assert.deepEqual({ ...sizes, ...plain(last) }, { new: replicas, a: 0 })
    }
  })
})

void describe('decideScale', () => {
  const cases: {
    name: string
    deployment: Deployment
    newest?: ReplicaSet
    old?: ReplicaSet[]
    expected: Record<string, number>
  }[] = [
    {
      name: 'gives all to the only active one',
      deployment: deployment(5, 1, 0),
      newest: set('new', 3),
      old: [set('a', 0)],
      expected: { new: 5 },
    },
    {
      name: 'gives all to the newest when none is active',
      deployment: deployment(5, 1, 0),
      newest: set('new', 0),
      old: [set('a', 0)],
      expected: { new: 5 },
    },
    {
      name: 'ends a rollout that is done',
      deployment: deployment(3, 1, 0),
      newest: saturated(set('new', 3), 3),
      old: [set('a', 1)],
      expected: { a: 0 },
    },
    {
      name: 'shares out what a newest replica set of the right size was not scaled for',
      deployment: deployment(3, 0, 1),
      newest: saturated(set('new', 3, 3, 6), 6),
      old: [set('a', 3, 3, 6)],
      expected: { new: 2, a: 1 },
    },
    {
      name: 'counts from the size there is where the annotation is lost',
      deployment: { ...deployment(8, 0, 1), status: { replicas: 4 } },
      newest: set('new', 3),
      old: [set('a', 1)],
      expected: { new: 6, a: 2 },
    },
    // 10 + 3 surge were shared 5 to 8; 20 + 5 are shared alike.
    {
      name: 'grows in proportion',
      deployment: deployment(20, '25%', '25%'),
      newest: set('new', 5, 5, 13),
      old: [set('a', 8, 8, 13)],
      expected: { new: 10, a: 15 },
    },
    {
      name: 'shrinks in proportion',
      deployment: deployment(6, '25%', '25%'),
      newest: set('new', 5, 5, 13),
      old: [set('a', 8, 8, 13)],
      expected: { new: 3, a: 5 },
    },
    {
      name: 'scales everything to nothing',
      deployment: deployment(0, '25%', '25%'),
      newest: set('new', 5, 5, 13),
      old: [set('a', 8, 8, 13)],
      expected: { new: 0, a: 0 },
    },
  ]
  for (const { name, deployment: wanted, newest, old = [], expected } of cases) {
    void it(name, () => assert.deepEqual(plain(decideScale(wanted, { newest, old })), expected))
  }
})
