import assert from 'node:assert/strict'
import { chmodSync, mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { describe, it } from 'node:test'
import type { Pod, Secret, ServiceAccount } from '@fairlead/kube/types/core-v1'
import { mediaTypes } from '@fairlead/oci'
import type { Digest } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'
import type { Layout } from '@fairlead/oci/layout'
import { createUserClient, pullImage, pushImage } from '@fairlead/oci/registry'
import type { RegistryClient } from '@fairlead/oci/registry'
import { serveRegistry } from '@fairlead/oci/server'
import type { ServedRegistry } from '@fairlead/oci/server'
import {
  createAdmission,
  generateKeys,
  loadSigningKey,
  openRegistryHome,
  parseImagePolicy,
  signImage,
} from '@fairlead/oci/sign'

import { prepareImage } from './images.ts'
import type { FoundImage, ImageSources, ImageTrouble } from './images.ts'
import { readPullSecrets } from './pull-secrets.ts'
import type { PullSecretSources } from './pull-secrets.ts'

/** "ada" with the password "pw". */
const HTPASSWD = 'ada:$2y$04$w..fBArtt5f5mXfJlkwhv.WkIX/GZJUa6YmTgFtHUpYVnTn1f9xvO\n'
const ada = { username: 'ada', password: 'pw' }
const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' }

interface Rig extends AsyncDisposable {
  readonly dir: string
  readonly registry: ServedRegistry
  readonly image: string
  /** Empty at first. */
  readonly layout: Layout
  /** Somebody who may push. */
  readonly owner: RegistryClient
  /** Files of the user who runs the node; nobody is logged in. */
  readonly env: NodeJS.ProcessEnv
  push(content: string): Promise<Digest>
  prepare(options?: {
    secrets?: Record<string, Secret>
    accounts?: Record<string, ServiceAccount>
    pod?: Pod['spec']
    policy?: 'Always' | 'IfNotPresent'
    sources?: Partial<ImageSources>
  }): Promise<FoundImage | ImageTrouble>
}

/** A registry that asks for a password, and a node that has nothing. */
async function createRig(): Promise<Rig> {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-images-'))
  const dir = folder.path
  writeFileSync(join(dir, 'htpasswd'), HTPASSWD)
  const registry = await serveRegistry({
    dir: join(dir, 'registry'),
    htpasswd: join(dir, 'htpasswd'),
    collect: { everyMs: 0 },
  })
  const layout = await openLayout(join(dir, 'node'))
  const source = await openLayout(join(dir, 'source'))
  const env: NodeJS.ProcessEnv = { HOME: dir, FAIRLEAD_HOME: dir, PATH: `${dir}${delimiter}${process.env['PATH']}` }
  const image = `${registry.address}/team/app:1`
  const owner = createUserClient({ env, credentials: () => ada })
  const sources: ImageSources = {
    layout,
    pull: async (reference, asked) => void (await pullImage(reference, { layout, ...asked })),
    openRegistryClient: (credentials) => createUserClient({ env, credentials, retries: 0 }),
  }
  return {
    dir,
    registry,
    image,
    layout,
    owner,
    env,
    async push(content) {
      await source.tag('localhost/app:1', await writeImage(source, content))
      return (await pushImage('localhost/app:1', image, { layout: source, client: owner })).descriptor.digest
    },
    prepare({ secrets = {}, accounts = {}, pod = { containers: [] }, policy = 'IfNotPresent', ...given } = {}) {
      const from: PullSecretSources = {
        secret: (namespace, name) => Promise.resolve(secrets[`${namespace}/${name}`]),
        serviceAccount: (namespace, name) => Promise.resolve(accounts[`${namespace}/${name}`]),
      }
      const auths = async (): Promise<Awaited<ReturnType<typeof readPullSecrets>>['auths']> =>
        (await readPullSecrets({ metadata: { namespace: 'team' }, spec: pod }, from)).auths
      const container = { name: 'main', image, imagePullPolicy: policy }
      const { signal } = new AbortController()
      return prepareImage(container, { ...sources, ...given.sources }, { signal, auths })
    },
    async [Symbol.asyncDispose]() {
      await registry.close()
      folder.remove()
    },
  }
}

async function writeImage(layout: Layout, content: string): Promise<Awaited<ReturnType<Layout['writeJson']>>> {
  const layer = { ...(await layout.writeBlob(Buffer.from(content))), mediaType: mediaTypes.layer }
  const config = { ...platform, rootfs: { type: 'layers', diff_ids: [layer.digest] }, config: {} }
  return layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await layout.writeJson(mediaTypes.config, config),
    layers: [layer],
  })
}

function secretOf(host: string, { username, password } = ada): Secret {
  const auth = Buffer.from(`${username}:${password}`).toString('base64')
  const config = JSON.stringify({ auths: { [host]: { auth } } })
  return {
    type: 'kubernetes.io/dockerconfigjson',
    data: { '.dockerconfigjson': Buffer.from(config).toString('base64') },
  }
}

function digestOf(found: FoundImage | ImageTrouble): string {
  if ('reason' in found) throw found.error
  return found.image.descriptor.digest
}

