import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { mkdtempDisposableSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { bundleFromJSON } from '@sigstore/bundle'
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify'

import { openLayoutHome } from '../attest/image-home.ts'
import type { ImageHome } from '../attest/image-home.ts'
import { predicateTypes, toPredicateType } from '../attest/statement.ts'
import { openLayout } from '../layout/layout.ts'
import type { Layout } from '../layout/layout.ts'
import type { Descriptor, ImageManifest } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { createAdmission } from './admit.ts'
import { generateKeys, loadSigningKey, loadVerificationKey, parseVerificationKey } from './keys.ts'
import type { SigningKey } from './keys.ts'
import { parseImagePolicy } from './policy.ts'
import { attestImage, signImage, verifyImage } from './sign.ts'

async function newKey(type: 'ecdsa' | 'rsa' | 'ed25519' = 'ecdsa'): Promise<SigningKey> {
  return loadSigningKey('env://KEY', { env: { KEY: (await generateKeys({ type })).privateKey } })
}

/** A layout with the image `localhost/shop/web:1`. */
async function withImage(): Promise<Disposable & { layout: Layout; home: ImageHome; image: Descriptor }> {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-sign-'))
  const layout = await openLayout(folder.path)
  const config = await layout.writeJson(mediaTypes.config, {
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [] },
  })
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [] }
  const image = await layout.writeJson(mediaTypes.manifest, manifest)
  await layout.tag('localhost/shop/web:1', image)
  const home = await openLayoutHome(layout, 'localhost/shop/web:1')
  return { layout, home, image, [Symbol.dispose]: () => folder.remove() }
}

describe('signImage', () => {
  for (const type of ['ecdsa', 'rsa', 'ed25519'] as const) {
    for (const legacy of [false, true]) {
      it(`is verified by the ${type} key that signed, ${legacy ? 'under a tag' : 'as a bundle'}, and by no other`, async () => {
        using sample = await withImage()
        const key = await newKey(type)
        await signImage(sample.home, { key, legacy, annotations: { team: 'shop' } })
        const [evidence] = await verifyImage(sample.home, { keys: [key.publicKey], annotations: { team: 'shop' } })
        assert.equal(evidence?.format, legacy ? 'legacy' : 'bundle')
        await assert.rejects(verifyImage(sample.home, { keys: [(await newKey(type)).publicKey] }), {
          code: 'FAIRLEAD_OCI_SIGNATURE',
          message: /1 rejected: none of the keys made its signature/,
        })
        await assert.rejects(verifyImage(sample.home, { keys: [key.publicKey], annotations: { team: 'other' } }), {
          code: 'FAIRLEAD_OCI_SIGNATURE',
        })
      })
    }
  }

  it('makes what the libraries of sigstore verify offline', async () => {
    using sample = await withImage()
    const key = await newKey()
    const [signed] = await signImage(sample.home, { key })
    const bundle = bundleFromJSON(await readBundle(sample.layout, signed?.digest))
    const trust = toTrustMaterial(
      { tlogs: [], ctlogs: [], timestampAuthorities: [], certificateAuthorities: [], mediaType: '' },
      () => ({ publicKey: createPublicKey(key.publicKey.pem), validFor: () => true }),
    )
    const verifier = new Verifier(trust, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 })
    assert.doesNotThrow(() => verifier.verify(toSignedEntity(bundle)))
  })

  it('leaves the image as it is, and signs once', async () => {
    using sample = await withImage()
    const key = await newKey()
    const [first] = await signImage(sample.home, { key })
    const [second] = await signImage(sample.home, { key })
    assert.notEqual(first?.digest, undefined)
    assert.equal(second?.digest, undefined)
    assert.equal((await sample.layout.referrers(sample.image.digest)).length, 1)
    assert.equal(
      (await sample.layout.resolve('localhost/shop/web:1', 'linux/amd64'))?.descriptor.digest,
      sample.image.digest,
    )
  })

  it('signs an index and every image in it', async () => {
    using sample = await withImage()
    const platform = { os: 'linux', architecture: 'amd64' }
    const manifests = [{ ...sample.image, platform }]
    const index = await sample.layout.writeJson(mediaTypes.index, {
      schemaVersion: 2,
      mediaType: mediaTypes.index,
      manifests,
    })
    await sample.layout.tag('localhost/shop/web:2', index)
    const key = await newKey()
    const signed = await signImage(await openLayoutHome(sample.layout, 'localhost/shop/web:2'), { key })
    assert.deepEqual(
      signed.map(({ subject }) => subject),
      [index.digest, sample.image.digest],
    )
    await verifyImage(sample.home, { keys: [key.publicKey] })
  })
})

