import assert from 'node:assert/strict'
import { chmodSync, mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { describe, it } from 'node:test'
import { mediaTypes } from '@fairlead/oci'
import { createTar } from '@fairlead/oci/archive'
import { openLayout } from '@fairlead/oci/layout'
import { createRegistryClient, pushImage } from '@fairlead/oci/registry'
import { serveRegistry } from '@fairlead/oci/server'

import { openCache } from '../layers/cache.ts'
import { pullBase } from './registry.ts'

/** "ada" with the password "pw". */
const HTPASSWD = 'ada:$2y$04$w..fBArtt5f5mXfJlkwhv.WkIX/GZJUa6YmTgFtHUpYVnTn1f9xvO\n'

describe('pullBase from a registry with passwords', () => {
  it('asks a credential helper of the user, follows registries.json, and is refused without both', async () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-base-'))
    const dir = folder.path
    writeFileSync(join(dir, 'htpasswd'), HTPASSWD)
    const htpasswd = join(dir, 'htpasswd')
    await using registry = await serveRegistry({ dir: join(dir, 'registry'), htpasswd, collect: { everyMs: 0 } })
    const source = await openLayout(join(dir, 'source'))
    const tar = createTar([{ path: 'etc/os-release', type: 'file', content: Buffer.from('ID=debian\n') }])
    const layer = { ...(await source.writeBlob(tar)), mediaType: mediaTypes.layer }
    const config = {
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
      config: {},
    }
    await source.tag(
      'localhost/base:1',
      await source.writeJson(mediaTypes.manifest, {
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        config: await source.writeJson(mediaTypes.config, config),
        layers: [layer],
      }),
    )
    const client = createRegistryClient({ credentials: () => ({ username: 'ada', password: 'pw' }) })
    const pushed = await pushImage('localhost/base:1', `${registry.address}/team/base:1`, { layout: source, client })

    const env: NodeJS.ProcessEnv = {
      HOME: dir,
      FAIRLEAD_HOME: dir,
      DOCKER_CONFIG: dir,
      PATH: `${dir}${delimiter}${process.env['PATH']}`,
    }
    const options = {
      cache: await openCache(join(dir, 'cache')),
      base: '',
      architecture: 'amd64',
      packages: [],
      isRefresh: false,
      env,
      onStart: () => {},
    } as const
    await assert.rejects(pullBase(`${registry.address}/team/base:1`, options), (error: Error & { code: string }) => {
      assert.equal(error.code, 'FAIRLEAD_BUILD_BASE')
      assert.equal((error.cause as { code: string }).code, 'FAIRLEAD_OCI_REGISTRY_DENIED')
      return true
    })

    writeFileSync(join(dir, 'docker-credential-test'), `#!/bin/sh\necho '{"Username":"ada","Secret":"pw"}'\n`)
    chmodSync(join(dir, 'docker-credential-test'), 0o755)
    writeFileSync(join(dir, 'config.json'), JSON.stringify({ credHelpers: { [registry.address]: 'test' } }))
    const base = await pullBase(`${registry.address}/team/base:1`, options)
    assert.equal(base.digest, pushed.descriptor.digest)

    const registries = [{ prefix: 'nowhere.invalid', mirrors: [{ location: registry.address }] }]
    writeFileSync(join(dir, 'registries.json'), JSON.stringify({ registries }))
    const mirrored = await pullBase('nowhere.invalid/team/base:1', options)
    assert.deepEqual([mirrored.digest, mirrored.name], [base.digest, 'nowhere.invalid/team/base:1'])
  })
})
