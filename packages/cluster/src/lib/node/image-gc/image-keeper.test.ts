import assert from 'node:assert/strict'
import { existsSync, mkdtempDisposableSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { digestOf, mediaTypes } from '@fairlead/oci'
import type { Digest } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'
import type { Layout } from '@fairlead/oci/layout'
import { createUserClient } from '@fairlead/oci/registry'

import { ImageKeeper } from './image-keeper.ts'

const MINUTE_MS = 60_000
const TOTAL = 1000

interface Rig extends Disposable {
  readonly layout: Layout
  readonly keeper: ImageKeeper
  readonly pruned: string[][]
  now: number
  free: () => Promise<number>
  inUse: string[]
  /** Puts an image into the layout; returns its layer of its own. */
  put(reference: string, content: string): Promise<Digest>
  pull(reference: string, during?: () => Promise<void>): Promise<void>
  /** Opens another keeper on the same files. */
  again(): Promise<ImageKeeper>
}

async function createRig(): Promise<Rig> {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-gc-'))
  const layout = await openLayout(join(folder.path, 'images'))
  const state = { now: 0, free: async () => TOTAL, inUse: [] as string[], pruned: [] as string[][] }
  const settings = { least: { share: 0.15 }, wanted: { share: 0.2 }, minAgeMs: MINUTE_MS, maxAgeMs: 0 }
  const open = async (): Promise<ImageKeeper> => {
    const opened = await ImageKeeper.open({
      layout,
      file: join(folder.path, 'pulled.json'),
      settings,
      clock: { now: () => state.now },
      readDisk: async () => ({ diskBytes: await state.free(), diskTotalBytes: TOTAL }),
      blobGraceMs: 1000,
    })
    opened.join({
      inUse: () => state.inUse,
      pruneLayers: async (images) => void state.pruned.push(images.map(({ descriptor }) => descriptor.digest)),
    })
    return opened
  }
  const keeper = await open()
  const put = async (reference: string, content: string): Promise<Digest> => {
    const layer = Buffer.from(content)
    const stored = await layout.writeBlob(layer)
    const config = await layout.writeJson(mediaTypes.config, {
      os: 'linux',
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
    })
    const layers = [{ mediaType: mediaTypes.layer, ...stored }]
    const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers }
    await layout.tag(reference, await layout.writeJson(mediaTypes.manifest, manifest))
    const longAgo = new Date(Date.now() - 3_600_000)
    utimesSync(layout.blobPath(stored.digest), longAgo, longAgo)
    return stored.digest
  }
  const asked = { client: createUserClient({}), signal: new AbortController().signal }
  return Object.assign(state, {
    layout,
    keeper,
    put,
    again: open,
    pull: async (reference: string, during?: () => Promise<void>): Promise<void> => {
      const pull = keeper.keeping(async (name) => {
        await put(name, name)
        await during?.()
      })
      await pull(reference, asked)
    },
    [Symbol.dispose]: () => folder.remove(),
  })
}

async function references({ layout }: Rig): Promise<string[]> {
  return (await layout.list()).map(({ reference }) => reference)
}

describe('ImageKeeper', () => {
  it('removes images nobody needs until enough is free, the one needed longest ago first, with what is theirs alone', async () => {
    using rig = await createRig()
    await rig.pull('r.example/one:1')
    const shared = await rig.put('r.example/mine:1', 'r.example/two:1')
    rig.now += 1
    await rig.pull('r.example/two:1')
    await rig.pull('r.example/three:1')
    rig.inUse = ['r.example/three:1']
    rig.now += MINUTE_MS
    rig.free = async () => 100
    assert.match(
      (await rig.keeper.collect()) ?? '',
      /^Insufficient free disk space on the node's image filesystem \(90% of 1000 B used\)\. Failed to free/,
    )
    assert.deepEqual(await references(rig), ['r.example/mine:1', 'r.example/three:1'])
    assert.equal(existsSync(rig.layout.blobPath(digestOf(Buffer.from('r.example/one:1')))), false)
    assert.equal(existsSync(rig.layout.blobPath(shared)), true)
    assert.deepEqual(rig.pruned, [[(await rig.layout.resolve('r.example/three:1'))?.descriptor.digest]])
  })

  it('stops when enough is free', async () => {
    using rig = await createRig()
    await rig.pull('r.example/one:1')
    rig.now += 1
    await rig.pull('r.example/two:1')
    rig.now += MINUTE_MS
    rig.free = async () => ((await references(rig)).length > 1 ? 150 : 200)
    assert.equal(await rig.keeper.collect(), undefined)
    assert.deepEqual(await references(rig), ['r.example/two:1'])
  })

  it('leaves alone what others put there, and what has come to mean another image', async () => {
    using rig = await createRig()
    await rig.put('localhost/app:1', 'app')
    await rig.put('r.example/base:1', 'base')
    await rig.pull('r.example/base:1')
    await rig.pull('r.example/one:1')
    await rig.put('r.example/one:1', 'made anew by somebody')
    rig.now += MINUTE_MS
    await rig.keeper.reclaim()
    assert.deepEqual(await references(rig), ['localhost/app:1', 'r.example/base:1', 'r.example/one:1'])
  })

  it('removes nothing young, and nothing while an image is being pulled', async () => {
    using rig = await createRig()
    await rig.pull('r.example/one:1')
    await rig.keeper.reclaim()
    rig.now += MINUTE_MS
    await rig.pull('r.example/two:1', () => rig.keeper.reclaim())
    assert.deepEqual(await references(rig), ['r.example/one:1', 'r.example/two:1'])
    await rig.keeper.reclaim()
    assert.deepEqual(await references(rig), ['r.example/two:1'])
  })

  it('knows after a restart which images it has pulled', async () => {
    using rig = await createRig()
    await rig.pull('r.example/one:1')
    rig.now += MINUTE_MS
    await (await rig.again()).reclaim()
    assert.deepEqual(await references(rig), [])
  })

  it('does nothing on a disk with room', async () => {
    using rig = await createRig()
    await rig.pull('r.example/one:1')
    rig.now += MINUTE_MS
    rig.free = async () => 151
    assert.equal(await rig.keeper.collect(), undefined)
    assert.deepEqual(await references(rig), ['r.example/one:1'])
    assert.deepEqual(rig.pruned, [])
  })
})