describe('verifyImage', () => {
  it('does not take the signature of another image for its own', async () => {
    using sample = await withImage()
    const key = await newKey()
    const [signed] = await signImage(sample.home, { key })
    const other = await sample.layout.writeJson(mediaTypes.manifest, {
      ...(JSON.parse((await sample.layout.readBlob(sample.image.digest)).toString()) as object),
      annotations: { other: 'image' },
    })
    await sample.layout.tag('localhost/shop/other:1', other)
    const manifest = await readManifest(sample.layout, signed?.digest)
    const moved = await sample.layout.writeJson(mediaTypes.manifest, { ...manifest, subject: other })
    await sample.layout.attach(moved)
    await assert.rejects(
      verifyImage(await openLayoutHome(sample.layout, 'localhost/shop/other:1'), { keys: [key.publicKey] }),
      {
        code: 'FAIRLEAD_OCI_SIGNATURE',
        message: /it is about another image/,
      },
    )
  })

  it('refuses a statement that was changed', async () => {
    using sample = await withImage()
    const key = await newKey()
    const predicate = { builder: 'ours' }
    const { digest } = await attestImage(sample.home, { key, predicateType: predicateTypes.provenance, predicate })
    const bundle = (await readBundle(sample.layout, digest)) as { dsseEnvelope: { payload: string } }
    const payload = Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString().replace('ours', 'evil')
    bundle.dsseEnvelope.payload = Buffer.from(payload).toString('base64')
    const content = await sample.layout.writeBlob(Buffer.from(JSON.stringify(bundle)))
    const manifest = await readManifest(sample.layout, digest)
    const layers = manifest.layers.map((layer) => ({ ...layer, ...content }))
    await sample.layout.detach(digest ?? sample.image.digest)
    await sample.layout.attach(await sample.layout.writeJson(mediaTypes.manifest, { ...manifest, layers }))
    await assert.rejects(
      verifyImage(sample.home, { keys: [key.publicKey], predicateType: predicateTypes.provenance }),
      {
        code: 'FAIRLEAD_OCI_SIGNATURE',
      },
    )
  })

  it('tells signatures from attestations', async () => {
    using sample = await withImage()
    const key = await newKey()
    await attestImage(sample.home, { key, predicateType: predicateTypes.spdx, predicate: { name: 'x' } })
    await assert.rejects(verifyImage(sample.home, { keys: [key.publicKey] }), { code: 'FAIRLEAD_OCI_SIGNATURE' })
    const [evidence] = await verifyImage(sample.home, { keys: [key.publicKey], predicateType: predicateTypes.spdx })
    assert.deepEqual(evidence?.predicate, { name: 'x' })
  })
})

describe('loadSigningKey', () => {
  it('reads an encrypted key only with its passphrase, and says nothing of its content', async () => {
    const { privateKey } = await generateKeys({ passphrase: 'correct horse' })
    assert.match(privateKey, /^-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----/)
    const key = await loadSigningKey('env://KEY', { env: { KEY: privateKey, COSIGN_PASSWORD: 'correct horse' } })
    assert.ok(key.publicKey.verify(Buffer.from('x'), key.sign(Buffer.from('x'))))
    await assert.rejects(loadSigningKey('env://KEY', { env: { KEY: privateKey, COSIGN_PASSWORD: 'wrong' } }), {
      code: 'FAIRLEAD_OCI_KEY',
      message: 'Cannot use key "env://KEY": the passphrase is wrong, or the file is damaged',
    })
    await assert.rejects(loadSigningKey('env://KEY', { env: { KEY: privateKey } }), /there is no passphrase/)
  })

  it('reads PKCS #8 with a passphrase, SEC 1 and PKCS #1', async () => {
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    const texts = [
      ec.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'pw' }),
      ec.export({ type: 'sec1', format: 'pem' }),
      rsa.export({ type: 'pkcs1', format: 'pem' }),
    ]
    for (const text of texts)
      await loadSigningKey('env://KEY', { env: { KEY: text.toString(), COSIGN_PASSWORD: 'pw' } })
  })

  it('refuses short RSA keys, other curves and costs without bounds', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
    await assert.rejects(loadSigningKey('env://KEY', { env: { KEY: rsa.toString() } }), /1024 bits is too short/)
    const curve = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey
    const text = curve.export({ type: 'pkcs8', format: 'pem' }).toString()
    await assert.rejects(loadSigningKey('env://KEY', { env: { KEY: text } }), /"secp256k1" are not supported/)
    const sealed = {
      kdf: { name: 'scrypt', params: { N: 2 ** 30, r: 8, p: 1 }, salt: '' },
      cipher: { name: 'nacl/secretbox', nonce: '' },
    }
    const body = Buffer.from(JSON.stringify(sealed)).toString('base64')
    const pem = `-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\n${body}\n-----END ENCRYPTED COSIGN PRIVATE KEY-----\n`
    await assert.rejects(loadSigningKey('env://KEY', { env: { KEY: pem, COSIGN_PASSWORD: '' } }), /out of bounds/)
  })

  it('does not take a private key for a public one', async () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-key-'))
    const file = join(folder.path, 'k.key')
    writeFileSync(file, (await generateKeys()).privateKey)
    await assert.rejects(loadVerificationKey(file), { code: 'FAIRLEAD_OCI_KEY', message: /it is a private key/ })
    await assert.rejects(loadVerificationKey(join(folder.path, 'none')), { code: 'FAIRLEAD_OCI_KEY' })
    assert.throws(() => parseVerificationKey('x', 'nonsense'), { code: 'FAIRLEAD_OCI_KEY' })
  })

  it('verifies Ed25519ph, which cosign makes of Ed25519 keys (RFC 8032, section 7.3)', () => {
    const der = Buffer.concat([
      Buffer.from('302a300506032b6570032100', 'hex'),
      Buffer.from('ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf', 'hex'),
    ])
    const pem = `-----BEGIN PUBLIC KEY-----\n${der.toString('base64')}\n-----END PUBLIC KEY-----\n`
    const signature = Buffer.from(
      '98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406',
      'hex',
    )
    const key = parseVerificationKey('rfc', pem)
    assert.equal(key.verify(Buffer.from('abc'), signature), true)
    assert.equal(key.verify(Buffer.from('abd'), signature), false)
  })
})

