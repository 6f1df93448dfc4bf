import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { describe, it } from 'node:test'

import type { Clock } from '@fairlead/kube/controller'
import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { SchedulingQueue } from './scheduling-queue.ts'

/** Time that passes when told to. */
function createTestClock(): Clock & { pass: (ms: number) => void } {
  let now = 1_000_000
  const timers = new Set<{ at: number; callback: () => void }>()
  return {
    now: () => now,
    schedule(delayMs, callback) {
      const timer = { at: now + delayMs, callback }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    pass(ms) {
      now += ms
      for (const timer of timers) {
        if (timer.at > now) continue
        timers.delete(timer)
        timer.callback()
      }
    },
  }
}

function pod(name: string, spec: Partial<NonNullable<Pod['spec']>> = {}): Pod {
  return { metadata: { name, namespace: 'default', uid: name }, spec: { containers: [], ...spec } }
}

const node: Node = { metadata: { name: 'n' }, status: { allocatable: { cpu: '1' } } }
const fit = new Set(['NodeResourcesFit'] as const)
const left = { kind: 'pod-left', pod: pod('other') } as const

function open(): { queue: SchedulingQueue; clock: ReturnType<typeof createTestClock>; next: () => string | undefined } {
  const clock = createTestClock()
  const queue = new SchedulingQueue(clock)
  return { queue, clock, next: () => queue.pop()?.key.replace('default/', '') }
}

describe('SchedulingQueue', () => {
  it('gives the most important first, then those that came first', () => {
    const { queue, clock, next } = open()
    for (const [name, priority] of [
      ['a', 0],
      ['b', 5],
      ['c', 5],
      ['d', 10],
    ] as const) {
      queue.set(pod(name, { priority }))
      clock.pass(1)
    }
    assert.deepEqual([next(), next(), next(), next(), next()], ['d', 'b', 'c', 'a', undefined])
  })

  it('keeps what no node takes until something happens that may help', () => {
    const { queue, next } = open()
    queue.set(pod('a'))
    next()
    queue.reject('default/a', fit)
    queue.happened({ kind: 'volumes' })
    assert.equal(next(), undefined)
    queue.happened(left)
    assert.equal(next(), 'a')
  })

  it('lets a pod wait behind others after it was rejected, the longer the more often, but for those alone', () => {
    const { queue, clock, next } = open()
    const important = pod('a', { priority: 9 })
    queue.set(important)
    assert.equal(next(), 'a')
    for (const waitMs of [1000, 2000, 4000, 8000, 10_000, 10_000]) {
      queue.reject('default/a', fit)
      queue.happened(left)
      for (const name of ['b', 'c']) {
        queue.delete(`default/${name}`)
        queue.set(pod(name))
      }
      clock.pass(waitMs - 1)
      assert.equal(next(), 'b')
      clock.pass(1)
      assert.equal(next(), 'a')
      assert.equal(next(), 'c')
    }
    queue.reject('default/a', fit)
    queue.happened(left)
    assert.equal(next(), 'a')
  })

  it('waits after an error even if there is nothing else to do', () => {
    const { queue, clock, next } = open()
    queue.set(pod('a'))
    for (const waitMs of [1000, 2000, 4000, 8000, 10_000, 10_000]) {
      assert.equal(next(), 'a')
      queue.fail('default/a')
      clock.pass(waitMs - 1)
      assert.equal(next(), undefined)
      clock.pass(1)
    }
  })

  it('tries all again after a while', () => {
    const { queue, clock, next } = open()
    queue.set(pod('a'))
    next()
    queue.reject('default/a', fit)
    clock.pass(300_000)
    assert.equal(next(), undefined)
    clock.pass(1000)
    assert.equal(next(), 'a')
  })

  it('leaves a pod alone that has gates', () => {
    const { queue, next } = open()
    const gated = pod('a', { schedulingGates: [{ name: 'wait' }] })
    queue.set(gated)
    queue.happened({ kind: 'node', node, old: undefined })
    queue.activate('default/a')
    assert.equal(next(), undefined)
    queue.set(pod('a'), gated)
    assert.equal(next(), 'a')
  })

  it('does not miss what happens while a pod is being tried', () => {
    const { queue, next } = open()
    queue.set(pod('a'))
    next()
    queue.happened(left)
    queue.reject('default/a', fit)
    assert.equal(next(), 'a')
  })

  it('forgets a pod that is gone, and knows another of its name', () => {
    const { queue, next } = open()
    queue.set(pod('a'))
    queue.delete('default/a')
    assert.equal(next(), undefined)
    queue.set(pod('a'))
    next()
    queue.reject('default/a', fit)
    queue.set({ ...pod('a'), metadata: { name: 'a', namespace: 'default', uid: 'second' } })
    assert.equal(next(), 'a')
  })

  it('does not take the fate of a pod for that of another of its name', () => {
    const { queue, next } = open()
    queue.set(pod('a'))
    next()
    queue.set({ ...pod('a'), metadata: { name: 'a', namespace: 'default', uid: 'second' } })
    queue.reject('default/a', fit)
    queue.fail('default/a')
    assert.equal(next(), 'a')
  })

  it('tells when there is something to try', async () => {
    const { queue, clock } = open()
    const stop = new AbortController()
    const first = queue.ready(stop.signal)
    queue.set(pod('a'))
    await first
    queue.pop()
    queue.fail('default/a')
    const second = queue.ready(stop.signal)
    clock.pass(1000)
    await second
    assert.equal(queue.pop()?.key, 'default/a')
    assert.equal(getEventListeners(stop.signal, 'abort').length, 0)
    const third = queue.ready(stop.signal)
    stop.abort()
    await third
  })
})
