import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openLayout } from '../../layout/layout.ts'
import { digestOf } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import { checkStore, isIntact } from './check.ts'
import { describeJson, startTestRegistry } from './registry-fixture.ts'
import type { TestRegistry } from './registry-fixture.ts'
import { openRegistryStore } from './store.ts'

/** Makes all content as old as if nobody had relied on it for two days. */
async function age(test: TestRegistry): Promise<void> {
  const old = new Date(Date.now() - 48 * 3_600_000)
  for (const name of await readdir(test.dir, { recursive: true, withFileTypes: true })) {
    if (name.isFile()) await utimes(join(name.parentPath, name.name), old, old)
  }
}

function hasBlob(test: TestRegistry, digest: Digest): boolean {
  return existsSync(test.registry.store.layout.blobPath(digest))
}

describe('collectGarbage', () => {
  it('removes what nothing points at, once its time of grace is over', async () => {
    await using test = await startTestRegistry()
    const { layer, digest } = await test.pushImage('app', '1', 'layer')
    const orphan = await test.pushBlob('app', 'orphan')
    assert.deepEqual(await test.registry.collect(), { blobs: 0, bytes: 0, manifests: 0, links: 0 })
    await age(test)
    assert.deepEqual(await test.registry.collect({ isDryRun: true }), { blobs: 1, bytes: 6, manifests: 0, links: 1 })
    assert.ok(hasBlob(test, orphan))
    assert.deepEqual(await test.registry.collect(), { blobs: 1, bytes: 6, manifests: 0, links: 1 })
    assert.deepEqual([hasBlob(test, orphan), hasBlob(test, layer), hasBlob(test, digest)], [false, true, true])
    assert.equal((await test.send('HEAD', `/v2/app/blobs/${orphan}`)).status, 404)
  })

  it('removes an image that was deleted, and what only it had', async () => {
    await using test = await startTestRegistry()
    const first = await test.pushImage('app', '1', 'one')
    const second = await test.pushImage('app', '2', 'two')
    await test.send('DELETE', `/v2/app/manifests/${first.digest}`)
    await age(test)
    const { blobs } = await test.registry.collect()
    assert.equal(blobs, 3)
    assert.equal((await test.send('GET', `/v2/app/blobs/${second.layer}`)).status, 200)
  })

  it('keeps manifests without a tag, and drops them only when asked to', async () => {
    await using test = await startTestRegistry()
    const { manifest, digest } = await test.pushImage('app', '1', 'one')
    const config = { mediaType: mediaTypes.empty, digest: await test.pushBlob('app', '{}'), size: 2 }
    const subject = describeJson(manifest, mediaTypes.manifest)
    const signature = {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      artifactType: 'x/y',
      config,
      layers: [],
      subject,
    }
    const signed = digestOf(JSON.stringify(signature))
    await test.putManifest('app', signed, signature)
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [subject] }
    await test.putManifest('app', 'index', index, mediaTypes.index)
    await test.send('DELETE', '/v2/app/manifests/1')
    await age(test)
    assert.equal((await test.registry.collect()).blobs, 0)
    // It is a child of a tagged index, and the signature speaks of it.
    assert.equal((await test.registry.collect({ untaggedAfterMs: 0 })).manifests, 0)
    await test.send('DELETE', '/v2/app/manifests/index')
    await age(test)
    const collected = await test.registry.collect({ untaggedAfterMs: 0 })
    assert.equal(collected.manifests, 3)
    assert.deepEqual([hasBlob(test, digest), hasBlob(test, signed)], [false, false])
    assert.deepEqual((await test.send('GET', '/v2/_catalog')).json()['repositories'], [])
  })

  const uses: { name: string; use: (test: TestRegistry, digest: Digest) => Promise<unknown> }[] = [
    { name: 'asks for it', use: (test, digest) => test.send('HEAD', `/v2/app/blobs/${digest}`) },
    { name: 'pushes it again', use: (test) => test.pushBlob('app', 'orphan') },
    { name: 'mounts it', use: (test, digest) => test.send('POST', `/v2/b/blobs/uploads/?mount=${digest}&from=app`) },
    { name: 'builds with it', use: async (test, digest) => (await openLayout(test.dir)).hasBlob(digest) },
    { name: 'writes it', use: async (test) => (await openLayout(test.dir)).writeBlob(Buffer.from('orphan')) },
  ]
  for (const { name, use } of uses) {
    it(`keeps a blob for who ${name}`, async () => {
      await using test = await startTestRegistry()
      const digest = await test.pushBlob('app', 'orphan')
      await age(test)
      await use(test, digest)
      assert.equal((await test.registry.collect()).blobs, 0)
      assert.ok(hasBlob(test, digest))
    })
  }

  it('puts back what a collection that was killed had moved aside', async () => {
    await using test = await startTestRegistry()
    const { layer } = await test.pushImage('app', '1', 'layer')
    const aside = join(test.dir, '.ingest', 'collected')
    await mkdir(aside, { recursive: true })
    await rename(test.registry.store.layout.blobPath(layer), join(aside, layer.replace(':', '-')))
    await test.registry.close()
    await using again = await startTestRegistry({ dir: test.dir })
    assert.equal((await again.send('GET', `/v2/app/blobs/${layer}`)).status, 200)
    assert.deepEqual(await readdir(aside), [])
  })

  it('collects under pushes, and no push that was answered loses anything', async () => {
    await using test = await startTestRegistry()
    const over = new AbortController()
    const pushed: { repository: string; tag: string }[] = []
    const graceMs = 1000
    /** A push that takes longer than the grace, on a busy machine, may have to begin anew. */
    const pushInTime = async (...image: Parameters<typeof test.pushImage>): Promise<void> => {
      const startedAt = performance.now()
      await test.pushImage(...image).catch((error: unknown) => {
        if (performance.now() - startedAt < graceMs) throw error
        return pushInTime(...image)
      })
    }
    const pusher = async (who: number): Promise<void> => {
      for (let at = 0; at < 8; at += 1) {
        const repository = `app-${who % 2}`
        const tag = `t-${who}-${at}`
        // Few contents, so that blobs that are about to be collected are wanted again.
        await pushInTime(repository, tag, `layer ${at % 3}`)
        pushed.push({ repository, tag })
        if (at % 2 === 0) {
          const old = pushed.splice(Math.floor(Math.random() * pushed.length), 1)[0]
          const { headers } = await test.send('HEAD', `/v2/${old?.repository}/manifests/${old?.tag}`)
          await test.send('DELETE', `/v2/${old?.repository}/manifests/${old?.tag}`)
          assert.ok(headers)
        }
      }
    }
    // No grace but that of a push: what a request of this moment relies on.
    const collector = (async (): Promise<void> => {
      while (!over.signal.aborted) await test.registry.collect({ graceMs, untaggedAfterMs: 0 })
    })()
    await Promise.all([0, 1, 2, 3].map(pusher))
    over.abort()
    await collector
    for (const { repository, tag } of pushed) {
      const answer = await test.send('GET', `/v2/${repository}/manifests/${tag}`)
      assert.equal(answer.status, 200, tag)
      const { layers } = answer.json() as unknown as { layers: { digest: string }[] }
      assert.equal((await test.send('GET', `/v2/${repository}/blobs/${layers[0]?.digest}`)).status, 200)
    }
    const report = await test.registry.check()
    assert.deepEqual(report.problems, [])
  })
})

