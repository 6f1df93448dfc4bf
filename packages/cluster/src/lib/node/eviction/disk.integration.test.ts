import assert from 'node:assert/strict'
import { readFile, readdir, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { systemClock } from '@fairlead/kube/controller'
import type { Clock } from '@fairlead/kube/controller'

import { isReady, openWorld, skipReason, until } from '../testing/world.ts'
import type { World } from '../testing/world.ts'
import type { EvictionSettings } from './settings.ts'

const skip = skipReason()
const MI = 2 ** 20
const stay = 'trap "exit 0" TERM; while true; do sleep 0.05; done'
/** What is done every ten seconds is done every tenth of one. */
const hasty: Clock = {
  ...systemClock,
  schedule: (ms, act) => systemClock.schedule(ms === 10_000 ? 100 : ms, act),
}
const settings: EvictionSettings = {
  thresholds: [{ signal: 'nodefs.available', least: { quantity: 32 * MI } }],
  transitionMs: 0,
  mostGraceMs: 0,
}

async function fill(world: World): Promise<void> {
  const { bavail, bsize } = await statfs(world.dir)
  await writeFile(join(world.dir, 'ballast'), Buffer.alloc(bavail * bsize, 1)).catch(() => {})
  // What is left of the last block, too.
  await writeFile(join(world.dir, 'ballast-2'), Buffer.alloc(MI, 1)).catch(() => {})
}

async function relieve(world: World): Promise<void> {
  await rm(join(world.dir, 'ballast'), { force: true })
  await rm(join(world.dir, 'ballast-2'), { force: true })
}

describe('a small disk', { skip }, () => {
  it('costs the pod that takes most of it, and nobody comes until there is room', async () => {
    await using world = await openWorld('namespaces', { diskBytes: 128 * MI })
    await world.startAgent({ clock: hasty, eviction: settings })
    await world.createPod('modest', { args: [stay] })
    await world.pod('modest', isReady, 'is ready')
    const volumes = [{ name: 'scratch', emptyDir: {} }]
    const volumeMounts = [{ name: 'scratch', mountPath: '/scratch' }]
    const greedy = `head -c ${100 * MI} /dev/zero > /scratch/file; ${stay}`
    await world.createPod('greedy', { args: [greedy], volumeMounts }, { volumes })
    const pod = await world.pod('greedy', ({ status }) => status?.phase === 'Failed', 'is evicted')
    assert.equal(pod.status?.reason, 'Evicted')
    assert.match(
      pod.status.message ?? '',
      /^The node was low on resource: ephemeral-storage. Threshold quantity: 32Mi, available: \d+Ki/,
    )
    await world.pod('modest', isReady, 'goes on')
    const { items } = await world.client.resource('v1/Event').list({ namespace: 'default' })
    const reasons = new Set(items.map(({ reason }) => reason))
    for (const reason of ['NodeHasDiskPressure', 'EvictionThresholdMet']) assert.ok(reasons.has(reason), reason)
  })

  it('takes no pods while it is short', async () => {
    await using world = await openWorld('namespaces', { diskBytes: 128 * MI })
    await world.startAgent({ clock: hasty, eviction: { ...settings, transitionMs: 60_000 } })
    await fill(world)
    await until(async () => {
      const { conditions } = (await world.client.resource('v1/Node').get('here')).status ?? {}
      return conditions?.find(({ type }) => type === 'DiskPressure')?.status === 'True' || undefined
    }, 'the node says so')
    await world.createPod('late', { args: [stay] })
    const pod = await world.pod('late', ({ status }) => status?.phase === 'Failed', 'is refused')
    assert.equal(pod.status?.reason, 'Evicted')
    assert.equal(pod.status.message, 'Pod was rejected: The node had condition: [DiskPressure]. ')
  })

  it('ends a pod that takes more than its limit', async () => {
    await using world = await openWorld('namespaces', { diskBytes: 128 * MI })
    await world.startAgent({ clock: hasty, eviction: settings })
    const resources = { limits: { 'ephemeral-storage': '1Mi' } }
    await world.createPod('web', { args: [`head -c ${2 * MI} /dev/zero > /tmp/file; ${stay}`], resources })
    const pod = await world.pod('web', ({ status }) => status?.phase === 'Failed', 'is evicted')
    assert.equal(pod.status?.message, 'Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ')
  })

  it('leaves pods running when it is full, and all goes on when it is not', async () => {
    await using world = await openWorld('namespaces', { diskBytes: 128 * MI })
    const idle = { ...settings, thresholds: [] }
    await world.startAgent({ clock: hasty, eviction: idle })
    await world.createPod('web', { args: ['while [ ! -e /dev/shm/end ]; do sleep 0.05; done; rm /dev/shm/end'] })
    const before = await world.pod('web', isReady, 'is ready')
    await fill(world)
    await world.createPod('late', { args: [stay] })
    await world.pod('late', ({ status }) => status?.containerStatuses?.[0]?.state?.waiting, 'waits')
    assert.ok(isReady(await world.pod('web', () => true, 'is there')))
    await relieve(world)
    await world.pod('late', isReady, 'comes when there is room')
    const after = await world.pod('web', isReady, 'was not touched')
    assert.equal(after.status?.containerStatuses?.[0]?.containerID, before.status?.containerStatuses?.[0]?.containerID)
    const pods = join(world.dir, 'node', 'pods')
    for (const uid of await readdir(pods)) {
      const names = await readdir(join(pods, uid))
      assert.deepEqual(
        names.filter((name) => name.startsWith('record.json.')),
        [],
        'nothing half-written stays',
      )
      assert.equal(JSON.parse(await readFile(join(pods, uid, 'record.json'), 'utf8')).uid, uid)
    }
  })
})
