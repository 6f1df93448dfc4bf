import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Container, Pod, ResourceRequirements } from '@fairlead/kube/types/core-v1'

import { Grants } from './grants.ts'
import { changeOf, judgeResize, resizeConditions, withAllocation } from './resize.ts'
import { podLimits, requestsOf } from './resources.ts'

const GI = 2 ** 30

function asking(cpu: string, memory = '1Gi'): ResourceRequirements {
  return { requests: { cpu, memory }, limits: { cpu, memory } }
}

function pod(resources: ResourceRequirements, more: Partial<NonNullable<Pod['spec']>> = {}): Pod {
  return { metadata: { uid: 'u' }, spec: { containers: [{ name: 'main', resources }], ...more } }
}

describe('requestsOf', () => {
  const init = (cpu: string, restartPolicy?: 'Always'): Container => ({
    name: `i${cpu}`,
    resources: { requests: { cpu } },
    ...(restartPolicy === undefined ? {} : { restartPolicy }),
  })
  const cases: readonly { name: string; initContainers: Container[]; cpu: number }[] = [
    { name: 'is that of the main containers', initContainers: [], cpu: 1 },
    { name: 'is the largest init container where that is more', initContainers: [init('3'), init('2')], cpu: 3 },
    { name: 'adds sidecars to the main containers', initContainers: [init('2', 'Always')], cpu: 3 },
    { name: 'adds sidecars to init containers after them', initContainers: [init('2', 'Always'), init('4')], cpu: 6 },
  ]
  for (const { name, initContainers, cpu } of cases) {
    it(name, () => assert.equal(requestsOf(pod(asking('1'), { initContainers })).cpu, cpu))
  }

  it('is what the pod asks for as a whole, where it does', () => {
    assert.equal(requestsOf(pod(asking('1'), { resources: { requests: { cpu: '5' } } })).cpu, 5)
  })
})

describe('podLimits', () => {
  it('limits a pod whose containers are all limited', () => {
    assert.deepEqual(podLimits(pod(asking('2'))), { cpuShares: 2048, cpuLimit: 2, memoryBytes: GI })
  })

  it('does not limit one with a container that is not', () => {
    const containers = [{ name: 'a', resources: asking('1') }, { name: 'b' }]
    assert.deepEqual(podLimits(pod({}, { containers })), { cpuShares: 1024 })
  })

  it('limits by the pod as a whole', () => {
    assert.deepEqual(podLimits(pod({}, { resources: { limits: { cpu: '500m' }, requests: { cpu: '250m' } } })), {
      cpuShares: 256,
      cpuLimit: 0.5,
    })
  })
})

describe('judgeResize', () => {
  const node = { capacity: { cpu: 4, memory: 8 * GI }, used: { cpu: 2, memory: 0 } }
  const cases: readonly { name: string; wanted: string; granted: string; reason: string | undefined }[] = [
    { name: 'grants what is free', wanted: '2', granted: '1', reason: undefined },
    { name: 'defers what others use', wanted: '3', granted: '1', reason: 'Deferred' },
    { name: 'grants less on a node that is too full', wanted: '3', granted: '3500m', reason: undefined },
    { name: 'refuses what the node never has', wanted: '5', granted: '1', reason: 'Infeasible' },
  ]
  for (const { name, wanted, granted, reason } of cases) {
    it(name, () => assert.equal(judgeResize(pod(asking(wanted)), pod(asking(granted)), node)?.reason, reason))
  }

  it('says what is missing as upstream does', () => {
    const refusal = judgeResize(pod(asking('3')), pod(asking('1')), node)
    assert.equal(refusal?.message, `Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000`)
  })
})

describe('changeOf', () => {
  const container: Container = {
    name: 'main',
    resizePolicy: [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }],
  }
  const cases: readonly { name: string; to: ResourceRequirements; change: string }[] = [
    { name: 'sees that the same in other words is no change', to: asking('1000m', '1024Mi'), change: 'none' },
    { name: 'updates where the policy says nothing', to: asking('2'), change: 'update' },
    { name: 'restarts where the policy says so', to: asking('1', '2Gi'), change: 'restart' },
    { name: 'restarts when one of two changes wants it', to: asking('2', '2Gi'), change: 'restart' },
  ]
  for (const { name, to, change } of cases) {
    it(name, () => assert.equal(changeOf(container, asking('1'), to), change))
  }
})

describe('withAllocation', () => {
  it('puts what was granted in place of what is asked for, and leaves a pod alone that has what it wants', () => {
    const wanted = pod(asking('2'))
    assert.deepEqual(withAllocation(wanted, { containers: { main: asking('1') } }), {
      ...pod(asking('1'), { resources: undefined }),
    })
    assert.equal(withAllocation(wanted, { containers: { main: asking('2000m') } }), wanted)
  })
})

describe('resizeConditions', () => {
  it('shows what is pending and what is under way side by side', () => {
    const pending = { reason: 'Deferred', message: 'full', generation: 3 } as const
    const conditions = resizeConditions({ pending, inProgress: { generation: 2, error: 'busy' } })
    assert.deepEqual(conditions, [
      { type: 'PodResizePending', status: 'True', reason: 'Deferred', message: 'full', observedGeneration: 3 },
      { type: 'PodResizeInProgress', status: 'True', reason: 'Error', message: 'busy', observedGeneration: 2 },
    ])
  })
})

describe('Grants', () => {
  it('tells who waits for room when a pod takes less or goes, and not when it takes more', () => {
    const grants = new Grants()
    const told: string[] = []
    const set = (uid: string, cpu: number): void => grants.set(uid, { cpu, memory: 0, qosClass: 'Burstable' })
    set('a', 1)
    set('b', 2)
    assert.deepEqual(grants.besides('a'), { cpu: 2, memory: 0 })
    grants.waitForRoom('a', () => void told.push('a'))
    set('b', 3)
    assert.equal(told.length, 0)
    set('b', 1)
    assert.deepEqual(told, ['a'])
    grants.waitForRoom('a', () => void told.push('again'))
    grants.delete('b')
    assert.deepEqual(told, ['a', 'again'])
    assert.deepEqual(grants.ofClass('Burstable'), { cpu: 1, memory: 0 })
  })
})