describe('checkStore', () => {
  it('finds nothing in a store that is intact', async () => {
    await using test = await startTestRegistry()
    await test.pushImage('app', '1', 'layer')
    await test.pushBlob('app', 'orphan')
    const report = await test.registry.check()
    assert.deepEqual([report.problems, report.blobs, report.references, report.repositories], [[], 4, 1, 1])
    assert.deepEqual([report.orphans, report.orphanBytes], [[digestOf('orphan')], 6])
  })

  it('finds content that is damaged, missing or cut, and names that mean nothing', async () => {
    await using test = await startTestRegistry()
    const [damaged, missing, cut, dangling] = await Promise.all(
      ['damaged', 'missing', 'cut', 'dangling'].map((name) => test.pushImage(name, '1', `layer ${name}`)),
    )
    assert.ok(damaged && missing && cut && dangling)
    const { layout } = test.registry.store
    await writeFile(layout.blobPath(damaged.layer), 'LAYER damaged')
    await rm(layout.blobPath(missing.layer))
    await writeFile(layout.blobPath(cut.layer), 'lay')
    await rm(layout.blobPath(dangling.digest))
    const { problems } = await checkStore(await openRegistryStore(test.dir))
    const found = problems.map(({ kind, digest, names }) => `${kind} ${digest} ${names.join(' ')}`)
    const expected = [
      `corrupt ${damaged.layer} localhost/damaged:1 localhost/damaged@${damaged.digest}`,
      `corrupt ${cut.layer} localhost/cut:1 localhost/cut@${cut.digest}`,
      `missing ${missing.layer} localhost/missing:1 localhost/missing@${missing.digest}`,
      `dangling ${dangling.digest} localhost/dangling:1`,
      `dangling ${dangling.digest} localhost/dangling@${dangling.digest}`,
    ]
    assert.deepEqual(found.toSorted(), expected.toSorted())
    const quick = await checkStore(await openRegistryStore(test.dir), { readContent: false })
    assert.deepEqual(quick.problems.map(({ kind }) => kind).toSorted(), ['dangling', 'dangling', 'missing', 'size'])
  })

  it('repairs: moves away what is damaged, forgets what means nothing, and a push heals the rest', async () => {
    await using test = await startTestRegistry()
    const damaged = await test.pushImage('damaged', '1', 'layer')
    const dangling = await test.pushImage('dangling', '1', 'other')
    const { layout } = test.registry.store
    await writeFile(layout.blobPath(damaged.layer), 'LAYER')
    await writeFile(layout.blobPath(dangling.digest), 'x')
    const report = await checkStore(await openRegistryStore(test.dir), { repair: true })
    assert.equal(isIntact(report), false)
    assert.equal((await readdir(report.quarantine ?? '')).length, 3)
    assert.equal((await test.send('GET', `/v2/damaged/blobs/${damaged.layer}`)).status, 404)
    assert.equal((await test.send('GET', '/v2/dangling/manifests/1')).status, 404)
    await test.pushBlob('damaged', 'layer')
    const healed = await checkStore(await openRegistryStore(test.dir))
    assert.deepEqual(healed.problems, [])
  })

  it('heals a damaged blob that is pushed again over it', async () => {
    await using test = await startTestRegistry()
    const { layer, digest } = await test.pushImage('app', '1', 'layer')
    await writeFile(test.registry.store.layout.blobPath(layer), 'LAYER')
    await writeFile(
      test.registry.store.layout.blobPath(digest),
      Buffer.alloc(JSON.stringify(await test.send('GET', '/v2/app/manifests/1')).length),
    )
    await using again = await startTestRegistry({ dir: test.dir })
    await again.pushImage('app', '1', 'layer')
    assert.deepEqual((await checkStore(await openRegistryStore(test.dir))).problems, [])
  })
})
