import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock } from '@fairlead/kube/controller'
import type { Clock } from '@fairlead/kube/controller'

import { defaultEvictionSettings } from './settings.ts'
import { isReady, openWorld, skipReason, until } from '../testing/world.ts'

const skip = skipReason()
const stay = 'trap "exit 0" TERM; while true; do sleep 0.05; done'
const plenty = { memoryBytes: 2 ** 34, diskBytes: 2 ** 34, diskTotalBytes: 2 ** 35 }
/** What is done every ten seconds is done every tenth of one. */
const hasty: Clock = {
  ...systemClock,
  schedule: (ms, act) => systemClock.schedule(ms === 10_000 ? 100 : ms, act),
}

describe('eviction', { skip }, () => {
  it('ends a pod whose scratch volume has grown beyond its limit', async () => {
    await using world = await openWorld()
    await world.startAgent({ clock: hasty, readLeft: async () => plenty })
    const args = [`head -c 300000 /dev/urandom > /scratch/file; ${stay}`]
    const volumes = [{ name: 'scratch', emptyDir: { sizeLimit: '100Ki' } }]
    await world.createPod('web', { args, volumeMounts: [{ name: 'scratch', mountPath: '/scratch' }] }, { volumes })
    const pod = await world.pod('web', ({ status }) => status?.phase === 'Failed', 'is evicted')
    assert.equal(pod.status?.reason, 'Evicted')
    assert.equal(pod.status.message, 'Usage of EmptyDir volume "scratch" exceeds the limit "100Ki". ')
    assert.equal(
      pod.status.conditions?.some(({ type }) => type === 'DisruptionTarget'),
      false,
    )
  })

  it('ends a pod where memory runs out, says so of the node, and takes it back', async () => {
    await using world = await openWorld()
    let left = plenty
    await world.startAgent({
      clock: hasty,
      readLeft: async () => left,
      eviction: { ...defaultEvictionSettings, transitionMs: 0 },
    })
    await world.createPod('web', { args: [stay] })
    await world.pod('web', isReady, 'is ready')
    left = { ...plenty, memoryBytes: 2 ** 20 }
    const pod = await world.pod('web', ({ status }) => status?.phase === 'Failed', 'is evicted')
    assert.match(pod.status?.message ?? '', /^The node was low on resource: memory. Threshold quantity: 100Mi/)
    const why = pod.status?.conditions?.find(({ type }) => type === 'DisruptionTarget')
    assert.equal(why?.reason, 'TerminationByKubelet')
    const short = async (status: string): Promise<true | undefined> => {
      const { conditions } = (await world.client.resource('v1/Node').get('here')).status ?? {}
      return conditions?.find(({ type }) => type === 'MemoryPressure')?.status === status || undefined
    }
    await until(() => short('True'), 'the node says so')
    left = plenty
    await until(() => short('False'), 'the node takes it back')
  })
})
