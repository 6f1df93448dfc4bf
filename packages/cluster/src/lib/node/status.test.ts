import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { applyStrategicMergePatch } from '@fairlead/kube/patch'
import type { Pod, PodStatus } from '@fairlead/kube/types/core-v1'

import type { ContainerPhase, ContainerView, PodView } from './decide.ts'
import { qosClassOf } from './pod.ts'
import { phaseOf, renderStatus, renderStatusPatch } from './status.ts'

const running: ContainerPhase = { phase: 'running', id: 'b', startedAt: 5000, started: true, ready: true }

function exited(exitCode: number): ContainerPhase {
  return { phase: 'exited', ending: { id: 'a', exitCode, reason: 'Error', startedAt: 1000, finishedAt: 2000 } }
}

function view(state: ContainerPhase, more: Partial<ContainerView> = {}): ContainerView {
  return { name: 'app', role: 'main', restartPolicy: 'Always', crashes: 0, state, ...more }
}

function render(containers: ContainerView[], more: Partial<PodView> = {}, pod: Pod = {}): PodStatus {
  return renderStatus(
    { sandbox: 'ready', containers, ...more },
    {
      pod: { metadata: { name: 'web', namespace: 'shop', uid: 'u' }, ...pod },
      hostIp: '10.0.0.1',
      podIp: '10.0.0.2',
      startTime: 0,
      runtime: 'runc',
      containers: new Map([['app', { image: 'i', imageId: 'i@d', containerId: 'b', restarts: 3 }]]),
    },
    10_000,
  )
}

const condition = (status: PodStatus, type: string): string =>
  [status.conditions?.find((one) => one.type === type)].map((one) => `${one?.status} ${one?.reason ?? ''}`.trim())[0] ??
  ''

describe('phaseOf', () => {
  const cases: readonly { name: string; pod: PodView; phase: string }[] = [
    {
      name: 'Pending while a container has never run',
      pod: { sandbox: 'ready', containers: [view(running), view({ phase: 'starting' })] },
      phase: 'Pending',
    },
    {
      name: 'Running while one is restarted',
      pod: { sandbox: 'ready', containers: [view({ phase: 'starting' }, { crashes: 1 })] },
      phase: 'Running',
    },
    {
      name: 'Running in a crash loop',
      pod: { sandbox: 'ready', containers: [view(exited(1), { crashes: 4 })] },
      phase: 'Running',
    },
    {
      name: 'what it ended as',
      pod: { sandbox: 'absent', containers: [view(exited(0))], finished: 'Succeeded' },
      phase: 'Succeeded',
    },
    {
      name: 'Running while sidecars of one that has ended still stop',
      pod: {
        sandbox: 'ready',
        containers: [view(exited(0)), view(running, { name: 'proxy', role: 'sidecar' })],
        finished: 'Succeeded',
      },
      phase: 'Running',
    },
    {
      name: 'Running while a deleted pod still stops',
      pod: { sandbox: 'ready', containers: [view(running)], deletion: { deadline: 9 } },
      phase: 'Running',
    },
    {
      name: 'Failed once a deleted pod has been stopped',
      pod: { sandbox: 'ready', containers: [view(exited(137)), view(exited(0))], deletion: { deadline: 9 } },
      phase: 'Failed',
    },
    {
      name: 'Succeeded when a deleted pod ended well',
      pod: { sandbox: 'ready', containers: [view(exited(0))], deletion: { deadline: 9 } },
      phase: 'Succeeded',
    },
  ]
  for (const { name, pod, phase } of cases) it(`is ${name}`, () => assert.equal(phaseOf(pod), phase))
})

