import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { crashBackoffMs, decide } from './decide.ts'
import type { ContainerPhase, ContainerView, PodView, Step } from './decide.ts'

const NOW = 1_000_000

const running = { phase: 'running', id: 'a', startedAt: 0, started: true, ready: true } as const
const stopping: ContainerPhase = { phase: 'stopping', id: 'a', startedAt: 0, deadline: NOW + 30_000 }

function exited(exitCode: number, finishedAt = NOW): ContainerPhase {
  return { phase: 'exited', ending: { id: 'a', exitCode, reason: 'Error', startedAt: finishedAt - 1, finishedAt } }
}

function one(state: ContainerPhase, more: Partial<ContainerView> = {}): ContainerView {
  return { name: 'app', role: 'main', restartPolicy: 'Always', crashes: 0, state, ...more }
}

function pod(containers: readonly ContainerView[], more: Partial<PodView> = {}): PodView {
  return { sandbox: 'ready', containers, ...more }
}

const waiting: ContainerPhase = { phase: 'waiting' }
const init = { name: 'init', role: 'init', restartPolicy: 'OnFailure' } as const
const sidecar = { name: 'side', role: 'sidecar' } as const
const deletion = { deadline: NOW + 5000 }
const stop = { do: 'stop', container: 'app', deadline: deletion.deadline, why: 'it is being deleted' } as const

