import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { compressGzip } from '../archive/gzip.ts'
import { createTar } from '../archive/tar-writer.ts'
import { openLayout } from '../layout/layout.ts'
import { digestOf } from '../spec/digest.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { createRegistryClient } from './client.ts'
import { startDockerRegistry } from './client.fixture.ts'
import type { DockerRegistry } from './client.fixture.ts'
import { pullImage } from './pull.ts'

const PROGRAMS = ['docker-registry', 'skopeo']
/** "ada" with the password "pw". */
const HTPASSWD = 'ada:$2y$04$w..fBArtt5f5mXfJlkwhv.WkIX/GZJUa6YmTgFtHUpYVnTn1f9xvO\n'

function reasonToSkip(): string | false {
  const missing = PROGRAMS.filter((name) => execFileSync('sh', ['-c', `command -v ${name} || true`]).length === 0)
  const reason = missing.length > 0 && `not installed: ${missing.join(', ')}`
  if (reason && process.env['CI'] === 'true') throw new Error(`Cannot skip in CI: ${reason}`)
  return reason
}

describe("pullImage from Debian's docker-registry", { skip: reasonToSkip(), timeout: 600_000 }, () => {
  let work: string
  let host: string
  let registry: DockerRegistry

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'fairlead-registry-'))
    const htpasswd = join(work, 'htpasswd')
    await writeFile(htpasswd, HTPASSWD)
    const auth = `auth: { htpasswd: { realm: test, path: ${JSON.stringify(htpasswd)} } }`
    registry = await startDockerRegistry(work, auth)
    host = registry.host
  })
  after(async () => {
    await registry[Symbol.asyncDispose]()
    await rm(work, { recursive: true, force: true })
  })

  it('gets back what skopeo pushed there, with name and password', async () => {
    const source = await openLayout(join(work, 'source'))
    const pushed = await addImage(source)
    await source.tag('localhost/source:1', pushed)
    const target = `docker://${host}/team/app:1`
    const from = `oci:${source.dir}:localhost/source:1`
    execFileSync('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', '--dest-creds', 'ada:pw', from, target])

    const layout = await openLayout(join(work, 'target'))
    const client = createRegistryClient({ credentials: () => ({ username: 'ada', password: 'pw' }) })
    const pulled = await pullImage(`${host}/team/app:1`, { layout, platform: 'linux/amd64', client })
    assert.equal(pulled.descriptor.digest, pushed.digest)
    assert.equal(pulled.pinned, `${host}/team/app@${pushed.digest}`)
    assert.equal((await layout.resolve(`${host}/team/app:1`, 'linux/amd64'))?.descriptor.digest, pushed.digest)

    await assert.rejects(pullImage(`${host}/team/app:1`, { layout }), { code: 'FAIRLEAD_OCI_REGISTRY_DENIED' })
    await assert.rejects(pullImage(`${host}/team/none:1`, { layout, client }), {
      code: 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND',
    })
  })

  async function addImage(layout: Awaited<ReturnType<typeof openLayout>>): ReturnType<typeof layout.writeJson> {
    const tar: Uint8Array[] = []
    const entries = [{ path: 'hello', type: 'file' as const, content: Buffer.from('hello') }]
    for await (const chunk of createTar(entries)) tar.push(chunk)
    const layer = await layout.writeBlob(compressGzip(tar))
    const rootfs = { type: 'layers', diff_ids: [digestOf(Buffer.concat(tar))] }
    return layout.writeJson(mediaTypes.manifest, {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: await layout.writeJson(mediaTypes.config, { os: 'linux', architecture: 'amd64', rootfs }),
      layers: [{ mediaType: mediaTypes.layerGzip, ...layer }],
    })
  }
})
