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

describe('fairlead login and fairlead image', { timeout: 120_000 }, () => {
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