const cases: readonly { name: string; view: PodView; steps: readonly Step[] }[] = [
  {
    name: 'starts a container again whose rules say so, whatever its policy',
    view: pod([one(exited(42), { restartPolicy: 'Never', restartRules: [{ operator: 'In', values: [42] }] })]),
    steps: [{ do: 'start', container: 'app' }],
  },
  {
    name: 'goes by the policy where no rule matches',
    view: pod([one(exited(42), { restartPolicy: 'Never', restartRules: [{ operator: 'NotIn', values: [42] }] })]),
    steps: [{ do: 'finish', phase: 'Failed' }],
  },
  {
    name: 'stops sidecars one by one, the last first, when all others have ended',
    view: pod([one(running, sidecar), one(running, { ...sidecar, name: 'later' }), one(exited(0))], { deletion }),
    steps: [{ ...stop, container: 'later' }],
  },
  {
    name: 'stops sidecars of a pod that has ended one by one',
    view: pod([one(running, sidecar), one(running, { ...sidecar, name: 'later' }), one(exited(0))], {
      finished: 'Succeeded',
    }),
    steps: [{ do: 'stop', container: 'later', deadline: undefined, why: 'its pod has ended' }],
  },
  {
    name: 'prepares the sandbox of a new pod',
    view: pod([one(waiting)], { sandbox: 'absent' }),
    steps: [{ do: 'prepare' }],
  },
  { name: 'waits for the sandbox', view: pod([one(waiting)], { sandbox: 'preparing' }), steps: [] },
  {
    name: 'waits before it tries a failed sandbox again',
    view: pod([one(waiting)], { sandbox: { retryAt: NOW + 1 } }),
    steps: [{ do: 'wait', until: NOW + 1 }],
  },
  {
    name: 'starts all main containers at once',
    view: pod([one(waiting), one(waiting, { name: 'two' })]),
    steps: [
      { do: 'start', container: 'app' },
      { do: 'start', container: 'two' },
    ],
  },
  {
    name: 'starts an init container before the others',
    view: pod([one(waiting, init), one(waiting)]),
    steps: [{ do: 'start', container: 'init' }],
  },
  { name: 'waits for a running init container', view: pod([one(running, init), one(waiting)]), steps: [] },
  {
    name: 'goes on after an init container that has succeeded',
    view: pod([one(exited(0), init), one(waiting)]),
    steps: [{ do: 'start', container: 'app' }],
  },
  {
    name: 'starts a failed init container again',
    view: pod([one(exited(1), init), one(waiting)]),
    steps: [{ do: 'start', container: 'init' }],
  },
  {
    name: 'ends the pod when an init container fails that may not be started again',
    view: pod([one(exited(1), { ...init, restartPolicy: 'Never' }), one(waiting)]),
    steps: [{ do: 'finish', phase: 'Failed' }],
  },
  {
    name: 'waits until a sidecar has started before it starts the main containers',
    view: pod([one({ ...running, started: false }, sidecar), one(waiting)]),
    steps: [],
  },
  {
    name: 'starts a crashed sidecar again beside running main containers',
    view: pod([one(exited(1), { ...sidecar, crashes: 1 }), one(running)]),
    steps: [{ do: 'start', container: 'side' }],
  },
  {
    name: 'restarts at once after the first crash',
    view: pod([one(exited(1), { crashes: 1 })]),
    steps: [{ do: 'start', container: 'app' }],
  },
  {
    name: 'backs off after the second crash',
    view: pod([one(exited(1), { crashes: 2 })]),
    steps: [{ do: 'wait', until: NOW + 10_000 }],
  },
  {
    name: 'restarts when the back-off is over',
    view: pod([one(exited(1, NOW - 10_000), { crashes: 2 })]),
    steps: [{ do: 'start', container: 'app' }],
  },
  {
    name: 'does not wait for a time that was noted before the clock was set back',
    view: pod([
      one(exited(1, NOW + 3_600_000), { crashes: 2 }),
      one({ phase: 'failed', reason: 'x', message: '', retryAt: NOW + 3_600_000 }, { name: 'two' }),
    ]),
    steps: [
      { do: 'start', container: 'app' },
      { do: 'start', container: 'two' },
    ],
  },
  {
    name: 'tries a sandbox again that failed before the clock was set back',
    view: pod([one(waiting)], { sandbox: { retryAt: NOW + 3_600_000 } }),
    steps: [{ do: 'prepare' }],
  },
  {
    name: 'restarts a container that ended well under the policy Always',
    view: pod([one(exited(0), { crashes: 1 })]),
    steps: [{ do: 'start', container: 'app' }],
  },
  {
    name: 'tries a container that could not be started again in its time',
    view: pod([one({ phase: 'failed', reason: 'ErrImagePull', message: '', retryAt: NOW + 5 })]),
    steps: [{ do: 'wait', until: NOW + 5 }],
  },
  {
    name: 'ends a pod whose containers have all succeeded',
    view: pod([one(exited(0), { restartPolicy: 'OnFailure' })]),
    steps: [{ do: 'finish', phase: 'Succeeded' }],
  },
  {
    name: 'ends a pod as failed when one container has failed for good',
    view: pod([one(exited(0), { restartPolicy: 'Never' }), one(exited(3), { name: 'two', restartPolicy: 'Never' })]),
    steps: [{ do: 'finish', phase: 'Failed' }],
  },
  {
    name: 'does not end a pod of which a container still runs',
    view: pod([one(exited(3), { restartPolicy: 'Never' }), one(running, { name: 'two', restartPolicy: 'Never' })]),
    steps: [],
  },
  {
    name: 'stops what still runs of an ended pod, such as a sidecar',
    view: pod([one(running, sidecar), one(exited(0))], { finished: 'Succeeded' }),
    steps: [{ do: 'stop', container: 'side', deadline: undefined, why: 'its pod has ended' }],
  },
  {
    name: 'removes the sandbox of an ended pod',
    view: pod([one(exited(0))], { finished: 'Succeeded' }),
    steps: [{ do: 'remove' }],
  },
  { name: 'keeps an ended pod', view: pod([one(exited(0))], { finished: 'Failed', sandbox: 'absent' }), steps: [] },
  { name: 'stops a pod that is being deleted', view: pod([one(running)], { deletion }), steps: [stop] },
  { name: 'does not stop twice', view: pod([one(stopping)], { deletion: { deadline: NOW + 30_000 } }), steps: [] },
  { name: 'hurries when the deadline moves closer', view: pod([one(stopping)], { deletion }), steps: [stop] },
  { name: 'lets a start come to its end first', view: pod([one({ phase: 'starting' })], { deletion }), steps: [] },
  {
    name: 'stops sidecars after main containers',
    view: pod([one(running, sidecar), one(running)], { deletion }),
    steps: [stop],
  },
  {
    name: 'stops sidecars when main containers have ended',
    view: pod([one(running, sidecar), one(exited(0))], { deletion }),
    steps: [{ ...stop, container: 'side' }],
  },
  {
    name: 'starts nothing in a pod that is being deleted',
    view: pod([one(exited(1), { crashes: 1 })], { deletion }),
    steps: [{ do: 'remove' }],
  },
  {
    name: 'reports a deleted pod of which nothing is left',
    view: pod([one(exited(0))], { deletion, sandbox: 'absent' }),
    steps: [{ do: 'forget' }],
  },
  {
    name: 'keeps the object of a pod that is stopped with the cluster',
    view: pod([one(exited(0))], { leaving: deletion, sandbox: 'absent' }),
    steps: [],
  },
  {
    name: 'clears away, when the cluster is stopped, a place that could not be made',
    view: pod([one({ phase: 'waiting' })], { leaving: deletion, sandbox: { retryAt: NOW } }),
    steps: [{ do: 'remove' }],
  },
  {
    name: 'replaces a container that is not what the pod asks for',
    view: pod([one({ ...running, outdated: 'changed' })]),
    steps: [{ do: 'stop', container: 'app', why: 'changed' }],
  },
  {
    name: 'ends a pod at its active deadline',
    view: pod([one(running)], { activeDeadline: NOW }),
    steps: [
      {
        do: 'finish',
        phase: 'Failed',
        reason: 'DeadlineExceeded',
        message: 'Pod was active on the node longer than the specified deadline',
      },
    ],
  },
]

describe('decide', () => {
  for (const { name, view, steps } of cases) it(name, () => assert.deepEqual(decide(view, NOW), steps))
})

describe('crashBackoffMs', () => {
  it('is nothing once, then 10 s doubled up to 5 min', () => {
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6, 7, 50].map(crashBackoffMs),
      [0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000],
    )
  })
})
