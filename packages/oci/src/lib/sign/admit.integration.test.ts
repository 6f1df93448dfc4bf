import assert from 'node:assert/strict'
import { mkdtempDisposableSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openRegistryHome } from '../attest/image-home.ts'
import { openLayout } from '../layout/layout.ts'
import type { Layout } from '../layout/layout.ts'
import { createRegistryClient } from '../registry/client.ts'
import { pullImage } from '../registry/pull.ts'
import { pushImage } from '../registry/push.ts'
import { serveRegistry } from '../registry/server/server.ts'
import type { Descriptor } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { createAdmission } from './admit.ts'
import type { AdmitImage } from './admit.ts'
import { generateKeys, loadSigningKey } from './keys.ts'
import type { SigningKey } from './keys.ts'
import { parseImagePolicy } from './policy.ts'
import { signImage } from './sign.ts'

describe('createAdmission with a registry', () => {
  it('takes a signature of the image along, so that the next start needs no registry', async () => {
    await using rig = await createRig()
    const { reference, digest, key, target } = await rig.pulled()
    await assert.rejects(rig.admit(reference, digest), { code: 'FAIRLEAD_OCI_IMAGE_REFUSED' })
    await signImage(await openRegistryHome(reference), { key })
    await rig.admit(reference, digest)
    await rig.registry.close()
    await rig.admit(reference, digest)
    assert.equal((await target.referrers(digest)).length, 1)
  })

  it('takes the signature of the index for its images, as long as the tag means it', async () => {
    await using rig = await createRig()
    const { reference, digest, key, index } = await rig.pulled()
    const home = await openRegistryHome(`${reference.slice(0, reference.lastIndexOf(':'))}@${index.digest}`)
    await signImage({ ...home, children: async () => [] }, { key })
    await rig.admit(reference, digest)
    await rig.moveTag()
    await assert.rejects(rig.admit(reference, digest), { code: 'FAIRLEAD_OCI_IMAGE_REFUSED', message: /no signature/ })
  })

  it('refuses when nobody can be asked', async () => {
    await using rig = await createRig()
    const { reference, digest } = await rig.pulled()
    await rig.registry.close()
    await assert.rejects(rig.admit(reference, digest), {
      code: 'FAIRLEAD_OCI_IMAGE_REFUSED',
      message: /its registry cannot be asked for signatures/,
    })
  })
})

interface Pulled {
  reference: string
  /** Of the image for one platform. */
  digest: Descriptor['digest']
  index: Descriptor
  key: SigningKey
  target: Layout
}

/** A registry with an index of one image, and a machine that pulled the image and asks for a signature. */
async function createRig(): Promise<
  AsyncDisposable & {
    registry: Awaited<ReturnType<typeof serveRegistry>>
    admit: AdmitImage
    pulled(): Promise<Pulled>
    moveTag(): Promise<void>
  }
> {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-admit-'))
  const registry = await serveRegistry({ dir: join(folder.path, 'registry') })
  const source = await openLayout(join(folder.path, 'source'))
  const target = await openLayout(join(folder.path, 'target'))
  const key = await loadSigningKey('env://KEY', { env: { KEY: (await generateKeys()).privateKey } })
  const value = { keys: { k: 'k' }, rules: [{ images: '**', signedBy: 'k' }] }
  const policy = await parseImagePolicy(value, { source: 'policy', loadKey: async () => key.publicKey })
  const reference = `${new URL(registry.url).host}/team/app:1`
  const push = async (text: string): Promise<Descriptor> => {
    const index = await addIndex(source, text)
    await source.tag('localhost/app:1', index)
    await pushImage('localhost/app:1', reference, { layout: source })
    return index
  }
  // It gives up at once on a registry that is gone.
  const client = createRegistryClient({ retries: 0 })
  return {
    registry,
    admit: createAdmission({ policy, layout: target, client }),
    async pulled() {
      const index = await push('one')
      const { descriptor } = await pullImage(reference, { layout: target, platform: 'linux/amd64' })
      return { reference, digest: descriptor.digest, index, key, target }
    },
    async moveTag() {
      await push('two')
    },
    async [Symbol.asyncDispose]() {
      await registry.close()
      folder.remove()
    },
  }
}

async function addIndex(layout: Layout, text: string): Promise<Descriptor> {
  const platform = { os: 'linux', architecture: 'amd64' }
  const rootfs = { type: 'layers', diff_ids: [] }
  const config = await layout.writeJson(mediaTypes.config, { ...platform, rootfs, author: text })
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [] }
  const image = await layout.writeJson(mediaTypes.manifest, manifest)
  const manifests = [{ ...image, platform }]
  return layout.writeJson(mediaTypes.index, { schemaVersion: 2, mediaType: mediaTypes.index, manifests })
}
