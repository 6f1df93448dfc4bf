import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openLayout } from '../../layout/layout.ts'
import { digestOf } from '../../spec/digest.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import { startDockerRegistry } from '../client.fixture.ts'
import { listReferrers, putReferrer } from '../referrers.ts'
import { startTestRegistry } from '../server/registry-fixture.ts'
import { parseReplication } from './config.ts'
import { replicateImages } from './replicate.ts'

function reasonToSkip(): string | false {
  const isThere = execFileSync('sh', ['-c', 'command -v docker-registry || true']).length > 0
  if (!isThere && process.env['CI'] === 'true') throw new Error('Cannot skip in CI: docker-registry is not installed')
  return isThere ? false : 'not installed: docker-registry'
}

/** An index over an image, with something that refers to the index. */
async function pushIndex(source: Awaited<ReturnType<typeof startTestRegistry>>, repository: string): Promise<string> {
  const { digest, manifest } = await source.pushImage(repository, 'single', `content of ${repository}`)
  const size = Buffer.byteLength(JSON.stringify(manifest))
  const platform = { os: 'linux', architecture: 'amd64' }
  const manifests = [{ mediaType: mediaTypes.manifest, digest, size, platform }]
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests }
  const answer = await source.putManifest(repository, '1', index, mediaTypes.index)
  assert.equal(answer.status, 201)
  const reference = `${source.registry.address}/${repository}:1`
  const config = { mediaType: mediaTypes.empty, digest: digestOf('{}'), size: 2 }
  await putReferrer(reference, {
    manifest: { schemaVersion: 2, artifactType: 'application/x-test', config, layers: [config] },
    blobs: [],
  })
  return reference
}

describe('replicateImages', { skip: reasonToSkip(), timeout: 600_000 }, () => {
  it('brings new images with platforms and referrers to registries of both kinds, and back, once', async () => {
    const work = await mkdtemp(join(tmpdir(), 'fairlead-replication-'))
    try {
      await using source = await startTestRegistry()
      await using ours = await startTestRegistry()
      await using debian = await startDockerRegistry(work)
      const layout = await openLayout(join(work, 'layout'))
      await pushIndex(source, 'shop/web')
      await source.pushImage('other/x', '1', 'other')
      const config = parseReplication(
        JSON.stringify({
          rules: [
            {
              source: { registry: source.registry.address },
              destinations: [{ registry: ours.registry.address, prefix: 'mirror' }, { registry: debian.host }],
              repositoryFilters: [{ filter: 'shop/', filterType: 'PREFIX_MATCH' }],
            },
          ],
        }),
      )
      const planned = await replicateImages(config, { layout })
      assert.deepEqual(
        planned.images.map(({ action, outcome }) => `${action} ${outcome}`),
        Array(4).fill('copy planned'),
      )
      assert.ok(planned.summary.bytes > 0)
      assert.deepEqual(ours.registry.store.tags('mirror/shop/web'), [])

      const done = await replicateImages(config, { layout, apply: true })
      assert.deepEqual([done.summary.copied, done.summary.failed, done.faults], [4, 0, []])
      assert.equal(done.summary.movedBytes, planned.summary.bytes + 2 * 2)
      for (const there of [`${ours.registry.address}/mirror/shop/web:1`, `${debian.host}/shop/web:1`]) {
        assert.deepEqual(
          (await listReferrers(there)).map(({ artifactType }) => artifactType),
          ['application/x-test'],
        )
      }
      assert.deepEqual(await ours.registry.store.repositories(), ['mirror/shop/web'])
      const again = await replicateImages(config, { layout, apply: true })
      assert.deepEqual([again.summary.same, again.images], [4, []])

      const back = {
        source: { registry: debian.host },
        destinations: [{ registry: ours.registry.address, prefix: 'back' }],
      }
      const returned = await replicateImages(parseReplication(JSON.stringify({ rules: [back] })), {
        layout,
        apply: true,
      })
      assert.deepEqual([returned.summary.copied, returned.summary.failed], [2, 0])
      assert.equal((await listReferrers(`${ours.registry.address}/back/shop/web:1`)).length, 1)
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  })

  it('leaves the tag out where it cannot be changed, and goes on after a failure', async () => {
    const work = await mkdtemp(join(tmpdir(), 'fairlead-replication-'))
    try {
      await using source = await startTestRegistry()
      await using fixed = await startTestRegistry({ tagMutability: [{ repositories: '**', mode: 'IMMUTABLE' }] })
      const layout = await openLayout(source.dir)
      const { digest } = await source.pushImage('shop/web', '1', 'new')
      await source.pushImage('shop/zoo', '1', 'zoo')
      await fixed.pushImage('shop/web', '1', 'old')
      const rules = [
        { source: { registry: '127.0.0.1:1' }, destinations: [{ registry: fixed.registry.address }] },
        { destinations: [{ registry: fixed.registry.address }] },
      ]
      const done = await replicateImages(parseReplication(JSON.stringify({ rules })), { layout, apply: true })
      assert.deepEqual(
        done.images.map(({ outcome }) => outcome),
        ['untagged', 'copied'],
      )
      assert.deepEqual(
        done.faults.map(({ rule, place }) => [rule, place]),
        [[1, '127.0.0.1:1']],
      )
      assert.equal((await fixed.send('HEAD', `/v2/shop/web/manifests/${digest}`)).status, 200)
      assert.notEqual(
        (await fixed.send('HEAD', '/v2/shop/web/manifests/1')).headers.get('docker-content-digest'),
        digest,
      )
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  })
})
