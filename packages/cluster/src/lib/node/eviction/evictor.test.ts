import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { DiskMeter } from '../usage/disk-meter.ts'
import { Evictor } from './evictor.ts'
import type { EvictablePod } from './evictor.ts'
import type { Left } from './left.ts'
import { defaultEvictionSettings } from './settings.ts'

const GI = 2 ** 30
const plenty: Left = { memoryBytes: GI, diskBytes: 10 * GI, diskTotalBytes: 20 * GI }
const full: Left = { ...plenty, diskBytes: 0 }

interface Rig {
  readonly evictor: Evictor
  readonly evicted: string[]
  readonly events: string[]
  left: Left
  now: number
  /** What is left after the node has removed what nobody needs. */
  afterReclaim: Left | undefined
  isAtRest: boolean
}

/** Two pods, of which "large" takes more of the disk than "small"; both ask for nothing. */
function createRig(limit?: string): Rig {
  const evicted: string[] = []
  const rig = { evicted, events: [] as string[], left: plenty, now: 0, isAtRest: true } as Rig
  const resources = limit === undefined ? {} : { resources: { limits: { 'ephemeral-storage': limit } } }
  const pod = (name: string): EvictablePod => ({
    uid: name,
    pod: { metadata: { name, uid: name }, spec: { containers: [{ name: 'main', ...resources }] } },
    diskPlaces: { uid: name, containers: [{ name: 'main', logs: `/${name}` }], volumes: [] },
    get isAtRest() {
      return rig.isAtRest
    },
    evict(message, { graceMs, isForNode = false }) {
      if (evicted.some((each) => each.startsWith(name))) return false
      evicted.push(`${name} ${graceMs} ${isForNode}: ${message}`)
      return true
    },
  })
  const pods = [pod('small'), pod('large')]
  const sizes = new Map([
    ['/small', 1024],
    ['/large', 2048],
  ])
  const evictor = new Evictor({
    settings: { ...defaultEvictionSettings, transitionMs: 0 },
    workers: () => pods,
    memoryOf: () => new Map(),
    disk: new DiskMeter(
      () => rig.now,
      async () => sizes,
    ),
    readLeft: async () => rig.left,
    reclaimDisk: async () => void (rig.left = rig.afterReclaim ?? rig.left),
    event: (_type, reason) => void rig.events.push(reason),
    nodeName: 'here',
    now: () => rig.now,
    onError: (error) => assert.fail(String(error)),
  })
  return Object.assign(rig, { evictor })
}

describe('Evictor', () => {
  it('leaves pods alone where there is plenty', async () => {
    const rig = createRig()
    await rig.evictor.look()
    assert.deepEqual([rig.evicted, rig.events], [[], []])
  })

  it('evicts nobody when what nobody needs was enough', async () => {
    const rig = createRig()
    Object.assign(rig, { left: full, afterReclaim: plenty })
    await rig.evictor.look()
    assert.deepEqual(rig.evicted, [])
    assert.deepEqual(rig.events, ['NodeHasDiskPressure', 'EvictionThresholdMet'])
    await rig.evictor.look()
    assert.deepEqual(rig.evictor.pressure, { memory: false, disk: false })
    assert.equal(rig.events.at(-1), 'NodeHasNoDiskPressure')
  })

  it('evicts one pod, the next only when that is cleared away or takes too long', async () => {
    const rig = createRig()
    Object.assign(rig, { left: full, isAtRest: false })
    await rig.evictor.look()
    await rig.evictor.look()
    assert.equal(rig.evicted.length, 1)
    assert.match(rig.evicted[0] ?? '', /^large 1000 true: The node was low on resource: ephemeral-storage\./)
    rig.now += 31_000
    await rig.evictor.look()
    assert.match(rig.evicted[1] ?? '', /^small/)
  })

  it('evicts nobody for the disk of images alone', async () => {
    const rig = createRig()
    rig.left = { ...plenty, images: { diskBytes: 0, diskTotalBytes: 20 * GI } }
    await rig.evictor.look()
    assert.deepEqual(rig.evicted, [])
    assert.equal(rig.evictor.pressure.disk, true)
  })

  it('ends pods that take more than they may, without the node being short', async () => {
    const rig = createRig('1500')
    await rig.evictor.look()
    assert.deepEqual(rig.evicted, [
      'large 1000 false: Pod ephemeral local storage usage exceeds the total limit of containers 1500. ',
    ])
  })
})
