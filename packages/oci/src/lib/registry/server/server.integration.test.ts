import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'

import { compressGzip } from '../../archive/gzip.ts'
import { createTar } from '../../archive/tar-writer.ts'
import { openLayout } from '../../layout/layout.ts'
import type { Layout } from '../../layout/layout.ts'
import { digestOf } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import type { Descriptor } from '../../spec/image.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import { checkStore } from './check.ts'
import { sendTo, startTestRegistry } from './registry-fixture.ts'
import { openRegistryStore } from './store.ts'

const run = promisify(execFile)
const PROGRAMS = ['skopeo', 'umoci', 'buildah']

function reasonToSkip(): string | false {
  const missing = PROGRAMS.filter((name) => execFileSync('sh', ['-c', `command -v ${name} || true`]).length === 0)
  const reason = missing.length > 0 && `not installed: ${missing.join(', ')}`
  if (reason && process.env['CI'] === 'true') throw new Error(`Cannot skip in CI: ${reason}`)
  return reason
}

async function temporary(): Promise<{ dir: string } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-registry-'))
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) }
}

async function addImage(layout: Layout, content: string): Promise<Descriptor> {
  const tar: Uint8Array[] = []
  for await (const chunk of createTar([{ path: 'hello', type: 'file', content: Buffer.from(content) }])) tar.push(chunk)
  const layer = await layout.writeBlob(compressGzip(tar))
  const config = {
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [digestOf(Buffer.concat(tar))] },
  }
  return layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await layout.writeJson(mediaTypes.config, config),
    layers: [{ mediaType: mediaTypes.layerGzip, ...layer }],
  })
}

describe('a registry and the tools of others', { skip: reasonToSkip(), timeout: 600_000 }, () => {
  it('gives skopeo, umoci and buildah an image that was built into its layout', async () => {
    await using test = await startTestRegistry()
    await using folder = await temporary()
    const built = await openLayout(test.dir)
    const image = await addImage(built, 'hello from here')
    await built.tag('localhost/shop/web:1', image)
    const source = `docker://${test.registry.address}/shop/web:1`

    const inspected = JSON.parse((await run('skopeo', ['inspect', '--tls-verify=false', source])).stdout) as {
      Digest: string
    }
    assert.equal(inspected.Digest, image.digest)
    for (const target of [
      `oci:${folder.dir}/oci:1`,
      `dir:${folder.dir}/dir`,
      `docker-archive:${folder.dir}/image.tar:web:1`,
    ]) {
      await run('skopeo', ['copy', '--quiet', '--src-tls-verify=false', source, target])
    }
    await run('umoci', ['unpack', '--rootless', '--image', `${folder.dir}/oci:1`, `${folder.dir}/bundle`])
    assert.equal(await readFile(join(folder.dir, 'bundle', 'rootfs', 'hello'), 'utf8'), 'hello from here')

    const store = ['--storage-driver', 'vfs', '--root', `${folder.dir}/root`, '--runroot', `${folder.dir}/runroot`]
    const pulled = await run('buildah', [...store, 'pull', '--quiet', '--tls-verify=false', source])
    const { config } = JSON.parse((await built.readBlob(image.digest)).toString()) as { config: { digest: Digest } }
    assert.equal(pulled.stdout.trim(), config.digest.replace('sha256:', ''))
  })

  it('takes from skopeo what comes out of a directory, an archive, a layout, and with a password', async () => {
    await using folder = await temporary()
    const { default: bcrypt } = await import('bcryptjs')
    await writeFile(join(folder.dir, 'users'), `ada:${bcrypt.hashSync('pw', 4)}\n`)
    await using test = await startTestRegistry({ htpasswd: join(folder.dir, 'users'), anonymous: 'pull' })
    const layout = await openLayout(join(folder.dir, 'layout'))
    await layout.tag('localhost/source:1', await addImage(layout, 'hello'))
    const source = `oci:${layout.dir}:localhost/source:1`
    await run('skopeo', ['copy', '--quiet', source, `dir:${folder.dir}/dir`])
    await run('skopeo', ['copy', '--quiet', source, `docker-archive:${folder.dir}/image.tar:source:1`])
    const login = ['--dest-tls-verify=false', '--dest-creds', 'ada:pw']
    const copies = { oci: source, dir: `dir:${folder.dir}/dir`, archive: `docker-archive:${folder.dir}/image.tar` }
    for (const [tag, from] of Object.entries(copies)) {
      await run('skopeo', ['copy', '--quiet', ...login, from, `docker://${test.registry.address}/team/app:${tag}`])
    }
    const listed = await run('skopeo', [
      'list-tags',
      '--tls-verify=false',
      `docker://${test.registry.address}/team/app`,
    ])
    assert.deepEqual((JSON.parse(listed.stdout) as { Tags: string[] }).Tags, ['archive', 'dir', 'oci'])
    await assert.rejects(
      run('skopeo', [
        'copy',
        '--quiet',
        '--dest-tls-verify=false',
        source,
        `docker://${test.registry.address}/team/app:no`,
      ]),
    )
    const between = ['--src-tls-verify=false', ...login]
    const from = `docker://${test.registry.address}/team/app:oci`
    await run('skopeo', ['copy', '--quiet', ...between, from, `docker://${test.registry.address}/team/other:1`])
    await run('skopeo', [
      'delete',
      '--tls-verify=false',
      '--creds',
      'ada:pw',
      `docker://${test.registry.address}/team/app:oci`,
    ])
    assert.deepEqual((await test.registry.check()).problems, [])
  })
})