describe('prepareImage from a registry with passwords', () => {
  it('is refused without credentials', async () => {
    await using rig = await createRig()
    await rig.push('one')
    const found = await rig.prepare()
    assert.ok('reason' in found)
    assert.equal(found.reason, 'ErrImagePull')
    assert.match(found.error.message, /answered 401/)
  })

  it('takes those of the docker configuration of the user who started the cluster', async () => {
    await using rig = await createRig()
    const pushed = await rig.push('one')
    const auth = Buffer.from('ada:pw').toString('base64')
    const config = join(rig.dir, 'config.json')
    writeFileSync(config, JSON.stringify({ auths: { [rig.registry.address]: { auth } } }))
    rig.env['DOCKER_CONFIG'] = rig.dir
    assert.equal(digestOf(await rig.prepare()), pushed)
  })

  it('asks the credential helper of that user', async () => {
    await using rig = await createRig()
    const pushed = await rig.push('one')
    const helper = join(rig.dir, 'docker-credential-test')
    writeFileSync(helper, `#!/bin/sh\necho '{"Username":"ada","Secret":"pw"}'\n`)
    chmodSync(helper, 0o755)
    const config = { credHelpers: { [rig.registry.address]: 'test' } }
    writeFileSync(join(rig.dir, 'config.json'), JSON.stringify(config))
    rig.env['DOCKER_CONFIG'] = rig.dir
    assert.equal(digestOf(await rig.prepare()), pushed)
  })

  it("takes those of the pod's imagePullSecrets, in both forms, and the next where one is not let in", async () => {
    for (const kind of ['dockerconfigjson', 'dockercfg'] as const) {
      await using rig = await createRig()
      const pushed = await rig.push('one')
      const good = secretOf(rig.registry.address)
      const config = JSON.parse(Buffer.from(good.data?.['.dockerconfigjson'] ?? '', 'base64').toString()) as {
        auths: object
      }
      const old: Secret = {
        type: 'kubernetes.io/dockercfg',
        data: { '.dockercfg': Buffer.from(JSON.stringify(config.auths)).toString('base64') },
      }
      const secrets = {
        'team/wrong': secretOf(rig.registry.address, { username: 'ada', password: 'old' }),
        'team/right': kind === 'dockercfg' ? old : good,
        'other/right': secretOf('r.example'),
      }
      const pod = { containers: [], imagePullSecrets: [{ name: 'wrong' }, { name: 'none' }, { name: 'right' }] }
      assert.equal(digestOf(await rig.prepare({ secrets, pod })), pushed, kind)
    }
  })

  it("takes those of the pod's service account where the pod names none", async () => {
    await using rig = await createRig()
    const pushed = await rig.push('one')
    const secrets = { 'team/key': secretOf(rig.registry.address) }
    const accounts = { 'team/builder': { imagePullSecrets: [{ name: 'key' }] } }
    const found = await rig.prepare({ secrets, accounts, pod: { containers: [], serviceAccountName: 'builder' } })
    assert.equal(digestOf(found), pushed)
  })

  it('tells of a secret that is broken, without a word of it', async () => {
    await using rig = await createRig()
    await rig.push('one')
    const data = { '.dockerconfigjson': Buffer.from('hunter2').toString('base64') }
    const secrets = { 'team/bad': { type: 'kubernetes.io/dockerconfigjson', data } }
    const found = await rig.prepare({ secrets, pod: { containers: [], imagePullSecrets: [{ name: 'bad' }] } })
    assert.ok('reason' in found)
    assert.match(found.error.message, /secret team\/bad/)
    assert.doesNotMatch(found.error.message, /hunter2/)
  })

  it('looks signatures up with the same credentials', async () => {
    await using rig = await createRig()
    const pushed = await rig.push('one')
    const key = await loadSigningKey('env://KEY', { env: { KEY: (await generateKeys()).privateKey } })
    const rules = { keys: { k: 'k' }, rules: [{ images: '**', signedBy: 'k' }] }
    const policy = await parseImagePolicy(rules, { source: 'policy', loadKey: () => Promise.resolve(key.publicKey) })
    const secrets = { 'team/key': secretOf(rig.registry.address) }
    const asked = {
      secrets,
      pod: { containers: [], imagePullSecrets: [{ name: 'key' }] },
      sources: { admit: createAdmission({ policy, layout: rig.layout }) },
    }
    const unsigned = await rig.prepare(asked)
    assert.ok('reason' in unsigned)
    assert.equal(unsigned.reason, 'SignatureValidationFailed')
    assert.match(unsigned.error.message, /no signature/)
    await signImage(await openRegistryHome(rig.image, { client: rig.owner }), { key })
    assert.equal(digestOf(await rig.prepare(asked)), pushed)
  })
})

describe('prepareImage with the policy Always', () => {
  const pod = { containers: [], imagePullSecrets: [{ name: 'key' }] }

  it('runs what the tag means now, which IfNotPresent does not ask for', async () => {
    await using rig = await createRig()
    const first = await rig.push('one')
    const secrets = { 'team/key': secretOf(rig.registry.address) }
    assert.equal(digestOf(await rig.prepare({ secrets, pod })), first)
    const second = await rig.push('two')
    assert.equal(digestOf(await rig.prepare({ secrets, pod })), first)
    assert.equal(digestOf(await rig.prepare({ secrets, pod, policy: 'Always' })), second)
  })

  it('runs nothing for somebody whom the registry refuses, and what is here when nobody answers', async () => {
    await using rig = await createRig()
    const first = await rig.push('one')
    await rig.prepare({ secrets: { 'team/key': secretOf(rig.registry.address) }, pod })
    const refused = await rig.prepare({ policy: 'Always' })
    assert.ok('reason' in refused)
    assert.match(refused.error.message, /its pull policy is Always, and pulling it failed/)
    await rig.registry.close()
    assert.equal(digestOf(await rig.prepare({ policy: 'Always' })), first)
  })
})
