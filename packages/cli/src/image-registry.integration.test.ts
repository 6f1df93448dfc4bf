import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { mediaTypes } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'
import { serveRegistry } from '@fairlead/oci/server'
import type { ServedRegistry } from '@fairlead/oci/server'

/** "ada" with the password "pw". */
const htpasswd = 'ada:$2y$04$w..fBArtt5f5mXfJlkwhv.WkIX/GZJUa6YmTgFtHUpYVnTn1f9xvO\n'
const main = join(import.meta.dirname, 'main.ts')

describe('fairlead login and fairlead image', { timeout: 600_000 }, () => {
  let work: string
  let registry: ServedRegistry
  let host: string
  let digest: string

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'fairlead-image-registry-'))
    await writeFile(join(work, 'htpasswd'), htpasswd)
    const options = { dir: join(work, 'registry'), port: 0, htpasswd: join(work, 'htpasswd') }
    registry = await serveRegistry({ ...options, collect: { everyMs: 0 } })
    host = new URL(registry.url).host
    const layout = await openLayout(join(work, 'home', 'images'))
    const layer = await layout.writeBlob(Buffer.from('content of a layer'))
    const rootfs = { type: 'layers', diff_ids: [layer.digest] }
    const image = await layout.writeJson(mediaTypes.manifest, {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: await layout.writeJson(mediaTypes.config, { os: 'linux', architecture: 'amd64', rootfs }),
      layers: [{ mediaType: mediaTypes.layer, ...layer }],
    })
    await layout.tag('localhost/shop/web:1', image)
    digest = image.digest
  })
  after(async () => {
    await registry[Symbol.asyncDispose]()
    await rm(work, { recursive: true, force: true })
  })

  async function fairlead(
    args: readonly string[],
    input = '',
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const child = spawn(process.execPath, ['--conditions=@fairlead/source', main, ...args], {
      env: {
        PATH: process.env['PATH'],
        HOME: work,
        DOCKER_CONFIG: join(work, 'docker'),
        FAIRLEAD_HOME: join(work, 'home'),
        FAIRLEAD_CACHE: join(work, 'cache'),
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const output = { stdout: '', stderr: '' }
    child.stdout.on('data', (chunk) => (output.stdout += String(chunk)))
    child.stderr.on('data', (chunk) => (output.stderr += String(chunk)))
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    const [code] = (await once(child, 'close')) as [number]
    return { code, ...output }
  }

  it('log in, push, list, copy, pull, delete and log out', async () => {
    const denied = await fairlead(['image', 'push', 'localhost/shop/web:1', `${host}/shop/web:1`])
    assert.equal(denied.code, 1)
    assert.match(denied.stderr, /FAIRLEAD_OCI_REGISTRY_DENIED/)

    const wrong = await fairlead(['login', host, '--username', 'ada', '--password-stdin'], 'no\n')
    assert.equal(wrong.code, 1, wrong.stderr)
    const loggedIn = await fairlead(['login', host, '-u', 'ada', '--password-stdin'], 'pw\n')
    assert.equal(loggedIn.code, 0, loggedIn.stderr)
    const file = join(work, 'docker', 'config.json')
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    assert.deepEqual(Object.keys((JSON.parse(await readFile(file, 'utf8')) as { auths: object }).auths), [host])
    assert.equal((await fairlead(['login', host])).code, 0)

    const pushed = await fairlead(['image', 'push', 'localhost/shop/web:1', `${host}/shop/web:1`, '--json'])
    assert.equal(pushed.code, 0, pushed.stderr)
    const { pinned, blobs } = JSON.parse(pushed.stdout) as { pinned: string; blobs: object }
    assert.deepEqual([pinned, blobs], [`${host}/shop/web@${digest}`, { moved: 2, mounted: 0, known: 0 }])
    assert.match(pushed.stderr, /ok {2}push .*: 2 blobs/)

    const copied = await fairlead(['image', 'copy', `${host}/shop/web:1`, `${host}/other/web:2`, '--referrers'])
    assert.equal(copied.stdout, `${host}/other/web@${digest}\n`, copied.stderr)
    assert.match(copied.stderr, /0 blobs \(0 B\), 2 mounted/)
    const tags = await fairlead(['image', 'tags', `${host}/other/web`])
    assert.equal(tags.stdout, '2\n', tags.stderr)

    const dir = join(work, 'pulled')
    const pulled = await fairlead(['image', 'pull', `${host}/other/web:2`, '--all-platforms', '--layout', dir])
    assert.equal(pulled.stdout, `${host}/other/web@${digest}\n`, pulled.stderr)
    assert.ok(await (await openLayout(dir)).resolve(`${host}/other/web:2`, 'linux/amd64'))

    const removed = await fairlead(['image', 'rm', `${host}/other/web:2`])
    assert.equal(removed.stdout, `${host}/other/web@${digest}\n`, removed.stderr)
    assert.match((await fairlead(['image', 'pull', `${host}/other/web:2`])).stderr, /FAIRLEAD_OCI_REGISTRY_NOT_FOUND/)

    assert.match((await fairlead(['logout', host])).stderr, /removed from .*config\.json/)
    assert.match((await fairlead(['logout', host])).stderr, /nobody was logged in/)
  })

  it('replicate: shows what would go, copies it when told, and then has nothing to do', async () => {
    await using backup = await serveRegistry({ dir: join(work, 'backup'), collect: { everyMs: 0 } })
    const to = new URL(backup.url).host
    const config = join(work, 'replication.json')
    const destinations = [{ registry: to, prefix: 'mirror' }]
    const repositoryFilters = [{ filter: 'shop/', filterType: 'PREFIX_MATCH' }]
    await writeFile(config, JSON.stringify({ rules: [{ destinations, repositoryFilters }] }))

    const planned = await fairlead(['image', 'replicate', '--config', config])
    assert.equal(planned.code, 0, planned.stderr)
    assert.match(planned.stdout, new RegExp(`^copy localhost/shop/web:1 to ${to}/mirror/shop/web:1: at most `, 'm'))
    assert.match(planned.stderr, /nothing was copied; --apply copies it/)
    assert.deepEqual(await backup.store.repositories(), [])

    const applied = await fairlead(['image', 'replicate', '--config', config, '--apply', '--json'])
    assert.equal(applied.code, 0, applied.stderr)
    const { summary } = JSON.parse(applied.stdout) as { summary: { copied: number; failed: number } }
    assert.deepEqual([summary.copied, summary.failed], [1, 0])
    assert.equal(backup.store.tag('mirror/shop/web', '1')?.digest, digest)

    const again = await fairlead(['image', 'replicate', '--config', config, '--apply'])
    assert.match(again.stdout, /^0 copied, .*; 1 there already, 0 failed$/m)

    await backup.close()
    const gone = await fairlead(['image', 'replicate', '--config', config, '--apply'])
    assert.equal(gone.code, 1, gone.stdout)
    assert.match(gone.stdout + gone.stderr, new RegExp(to))
    await writeFile(config, '{"rules": [{"destinations": []}]}')
    assert.notEqual((await fairlead(['image', 'replicate', '--config', config])).code, 0)
  })

  const bad = [
    { name: 'a registry that is no host', args: ['login', 'a b', '-u', 'x', '--password-stdin'] },
    { name: 'a password for nobody', args: ['login', 'ghcr.io', '--password-stdin'] },
    { name: 'no terminal to ask at', args: ['login', 'ghcr.io', '-u', 'ada'] },
    { name: 'nothing on stdin', args: ['login', 'ghcr.io', '-u', 'ada', '--password-stdin'] },
    { name: 'both platforms', args: ['image', 'pull', 'a', '--platform', 'linux/amd64', '--all-platforms'] },
    { name: 'a reference that is none', args: ['image', 'push', 'localhost/x', 'Upper/Case'] },
    { name: 'the deletion of a whole repository', args: ['image', 'rm', 'ghcr.io/a/b'] },
  ]
  for (const { name, args } of bad) {
    it(`refuses ${name}`, async () => {
      const { code, stderr } = await fairlead(args)
      assert.equal(code, 2, stderr)
    })
  }
})
