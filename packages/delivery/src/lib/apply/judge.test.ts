import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Deployment } from '@fairlead/kube/types/apps-v1'
import type { ContainerState, ContainerStatus, Pod, Service } from '@fairlead/kube/types/core-v1'
import { isHopeless, judge, judgeStart, type Judgement } from './judge.ts'

const now = Date.parse('2026-01-01T00:01:00Z')

function deployment(status: Deployment['status'], generation = 2): Deployment {
  return { metadata: { name: 'web', generation }, spec: specOf(2), status: { observedGeneration: 2, ...status } }
}

function specOf(replicas: number): NonNullable<Deployment['spec']> {
  return { replicas, selector: {}, template: {} }
}

function container(state: ContainerState, rest: Partial<ContainerStatus> = {}): Pod {
  const status = { name: 'web', image: 'web:1', imageID: '', ready: false, restartCount: 0, state, ...rest }
  const conditions = [{ type: 'PodScheduled', status: 'True' }]
  return { metadata: { name: 'web-1' }, status: { conditions, containerStatuses: [status] } }
}

function unschedulable(lastTransitionTime: string): Pod {
  const condition = {
    type: 'PodScheduled',
    status: 'False',
    reason: 'Unschedulable',
    message: '0/1 nodes: cpu',
    lastTransitionTime,
  }
  return { metadata: { name: 'web-1' }, status: { conditions: [condition] } }
}

function loadBalancer(ip?: string, port = 80): Service {
  return {
    spec: { type: 'LoadBalancer', ports: [{ port }] },
    status: { loadBalancer: ip === undefined ? {} : { ingress: [{ ip }] } },
  }
}

const rolledOut = deployment({ replicas: 2, updatedReplicas: 2, availableReplicas: 2 })
const starting = deployment({ replicas: 1, updatedReplicas: 1, availableReplicas: 0 })

function judgePods(...pods: Pod[]): Judgement {
  return judge({ service: 'web', workload: starting, pods }, 2, now)
}

function reasonOf(judgement: Judgement): string {
  return judgement.phase === 'failed' || judgement.phase === 'crashing' ? judgement.fault.reason : judgement.phase
}

