import assert from 'node:assert/strict'
import { existsSync, mkdtempDisposableSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { it } from 'node:test'

import { createTar } from '../../archive/tar-writer.ts'
import type { Digest } from '../../spec/digest.ts'
import type { Descriptor } from '../../spec/image.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import { hostPlatform } from '../../spec/platform.ts'
import { checkStore, isIntact } from '../server/check.ts'
import { openRegistryStore } from '../server/store.ts'
import type { RegistryStore } from '../server/store.ts'
import { dayMs } from './image.ts'
import { parseLifecyclePolicy } from './policy.ts'
import { pruneStore } from './prune.ts'

const now = Date.now()

/** Stores an image that was written some days ago, and returns its layer. */
async function storeImage(store: RegistryStore, tags: readonly string[], days: number): Promise<Digest> {
  const { layout } = store
  const content = createTar([{ path: 'name', type: 'file', content: Buffer.from(tags.join()) }])
  const layer: Descriptor = { mediaType: mediaTypes.layer, ...(await layout.writeBlob(content)) }
  const config = await layout.writeJson(mediaTypes.config, {
    ...hostPlatform(),
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  })
  const body = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [layer] }
  const manifest = await layout.writeJson(mediaTypes.manifest, body)
  await layout.tagAll(tags.map((tag) => ({ reference: `localhost/shop/web:${tag}`, descriptor: manifest })))
  const written = new Date(now - days * dayMs)
  for (const { digest } of [layer, config, manifest]) utimesSync(layout.blobPath(digest), written, written)
  return layer.digest
}

async function withStore(work: (store: RegistryStore) => Promise<void>): Promise<void> {
  using dir = mkdtempDisposableSync(`${tmpdir()}/fairlead-prune-`)
  await work(await openRegistryStore(dir.path))
}

it('shows by default what would go, and touches nothing', () =>
  withStore(async (store) => {
    for (const [tag, days] of [
      ['a', 9],
      ['b', 8],
      ['c', 7],
      ['d', 6],
      ['e', 5],
    ] as const)
      await storeImage(store, [tag], days)
    const { repositories, isApplied } = await pruneStore(store, { now })
    assert.deepEqual(
      repositories.map(({ repository, actions }) => [repository, actions.flatMap(({ tags }) => tags)]),
      [['shop/web', ['a', 'b']]],
    )
    assert.equal(isApplied, false)
    assert.equal(store.tags('shop/web').length, 5)
  }))

it('removes the images and what only they needed, and leaves the store intact', () =>
  withStore(async (store) => {
    const layers = new Map<string, Digest>()
    for (const [tag, days] of [
      ['a', 9],
      ['b', 8],
      ['c', 7],
      ['d', 6],
    ] as const)
      layers.set(tag, await storeImage(store, [tag], days))
    layers.set('old', await storeImage(store, ['latest', 'old'], 30))
    const { collected } = await pruneStore(store, { now, apply: true })
    assert.deepEqual(store.tags('shop/web'), ['b', 'c', 'd', 'latest', 'old'])
    assert.equal(collected.blobs, 3)
    const isThere = (tag: string): boolean => existsSync(store.layout.blobPath(layers.get(tag) ?? 'sha256:'))
    assert.deepEqual(['a', 'b', 'old'].map(isThere), [false, true, true])
    assert.ok(isIntact(await checkStore(store)))
  }))

it('applies a policy to the repositories it is meant for, and leaves fresh content its grace', () =>
  withStore(async (store) => {
    await storeImage(store, ['v1'], 20)
    await storeImage(store, ['v2'], 0)
    const rule = {
      rulePriority: 1,
      selection: { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 1 },
      action: { type: 'expire' },
    }
    const policy = parseLifecyclePolicy(JSON.stringify({ rules: [rule] }))
    assert.equal((await pruneStore(store, { policy, now, repository: 'other/*', apply: true })).repositories.length, 0)
    await pruneStore(store, { policy, now, repository: 'shop/*', apply: true })
    assert.deepEqual(store.tags('shop/web'), ['v2'])
  }))

it('takes what a build attached to an image along, unless another repository still has the image', () =>
  withStore(async (store) => {
    const { layout } = store
    const attach = async (tag: string): Promise<Digest> => {
      const image = (await layout.list()).find(({ reference }) => reference.endsWith(`:${tag}`))
      assert.ok(image)
      const empty = { mediaType: 'application/vnd.oci.empty.v1+json', ...(await layout.writeBlob(Buffer.from('{}'))) }
      const sbom = { mediaType: 'application/spdx+json', ...(await layout.writeBlob(Buffer.from(`"of ${tag}"`))) }
      const { mediaType, digest, size } = image.descriptor
      const body = { schemaVersion: 2, mediaType: mediaTypes.manifest, artifactType: sbom.mediaType, config: empty }
      const descriptor = await layout.writeJson(mediaTypes.manifest, {
        ...body,
        layers: [sbom],
        subject: { mediaType, digest, size },
      })
      await layout.attach(descriptor)
      const written = new Date(now - 9 * dayMs)
      for (const blob of [sbom.digest, descriptor.digest]) utimesSync(layout.blobPath(blob), written, written)
      return descriptor.digest
    }
    for (const tag of ['gone', 'shared', 'kept']) await storeImage(store, [tag], tag === 'kept' ? 1 : 9)
    const [gone, shared, kept] = [await attach('gone'), await attach('shared'), await attach('kept')]
    const image = (await layout.list()).find(({ reference }) => reference.endsWith(':shared'))
    assert.ok(image)
    await layout.tag('localhost/shop/copy:1', image.descriptor)
    const selection = { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 1 }
    const rules = [{ rulePriority: 1, selection, action: { type: 'expire' } }]
    const policy = parseLifecyclePolicy(JSON.stringify({ rules }), 'policy.json')
    await pruneStore(store, { now, apply: true, policy, repository: 'shop/web' })
    const isThere = (digest: Digest): boolean => existsSync(layout.blobPath(digest))
    assert.deepEqual([gone, shared, kept].map(isThere), [false, true, true])
    const left = store.index.read().manifests.map(({ digest }) => digest)
    assert.deepEqual(
      [gone, shared, kept].map((digest) => left.includes(digest)),
      [false, true, true],
    )
    assert.ok(isIntact(await checkStore(store)))
  }))