describe('createAdmission', () => {
  async function policyOf(
    value: unknown,
    keys: Readonly<Record<string, SigningKey>>,
  ): ReturnType<typeof parseImagePolicy> {
    return parseImagePolicy(value, {
      source: 'policy.yaml',
      loadKey: async (source) => keys[source]?.publicKey ?? assert.fail(source),
    })
  }

  it('admits an image when each need is met by one of its keys', async () => {
    using sample = await withImage()
    const [release, build] = [await newKey(), await newKey()]
    const rule = {
      images: 'localhost/shop/*',
      signedBy: ['release'],
      attestations: [{ type: 'provenance', signedBy: 'build' }],
    }
    const policy = await policyOf({ keys: { release: 'r', build: 'b' }, rules: [rule] }, { r: release, b: build })
    const admit = createAdmission({ policy, layout: sample.layout })
    const ask = (): Promise<void> => admit('localhost/shop/web:1', sample.image.digest)
    await assert.rejects(ask(), {
      code: 'FAIRLEAD_OCI_IMAGE_REFUSED',
      message:
        'Cannot run image "localhost/shop/web:1": it has no signature by the key "release" and no attestation of type https://slsa.dev/provenance/v1 by the key "build", which policy.yaml asks for',
    })
    await signImage(sample.home, { key: release })
    // Signed by a key of the policy, but not by the one that this statement needs.
    await attestImage(sample.home, { key: release, predicateType: predicateTypes.provenance, predicate: {} })
    await assert.rejects(ask(), /no attestation of type/)
    await attestImage(sample.home, { key: build, predicateType: predicateTypes.provenance, predicate: {} })
    await ask()
  })

  it('refuses what no rule names unless others are allowed, and takes the first rule that fits', async () => {
    using sample = await withImage()
    const ask = async (value: object): Promise<void> =>
      createAdmission({ policy: await policyOf(value, {}), layout: sample.layout })(
        'localhost/shop/web:1',
        sample.image.digest,
      )
    await assert.rejects(ask({ rules: [] }), /no rule of policy.yaml names it, and others are refused/)
    await ask({ rules: [], otherwise: 'allow' })
    await ask({ rules: [{ images: ['localhost/**'] }] })
  })

  it('tells everything that is wrong with a policy', async () => {
    const value = {
      keys: { a: 1 },
      rules: [
        { image: 'x', signedBy: 'b' },
        { images: 'y', attestations: [{ type: 'nonsense', signedBy: [] }] },
      ],
      otherwise: 'maybe',
    }
    await assert.rejects(policyOf(value, {}), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'FAIRLEAD_OCI_IMAGE_POLICY')
      for (const part of [
        'the key "a" is no text',
        'has "image"',
        '"images" of rule 1',
        'names the key "b"',
        '"nonsense"',
        'names no key',
        '"otherwise"',
      ])
        assert.ok(error.message.includes(part), `${part} in ${error.message}`)
      return true
    })
  })
})

describe('toPredicateType', () => {
  it('knows words and URIs', () => {
    assert.equal(toPredicateType('slsaprovenance'), 'https://slsa.dev/provenance/v1')
    assert.equal(toPredicateType('https://example.com/x'), 'https://example.com/x')
    assert.equal(toPredicateType('toString'), undefined)
  })
})

async function readManifest(layout: Layout, digest: Descriptor['digest'] | undefined): Promise<ImageManifest> {
  assert.ok(digest)
  return JSON.parse((await layout.readBlob(digest)).toString()) as ImageManifest
}

async function readBundle(layout: Layout, digest: Descriptor['digest'] | undefined): Promise<unknown> {
  const [layer] = (await readManifest(layout, digest)).layers
  assert.ok(layer)
  return JSON.parse(readFileSync(layout.blobPath(layer.digest), 'utf8')) as unknown
}
