// Keys, signatures, attestations and the policy that holds images against them, as a person uses them.
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Spec, Validation } from '@cyclonedx/cyclonedx-library'
import { serveRegistry } from '@fairlead/oci/server'
import { createKubectl, eventually, Home, type Kubectl, missing } from './support/machine.ts'

const reference = 'localhost/hello/hello:latest'

describe('the supply chain of an image', { skip: missing(['kubectl']) }, () => {
  let home: Home
  let kubectl: Kubectl
  let app: string
  let policy: string
  const keyOf = (name: string): string => join(home.dir, 'keys', `${name}.key`)
  const publicOf = (name: string): string => join(home.dir, 'keys', `${name}.pub`)

  before(async () => {
    home = new Home({ COSIGN_PASSWORD: 'correct horse' })
    app = join(home.dir, 'hello')
    mkdirSync(join(app, 'src'), { recursive: true })
    mkdirSync(join(home.dir, 'keys'))
    writeFileSync(
      join(app, 'package.json'),
      JSON.stringify({ name: 'hello', version: '1.2.3', type: 'module', license: 'MIT', main: 'src/main.js' }),
    )
    const lock = {
      name: 'hello',
      version: '1.2.3',
      lockfileVersion: 3,
      requires: true,
      packages: { '': { name: 'hello', version: '1.2.3' } },
    }
    writeFileSync(join(app, 'package-lock.json'), JSON.stringify(lock))
    writeFileSync(
      join(app, 'src', 'main.js'),
      `import { createServer } from 'node:http'
createServer((_, response) => response.end('hello')).listen(process.env.PORT)
process.on('SIGTERM', () => process.exit())
`,
    )
    policy = join(home.dir, 'images.yaml')
    writeFileSync(
      policy,
      `keys:
  release: keys/release.pub
rules:
  - images: localhost/hello/*
    signedBy: release
otherwise: refuse
`,
    )
    for (const name of ['release', 'other']) {
      await home.fairleadOk(['image', 'keygen', '--prefix', join(home.dir, 'keys', name)])
    }
    await home.fairleadOk(['cluster', 'start', '--image-policy', policy])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    await home.fairleadOk(['build', app])
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('signs what a scan found, with what it could not check', async () => {
    const key = ['--key', keyOf('release')]
    await home.fairleadOk(['image', 'scan', reference, '--attest', ...key])
    const verify = ['image', 'verify', reference, '--type', 'vuln', '--key', publicOf('release'), '--json']
    const verified = await home.fairleadOk(verify)
    const text = typeof verified === 'string' ? verified : JSON.stringify(verified)
    assert.match(text, /attestation\/vuln\/v1/)
    const folder = await home.fairlead(['image', 'scan', app, '--attest', ...key])
    assert.equal(folder.code, 2)
    assert.match(folder.stderr, /it is no image/)
  })

  it('keeps private keys to their owner, and never replaces them', async () => {
    assert.equal(statSync(keyOf('release')).mode & 0o777, 0o600)
    assert.match(readFileSync(keyOf('release'), 'utf8'), /^-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----/)
    const again = await home.fairlead(['image', 'keygen', '--prefix', join(home.dir, 'keys', 'release')])
    assert.equal(again.code, 2)
  })

  it('has a bill of materials of each image, of exactly what is inside', async () => {
    const spdx = JSON.parse((await home.fairleadOk(['image', 'sbom', reference])).stdout) as {
      packages: { name: string; versionInfo: string }[]
    }
    const versions = new Map(spdx.packages.map(({ name, versionInfo }) => [name, versionInfo]))
    assert.equal(versions.get('hello'), '1.2.3')
    assert.match(versions.get('node') ?? '', /^24\./)
    for (const name of ['openssl', 'zlib', 'undici', 'v8', 'libc6']) assert.ok(versions.has(name), name)
    assert.equal(versions.has('npm'), false)
    const cyclonedx = (await home.fairleadOk(['image', 'sbom', reference, '--format', 'cyclonedx'])).stdout
    assert.equal(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(cyclonedx), null)
  })

  it('refuses to bring up an app whose images are not signed', async () => {
    const refused = await home.fairlead(['up', app])
    assert.equal(refused.code, 1)
    assert.match(
      refused.stderr,
      /Cannot run image "localhost\/hello\/hello:[0-9a-f]{12}": it has no signature by the key "release"/,
    )
    assert.match(refused.stderr, /fairlead explain FAIRLEAD_OCI_IMAGE_REFUSED/)
  })

  it('does not start a container of an unsigned image, and an event says why; signed, it runs', async () => {
    await kubectl(`run hello --image=${reference} --image-pull-policy=Never --env=PORT=8080`)
    await eventually('an event that names what is missing', async () =>
      (await kubectl('get events')).includes('it has no signature by the key "release"'),
    )
    const waiting = await kubectl('get pod hello -o jsonpath={.status.containerStatuses[0].state.waiting.reason}')
    assert.equal(waiting, 'SignatureValidationFailed')

    await home.fairleadOk(['image', 'sign', reference, '--key', keyOf('other')])
    assert.equal((await home.fairlead(['image', 'verify', reference, '--policy', policy])).code, 1)
    await home.fairleadOk(['image', 'sign', reference, '--key', keyOf('release')])
    await home.fairleadOk(['image', 'verify', reference, '--policy', policy])
    await kubectl('wait --for=condition=Ready pod/hello --timeout=180s')
    await kubectl('delete pod hello --wait=false')
  })

  it('takes what the build attached as attestations, and pushes all of it with the image', async () => {
    const before = JSON.parse((await home.fairleadOk(['image', 'inspect', reference, '--json'])).stdout) as {
      descriptor: { digest: string }
    }
    const attested = await home.fairleadOk(['image', 'attest', reference, '--key', keyOf('release')])
    assert.deepEqual(attested.stdout.trim().split('\n').toSorted(), [
      'https://cyclonedx.org/bom',
      'https://slsa.dev/provenance/v1',
      'https://spdx.dev/Document',
    ])
    await using registry = await serveRegistry({ dir: join(home.dir, 'registry') })
    const target = `${new URL(registry.url).host}/acme/hello:1.2.3`
    const pushed = await home.fairleadOk(['image', 'push', reference, target, '--referrers', '--json'])
    const { descriptor, referrers } = JSON.parse(pushed.stdout) as { descriptor: { digest: string }; referrers: number }
    assert.equal(descriptor.digest, before.descriptor.digest)
    // Two signatures, three documents and the three of them signed, and the scan.
    assert.equal(referrers, 9)

    const type = ['--type', 'slsaprovenance', '--json']
    const verified = await home.fairleadOk(['image', 'verify', target, '--key', publicOf('release'), ...type])
    const { verified: evidence } = JSON.parse(verified.stdout) as {
      verified: { predicate: { buildDefinition: { resolvedDependencies: { name?: string; uri?: string }[] } } }[]
    }
    const dependencies = evidence[0]?.predicate.buildDefinition.resolvedDependencies ?? []
    assert.ok(dependencies.some(({ name }) => name === 'package-lock.json'))
    assert.ok(dependencies.some(({ uri }) => uri?.startsWith('pkg:npm/node-linux-')))
    const other = await home.fairlead(['image', 'verify', target, '--key', publicOf('other'), '--type', 'spdx'])
    assert.equal(other.code, 1)
    assert.match(other.stderr, /it has no attestation of type https:\/\/spdx.dev\/Document/)
  })

  it('brings an app up that it signs by itself', async () => {
    await home.fairleadOk(['up', app, '--sign-key', keyOf('release')])
    const refused = await home.fairlead(['up', app, '--image-policy', publicOf('release')])
    assert.equal(refused.code, 2)
  })

  it('never shows a key or a passphrase', async () => {
    const wrong = await home.fairlead(['image', 'sign', reference, '--key', publicOf('release')])
    assert.equal(wrong.code, 2)
    assert.doesNotMatch(wrong.stderr, /correct horse|BEGIN/)
  })
})
