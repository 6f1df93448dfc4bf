import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { ContainerState, ContainerStatus, Pod } from '@fairlead/kube/types/core-v1'

import { summarisePod } from './pod-status.ts'

const now = Date.parse('2026-01-01T01:00:00Z')

function status(state: ContainerState, more: Partial<ContainerStatus> = {}): ContainerStatus {
  return { name: 'web', image: 'web:1', imageID: '', ready: false, restartCount: 0, state, ...more }
}

function pod(part: { status?: Pod['status']; spec?: Partial<Pod['spec']>; metadata?: Pod['metadata'] }): Pod {
  return {
    metadata: { name: 'web', ...part.metadata },
    spec: { containers: [{ name: 'web' }], ...part.spec },
    status: { phase: 'Running', ...part.status },
  }
}

const init = { initContainers: [{ name: 'first' }, { name: 'second' }] }
const running = { running: { startedAt: '2026-01-01T00:00:00Z' } }
const ended = (exitCode: number, reason?: string): ContainerState => ({ terminated: { exitCode, reason } })
const crashed = { terminated: { exitCode: 1, finishedAt: '2026-01-01T00:55:00Z' } }

const cases: { name: string; pod: Pod; ready: string; status: string; restarts: string }[] = [
  {
    name: 'pending, nothing known',
    pod: pod({ status: { phase: 'Pending' } }),
    ready: '0/1',
    status: 'Pending',
    restarts: '0',
  },
  {
    name: 'creating',
    pod: pod({
      status: { phase: 'Pending', containerStatuses: [status({ waiting: { reason: 'ContainerCreating' } })] },
    }),
    ready: '0/1',
    status: 'ContainerCreating',
    restarts: '0',
  },
  {
    name: 'running and ready',
    pod: pod({ status: { containerStatuses: [status(running, { ready: true })] } }),
    ready: '1/1',
    status: 'Running',
    restarts: '0',
  },
  {
    name: 'crash loop, with the age of the last restart',
    pod: pod({
      status: {
        containerStatuses: [
          status({ waiting: { reason: 'CrashLoopBackOff' } }, { restartCount: 3, lastState: crashed }),
        ],
      },
    }),
    ready: '0/1',
    status: 'CrashLoopBackOff',
    restarts: '3 (5m ago)',
  },
  {
    name: 'completed',
    pod: pod({ status: { phase: 'Succeeded', containerStatuses: [status(ended(0, 'Completed'))] } }),
    ready: '0/1',
    status: 'Completed',
    restarts: '0',
  },
  {
    name: 'failed without a reason',
    pod: pod({ status: { phase: 'Failed', containerStatuses: [status(ended(3))] } }),
    ready: '0/1',
    status: 'ExitCode:3',
    restarts: '0',
  },
  {
    name: 'one of two ended',
    pod: pod({
      spec: { containers: [{ name: 'web' }, { name: 'log' }] },
      status: {
        conditions: [{ type: 'Ready', status: 'True' }],
        containerStatuses: [status(ended(0, 'Completed')), status(running, { name: 'log', ready: true })],
      },
    }),
    ready: '1/2',
    status: 'Running',
    restarts: '0',
  },
  {
    name: 'first init container running',
    pod: pod({
      spec: init,
      status: { phase: 'Pending', initContainerStatuses: [status(running), status({ waiting: {} })] },
    }),
    ready: '0/1',
    status: 'Init:0/2',
    restarts: '0',
  },
  {
    name: 'second init container failing',
    pod: pod({
      spec: init,
      status: {
        phase: 'Pending',
        initContainerStatuses: [
          status(ended(0)),
          status({ waiting: { reason: 'CrashLoopBackOff' } }, { restartCount: 2 }),
        ],
      },
    }),
    ready: '0/1',
    status: 'Init:CrashLoopBackOff',
    restarts: '2',
  },
  {
    name: 'init container ended with an error',
    pod: pod({ spec: init, status: { phase: 'Pending', initContainerStatuses: [status(ended(1, 'Error'))] } }),
    ready: '0/1',
    status: 'Init:Error',
    restarts: '0',
  },
  {
    name: 'sidecar counts as container',
    pod: pod({
      spec: { initContainers: [{ name: 'proxy', restartPolicy: 'Always' }] },
      status: {
        initContainerStatuses: [status(running, { name: 'proxy', started: true, ready: true })],
        containerStatuses: [status(running, { ready: true })],
      },
    }),
    ready: '2/2',
    status: 'Running',
    restarts: '0',
  },
  {
    name: 'being deleted',
    pod: pod({
      metadata: { deletionTimestamp: '2026-01-01T00:59:00Z' },
      status: { containerStatuses: [status(running, { ready: true })] },
    }),
    ready: '1/1',
    status: 'Terminating',
    restarts: '0',
  },
  {
    name: 'evicted: the reason of the pod counts',
    pod: pod({ status: { phase: 'Failed', reason: 'Evicted' } }),
    ready: '0/1',
    status: 'Evicted',
    restarts: '0',
  },
]

describe('summarisePod', () => {
  for (const { name, pod: given, ...expected } of cases) {
    it(name, () => assert.deepEqual(summarisePod(given, now), expected))
  }
})