describe('renderStatus', () => {
  it('shows a running, ready container', () => {
    const status = render([view(running)])
    assert.deepEqual(status.containerStatuses, [
      {
        name: 'app',
        image: 'i',
        imageID: 'i@d',
        containerID: 'runc://b',
        restartCount: 3,
        ready: true,
        started: true,
        state: { running: { startedAt: '1970-01-01T00:00:05Z' } },
        lastState: {},
      },
    ])
    assert.equal(condition(status, 'Ready'), 'True')
    assert.deepEqual(status.podIPs, [{ ip: '10.0.0.2' }])
  })

  it('shows a crash loop with its last end', () => {
    const status = render([view(exited(1), { crashes: 2 })]).containerStatuses?.[0]
    assert.equal(status?.state?.waiting?.reason, 'CrashLoopBackOff')
    assert.match(
      status.state?.waiting?.message ?? '',
      /^back-off 10s restarting failed container=app pod=web_shop\(u\)$/,
    )
    assert.equal(status.lastState?.terminated?.exitCode, 1)
  })

  it('shows of a container that waits to be made again what it was before', () => {
    const ended = exited(1) as Extract<ContainerPhase, { phase: 'exited' }>
    const starting: ContainerPhase = { phase: 'starting', after: ended }
    for (const crashes of [1, 2]) {
      const statusesOf = (state: ContainerPhase): PodStatus['containerStatuses'] =>
        render([view(state, { crashes })]).containerStatuses
      assert.deepEqual(statusesOf(starting), statusesOf(ended))
    }
    const failed = { phase: 'failed', reason: 'ErrImagePull', message: 'no', retryAt: 9 } as const
    const retried = render([view({ phase: 'starting', after: failed })]).containerStatuses?.[0]
    assert.equal(retried?.state?.waiting?.reason, 'ErrImagePull')
    const made = render([view({ phase: 'starting' }, { crashes: 2 })]).containerStatuses?.[0]
    assert.equal(made?.state?.waiting?.reason, 'ContainerCreating')
  })

  it('shows where volumes are, and how far down they are read-only', () => {
    const volumeMounts = [
      { name: 'data', mountPath: '/data' },
      { name: 'flat', mountPath: '/flat', readOnly: true },
      { name: 'deep', mountPath: '/deep', readOnly: true, recursiveReadOnly: 'IfPossible' },
    ]
    const status = render([view(running)], {}, { spec: { containers: [{ name: 'app', volumeMounts }] } })
    assert.deepEqual(status.containerStatuses?.[0]?.volumeMounts, [
      { name: 'data', mountPath: '/data' },
      { name: 'flat', mountPath: '/flat', readOnly: true, recursiveReadOnly: 'Disabled' },
      { name: 'deep', mountPath: '/deep', readOnly: true, recursiveReadOnly: 'Enabled' },
    ])
  })

  it('shows what a pod waits for', () => {
    const init = view({ phase: 'starting' }, { name: 'init', role: 'init' })
    const status = render([init, view({ phase: 'waiting' })])
    assert.equal(status.containerStatuses?.[0]?.state?.waiting?.reason, 'PodInitializing')
    assert.equal(status.initContainerStatuses?.[0]?.state?.waiting?.reason, 'PodInitializing')
    assert.equal(condition(status, 'Initialized'), 'False ContainersNotInitialized')
    assert.equal(condition(status, 'Ready'), 'False ContainersNotReady')
  })

  it('names the init containers that have not succeeded, ended or not', () => {
    const ended = (exitCode: number, name: string): ContainerView =>
      view(
        { phase: 'exited', ending: { id: 'i', exitCode, reason: 'x', startedAt: 0, finishedAt: 1 } },
        { name, role: 'init', restartPolicy: 'Never' },
      )
    const status = render([ended(0, 'one'), ended(1, 'two'), view({ phase: 'waiting' })], { finished: 'Failed' })
    const initialized = status.conditions?.find(({ type }) => type === 'Initialized')
    assert.equal(initialized?.message, 'containers with incomplete status: [two]')
  })

  it('is not ready before its readiness gates are open', () => {
    const spec = { containers: [], readinessGates: [{ conditionType: 'lb' }] }
    assert.equal(condition(render([view(running)], {}, { spec }), 'Ready'), 'False ReadinessGatesNotReady')
    const open = { conditions: [{ type: 'lb', status: 'True' }] }
    assert.equal(condition(render([view(running)], {}, { spec, status: open }), 'Ready'), 'True')
  })
})

describe('renderStatusPatch', () => {
  it('takes words of an earlier state away', () => {
    const before: PodStatus = { phase: 'Pending', message: 'old' }
    const patch = renderStatusPatch({ metadata: { uid: 'u' } }, before, {
      phase: 'Running',
      conditions: [{ type: 'Ready', status: 'True' }],
    })
    assert.deepEqual(patch, {
      metadata: { uid: 'u' },
      status: {
        phase: 'Running',
        conditions: [{ reason: null, message: null, type: 'Ready', status: 'True' }],
        message: null,
      },
    })
  })

  it('puts the addresses of a sandbox in the place of those of the one before', () => {
    const before: PodStatus = { podIPs: [{ ip: '10.0.0.2' }], hostIPs: [{ ip: '10.0.0.1' }] }
    const next: PodStatus = { podIPs: [{ ip: '10.0.0.3' }], hostIPs: [{ ip: '10.0.1.1' }] }
    const patch = renderStatusPatch({}, before, next)
    const merged = applyStrategicMergePatch({ status: before }, patch, 'io.k8s.api.core.v1.Pod') as Pod
    assert.deepEqual(merged.status, next)
  })
})

describe('qosClassOf', () => {
  const limits = { cpu: '1', memory: '1Gi' }
  const cases: readonly { name: string; resources: object; qos: string }[] = [
    { name: 'nothing asked for', resources: {}, qos: 'BestEffort' },
    { name: 'limits for all', resources: { limits }, qos: 'Guaranteed' },
    { name: 'less requested than the limit', resources: { limits, requests: { cpu: '500m' } }, qos: 'Burstable' },
    { name: 'memory only', resources: { requests: { memory: '1Gi' } }, qos: 'Burstable' },
  ]
  for (const { name, resources, qos } of cases) {
    it(`${name} is ${qos}`, () => assert.equal(qosClassOf({ spec: { containers: [{ name: 'a', resources }] } }), qos))
  }
})