describe('a registry that is killed', { timeout: 600_000 }, () => {
  it('has everything it acknowledged, and an intact store, each time', async () => {
    await using folder = await temporary()
    const acknowledged = new Map<string, Digest>()
    for (let round = 0; round < 4; round += 1) {
      const { child, url } = await startProcess(folder.dir)
      const wanted = acknowledged.size + 15
      let isKilled = false
      const push = async (who: number): Promise<void> => {
        for (let at = 0; !isKilled; at += 1) {
          const name = `/v2/app-${who}/manifests/r${round}-${at}`
          acknowledged.set(
            name,
            await pushImage(url, `app-${who}`, `r${round}-${at}`, `${round} ${who} ${at} ${'x'.repeat(50_000)}`),
          )
          if (acknowledged.size < wanted || isKilled) continue
          isKilled = true
          child.kill('SIGKILL')
        }
      }
      await Promise.allSettled([0, 1, 2, 3].map(push))
      if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
      const report = await checkStore(await openRegistryStore(folder.dir))
      assert.deepEqual(report.problems, [], `round ${round}`)
    }
    assert.ok(acknowledged.size >= 60)
    await using again = await startTestRegistry({ dir: folder.dir })
    for (const [path, digest] of acknowledged) {
      const answer = await again.send('GET', path)
      assert.equal(answer.headers.get('docker-content-digest'), digest, path)
      const { layers } = answer.json() as unknown as { layers: { digest: Digest }[] }
      const blob = await again.send('GET', `${path.replace(/manifests.*/, 'blobs/')}${layers[0]?.digest}`)
      assert.equal(digestOf(blob.bytes), layers[0]?.digest)
    }
  })
})

async function startProcess(dir: string): Promise<{ child: ChildProcess; url: string }> {
  const program = `
    import { serveRegistry } from ${JSON.stringify(import.meta.resolve('./server.ts'))}
    const registry = await serveRegistry({ dir: ${JSON.stringify(dir)}, collect: { everyMs: 20, graceMs: 5000 } })
    console.log(registry.url)`
  const options = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', program]
  const child = spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'inherit'] })
  assert.ok(child.stdout)
  const [url] = (await once(createInterface(child.stdout), 'line')) as [string]
  return { child, url }
}

async function pushImage(url: string, repository: string, tag: string, content: string): Promise<Digest> {
  const push = async (blob: string): Promise<{ digest: Digest; size: number }> => {
    const digest = digestOf(blob)
    const answer = await sendTo(url, 'POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, { body: blob })
    assert.equal(answer.status, 201)
    return { digest, size: blob.length }
  }
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, ...(await push(`{"architecture":"amd64","os":"linux","x":"${tag}"}`)) },
    layers: [{ mediaType: mediaTypes.layer, ...(await push(content)) }],
  })
  const headers = { 'content-type': mediaTypes.manifest }
  const answer = await sendTo(url, 'PUT', `/v2/${repository}/manifests/${tag}`, { headers, body: manifest })
  assert.equal(answer.status, 201)
  return digestOf(manifest)
}