describe('judge', () => {
  const waits = [
    { name: 'the Deployment to appear', deployment: undefined },
    { name: 'the watch to show the applied generation', deployment: deployment(rolledOut.status, 1) },
    {
      name: 'the controller to see the newest generation',
      deployment: deployment({ ...rolledOut.status, observedGeneration: 1 }),
    },
    { name: 'updated pods', deployment: deployment({ replicas: 2, updatedReplicas: 1, availableReplicas: 2 }) },
    { name: 'old pods to go', deployment: deployment({ replicas: 3, updatedReplicas: 2, availableReplicas: 3 }) },
    { name: 'available pods', deployment: deployment({ replicas: 2, updatedReplicas: 2, availableReplicas: 1 }) },
  ]
  for (const { name, deployment: observed } of waits) {
    it(`waits for ${name}`, () => {
      assert.equal(judge({ service: 'web', workload: observed, pods: [] }, 2, now).phase, 'waiting')
    })
  }

  it('is ready when rolled out', () => {
    assert.deepEqual(judge({ service: 'web', workload: rolledOut, pods: [] }, 2, now), {
      phase: 'ready',
      address: undefined,
    })
  })

  const addresses = [
    { name: 'leaves port 80 out', service: loadBalancer('10.0.0.1'), expected: 'http://10.0.0.1' },
    { name: 'names another port', service: loadBalancer('127.0.0.1', 8080), expected: 'http://127.0.0.1:8080' },
    { name: 'puts an IPv6 address into brackets', service: loadBalancer('::1', 8080), expected: 'http://[::1]:8080' },
  ]
  for (const { name, service, expected } of addresses) {
    it(`tells the address of a public service, and ${name}`, () => {
      const observed = { service: 'web', workload: rolledOut, pods: [], publicService: service }
      assert.deepEqual(judge(observed, 2, now), { phase: 'ready', address: expected })
    })
  }

  it('waits for the address of a public service', () => {
    const observed = { service: 'web', workload: rolledOut, pods: [], publicService: loadBalancer() }
    assert.equal(judge(observed, 2, now).phase, 'unaddressed')
  })

  it('allows a first crash', () => {
    assert.equal(judgePods(container({ terminated: { exitCode: 1 } })).phase, 'waiting')
    assert.equal(judgePods(container({ running: {} }, { restartCount: 1 })).phase, 'waiting')
  })

  const exited = { terminated: { exitCode: 3 } }
  const crashes = [
    { name: 'ended again', pod: container(exited, { restartCount: 1 }), count: 2 },
    {
      name: 'waits to be started again',
      pod: container({ waiting: { reason: 'CrashLoopBackOff' } }, { restartCount: 1, lastState: exited }),
      count: 2,
    },
    {
      name: 'runs for the third time',
      pod: container({ running: {} }, { restartCount: 2, lastState: exited }),
      count: 2,
    },
  ]
  for (const { name, pod, count } of crashes) {
    it(`counts the crashes of a container that ${name}`, () => {
      assert.equal(reasonOf(judgePods(pod)), `crashed ${count} times, last with exit code 3`)
    })
  }

  it('does not hold crashes from before against it, as after a cluster was stopped and started', () => {
    const earlierCrashes = new Map([['undefined/web', 2]])
    const judgeAgain = (pod: Pod): Judgement =>
      judge({ service: 'web', workload: starting, pods: [pod], earlierCrashes }, 2, now)
    assert.equal(judgeAgain(container(exited, { restartCount: 1 })).phase, 'waiting')
    assert.equal(judgeAgain(container({ running: {} }, { restartCount: 2 })).phase, 'waiting')
    assert.equal(reasonOf(judgeAgain(container(exited, { restartCount: 3 }))), 'crashed 2 times, last with exit code 3')
  })

  it('tells lack of memory apart from other crashes', () => {
    const killed = { terminated: { exitCode: 137, reason: 'OOMKilled' } }
    const judgement = judgePods(container(killed, { restartCount: 1 }))
    assert.equal(reasonOf(judgement), 'was killed 2 times because it needed more memory than its limit')
  })

  const faults = [
    {
      waiting: { reason: 'ErrImagePull', message: 'manifest unknown' },
      expected: 'its image cannot be pulled: manifest unknown',
    },
    { waiting: { reason: 'ImagePullBackOff' }, expected: 'its image cannot be pulled: image "web:1"' },
    {
      waiting: { reason: 'CreateContainerConfigError', message: 'secret "db" not found' },
      expected: 'its container cannot be configured: secret "db" not found',
    },
  ]
  for (const { waiting, expected } of faults) {
    it(`fails at once for ${waiting.reason}`, () => {
      const judgement = judgePods(container({ waiting }))
      assert.equal(judgement.phase, 'failed')
      assert.equal(reasonOf(judgement), expected)
    })
  }

  it('is patient with an unschedulable pod, for a while', () => {
    assert.equal(judgePods(unschedulable('2026-01-01T00:00:55Z')).phase, 'waiting')
    const judgement = judgePods(unschedulable('2026-01-01T00:00:45Z'))
    assert.equal(reasonOf(judgement), 'no node can take its pod: 0/1 nodes: cpu')
  })

  it('fails when the cluster refuses pods', () => {
    const conditions = [{ type: 'ReplicaFailure', status: 'True', message: 'exceeded quota' }]
    const judgement = judge({ service: 'web', workload: deployment({ conditions }), pods: [] }, 2, now)
    assert.equal(reasonOf(judgement), 'its pods are refused: exceeded quota')
  })

  it('tells that programs were started, though they are not ready', () => {
    const started = (...pods: Pod[]): string =>
      judgeStart({ service: 'web', workload: deployment({ replicas: 2, updatedReplicas: 2 }), pods }, 2, now).phase
    const running = container({ running: {} })
    const created = container({ waiting: { reason: 'ContainerCreating' } })
    assert.equal(started(running, running), 'ready')
    assert.equal(started(running), 'waiting')
    assert.equal(started(running, created), 'waiting')
    assert.equal(started(running, container({ waiting: { reason: 'ErrImagePull' } })), 'failed')
    const crash = container({ waiting: { reason: 'CrashLoopBackOff' } }, { lastState: { terminated: { exitCode: 1 } } })
    assert.equal(started(running, crash), 'ready')
  })

  it('says what it waits for', () => {
    const judgement = judgePods(container({ waiting: { reason: 'ContainerCreating' } }))
    assert.deepEqual(judgement, { phase: 'waiting', detail: '0 of 2 pods ready, creating containers' })
  })
})

describe('isHopeless', () => {
  const fault = { reason: '', hint: '' }
  const ready: Judgement = { phase: 'ready', address: undefined }
  const waiting: Judgement = { phase: 'waiting', detail: '' }
  const crashing = (count: number): Judgement => ({ phase: 'crashing', crashes: count, fault })
  const cases: { name: string; judgements: Judgement[]; expected: boolean }[] = [
    { name: 'no while services start', judgements: [ready, waiting], expected: false },
    { name: 'yes when one failed', judgements: [waiting, { phase: 'failed', fault }], expected: true },
    {
      name: 'yes when one crashes and no other may be what it waits for',
      judgements: [ready, crashing(2)],
      expected: true,
    },
    { name: 'no when one crashes while another still starts', judgements: [waiting, crashing(2)], expected: false },
    { name: 'yes when one goes on crashing', judgements: [waiting, crashing(3)], expected: true },
  ]
  for (const { name, judgements, expected } of cases) it(name, () => assert.equal(isHopeless(judgements), expected))
})
