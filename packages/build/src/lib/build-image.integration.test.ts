import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, rmSync } from 'node:fs'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { openLayout } from '@fairlead/oci/layout'

import { buildImage } from './build-image.ts'
import type { BuildEvent, BuildImageOptions, BuildResult } from './options.ts'

const LEGACY = join(import.meta.dirname, '../../../../examples/legacy')
const SHOP_WEB = join(import.meta.dirname, '../../../../examples/shop/web')
const PROGRAMS = ['npm', 'apt-get', 'dpkg-deb', 'skopeo', 'umoci', 'runc']

/** Why these tests cannot run here; never on a machine of the project's own, where that is a failure. */
function reasonToSkip(): string | false {
  const dirs = (process.env['PATH'] ?? '').split(delimiter)
  const missing = PROGRAMS.filter((name) => {
    const found = execFileSync('sh', ['-c', `command -v ${name} || true`], { env: { PATH: dirs.join(delimiter) } })
    return found.toString().trim() === ''
  })
  const reason = process.getuid?.() !== 0 ? 'not root' : missing.length > 0 && `not installed: ${missing.join(', ')}`
  if (reason && process.env['CI'] === 'true') throw new Error(`Cannot skip in CI: ${reason}`)
  return reason
}

const skip = reasonToSkip()

describe('buildImage', { skip, timeout: 900_000 }, () => {
  let work: string
  let first: BuildResult
  const events: BuildEvent[] = []

  const build = async (
    options: Partial<BuildImageOptions> & { dir: string },
    into = 'layout',
  ): Promise<BuildResult> => {
    const layout = await openLayout(join(work, into))
    return buildImage({ name: 'test/app', layout, cacheDir: join(work, 'cache'), base: 'debian', ...options })
  }

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'fairlead-image-'))
    await cp(LEGACY, join(work, 'legacy'), { recursive: true, filter: (path) => !path.includes('node_modules') })
    first = await build({ dir: join(work, 'legacy'), onProgress: (event) => events.push(event) })
  })
  after(() => rm(work, { recursive: true, force: true }))

  it('makes five layers out of a plain folder, installing what is missing, and says what it does', () => {
    assert.deepEqual(
      first.layers.map(({ title }) => title),
      ['base', 'node', 'externals', 'vendor', 'application'],
    )
    assert.match(first.reference, /^localhost\/test\/app:[0-9a-f]{12}$/)
    assert.equal(first.changed, true)
    assert.match(first.base.detail, /libc6 \d/)
    assert.ok(events.some(({ step, state }) => step === 'install' && state === 'done'))
    assert.ok(first.sizeBytes < 50_000_000, `${first.sizeBytes} bytes`)
  })

  it('reports what went in: packages with integrity, files, the base, Node.js and the layers', () => {
    const { report } = first
    assert.deepEqual(report.layers, first.layers)
    assert.equal(report.lockfile.name, 'package-lock.json')
    const express = report.packages.find(({ name }) => name === 'express')
    assert.equal(express?.placement, 'bundle')
    assert.match(express?.integrity ?? '', /^sha512-/)
    assert.equal(express?.license, 'MIT')
    assert.ok(express?.dependencies.includes('node_modules/body-parser'))
    const addon = report.packages.find(({ placement }) => placement === 'externals')
    assert.ok(addon?.reason)
    assert.ok(report.inputs.some(({ path, package: owner }) => path === 'src/app.js' && owner === undefined))
    assert.ok(report.inputs.some(({ package: owner }) => owner === express?.path))
    assert.equal(report.base.distribution?.id, 'debian')
    const libc = report.base.packages.find(({ name }) => name === 'libc6')
    assert.match(libc?.sha256 ?? '', /^[0-9a-f]{64}$/)
    assert.equal(libc?.source, 'glibc')
    assert.match(report.node.integrity, /^sha512-/)
  })

  it('is accepted by skopeo', () => {
    const reference = `oci:${join(work, 'layout')}:${first.reference}`
    const found = JSON.parse(execFileSync('skopeo', ['inspect', reference], { encoding: 'utf8' })) as { Digest: string }
    assert.equal(found.Digest, first.digest)
    const config = JSON.parse(execFileSync('skopeo', ['inspect', '--config', reference], { encoding: 'utf8' }))
    assert.equal(config.config.User, '65532:65532')
    assert.deepEqual(config.config.Entrypoint, ['/nodejs/bin/node', 'main.js'])
  })

  it('runs under runc, not as root, on a read-only root, and the native addon works', async () => {
    await using container = await startContainer(work, first.reference)
    const health = await container.get('/healthz')
    assert.deepEqual(await health.json(), { status: 'ok', version: '1.4.0' })
    assert.equal((await container.get('/style.css')).status, 200)
    const signUp = await container.post('/sign-up', { name: 'ada', password: 'difference' })
    assert.equal(signUp.status, 303)
    assert.equal((await container.post('/sign-in', { name: 'ada', password: 'difference' })).status, 303)
    assert.equal((await container.post('/sign-in', { name: 'ada', password: 'indifference' })).status, 403)
  })

  it('gives the same image again, to the bit, from another folder and without a cache of plans', async () => {
    await cp(join(work, 'legacy'), join(work, 'elsewhere/copy'), { recursive: true })
    for (const name of await readdir(join(work, 'cache/records'))) {
      if (/^(plan|externals)-/.test(name)) await rm(join(work, 'cache/records', name))
    }
    const again = await build({ dir: join(work, 'elsewhere/copy') }, 'layout-2')
    assert.equal(again.digest, first.digest)
    assert.equal((await build({ dir: join(work, 'legacy') })).changed, false)
  })

  it('changes only the layer of the application when a line changes, quickly', async () => {
    const file = join(work, 'legacy/src/pages.js')
    const before = await readFile(file, 'utf8')
    await writeFile(file, before.replace('Leave a line', 'Write a line'))
    const changed = await build({ dir: join(work, 'legacy') })
    await writeFile(file, before)
    assert.equal(changed.changed, true)
    const differing = changed.layers.filter(({ digest }, index) => digest !== first.layers[index]?.digest)
    assert.deepEqual(
      differing.map(({ title }) => title),
      ['application'],
    )
    // The figure to reach is 500 ms on a quiet machine; this only notices when a step is repeated that should not be. On a
    // busy one everything took long, the first build too.
    assert.ok(
      changed.durationMs < Math.max(5000, first.durationMs / 2),
      `${changed.durationMs} of ${first.durationMs} ms`,
    )
  })

  it('builds a TypeScript workspace of this repository', async () => {
    const { layers, externals } = await build({ dir: SHOP_WEB, name: 'test/web' })
    assert.deepEqual(externals, [])
    assert.deepEqual(
      layers.map(({ title }) => title),
      ['base', 'node', 'vendor', 'application'],
    )
  })

  it('builds several at once from an empty cache of plans', async () => {
    const names = ['a', 'b', 'c']
    const built = await Promise.all(names.map((name) => build({ dir: join(work, 'legacy'), name: `test/${name}` })))
    assert.equal(new Set(built.map(({ layers }) => layers.at(-1)?.digest)).size, 1)
  })

  it('installs once when several builds of the project begin at once with nothing installed', async () => {
    await rm(join(work, 'legacy/node_modules'), { recursive: true })
    const installed: string[] = []
    const onProgress = ({ step, state, message }: BuildEvent): void => {
      if (step === 'install' && state === 'done') installed.push(message)
    }
    const names = ['d', 'e', 'f']
    const dir = join(work, 'legacy')
    const built = await Promise.all(names.map((name) => build({ dir, name: `test/${name}`, onProgress })))
    assert.equal(installed.length, 1)
    for (const { layers } of built) assert.deepEqual(layers, first.layers)
  })

  it('has the addon in the image after a build that began while "npm ci" had removed it', async () => {
    const dir = join(work, 'reinstalled')
    await cp(join(work, 'legacy'), dir, { recursive: true })
    const interrupted = build({
      dir,
      onProgress({ step, state }) {
        if (step === 'externals' && state === 'started') rmSync(join(dir, 'node_modules'), { recursive: true })
      },
    })
    await assert.rejects(interrupted, { code: 'FAIRLEAD_BUILD_INSTALL', message: /node_modules\/bcrypt/ })
    const { layers } = await build({ dir })
    const size = (built: BuildResult['layers']): number | undefined =>
      built.find(({ title }) => title === 'externals')?.size
    assert.equal(size(layers), size(first.layers))
  })

  it('stands on an image of a registry, remembers what its tag meant, and then needs the registry no more', async () => {
    const registry = await startRegistry(join(work, 'layout'), first.digest)
    const options = { dir: SHOP_WEB, name: 'test/on-registry', base: `${registry.host}/base:1` }
    const built = await build(options)
    await registry.close()
    assert.deepEqual(built.base, { kind: 'registry', detail: `${registry.host}/base@${first.digest}` })
    assert.deepEqual(
      built.layers.slice(0, 5).map(({ digest }) => digest),
      first.layers.map(({ digest }) => digest),
    )
    assert.equal((await build(options)).digest, built.digest)
  })

  it('says that neither registry nor apt is there', async () => {
    const env = { PATH: join(work, 'none') }
    const failing = build({ dir: SHOP_WEB, env, cacheDir: join(work, 'cache-2') })
    await assert.rejects(failing, (error: Error & { code?: string; hint?: string }) => {
      assert.match(error.code ?? '', /^FAIRLEAD_BUILD_(BASE|NODE)$/)
      assert.ok(error.hint)
      return true
    })
    assert.deepEqual(await readdir(join(work, 'cache-2/scratch')), [])
    assert.deepEqual(await readdir(join(work, 'cache-2/locks')), [])
  })

  it('stops when asked to, and leaves nothing half-written', async () => {
    const controller = new AbortController()
    const aborted = build(
      {
        dir: join(work, 'legacy'),
        cacheDir: join(work, 'cache-3'),
        signal: controller.signal,
        onProgress: (event) => event.state === 'started' && controller.abort(),
      },
      'layout-3',
    )
    await assert.rejects(aborted, { name: 'AbortError' })
    assert.deepEqual(await (await openLayout(join(work, 'layout-3'))).list(), [])
    assert.deepEqual(await readdir(join(work, 'cache-3/scratch')), [])
    assert.deepEqual(await readdir(join(work, 'cache-3/layers/.ingest')), [])
  })

  it('says when the disk is full, and leaves the store as it was', async () => {
    const small = join(work, 'small')
    execFileSync('mkdir', ['-p', small])
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', small])
    try {
      const failing = build({ dir: join(work, 'legacy') }, 'small/layout')
      await assert.rejects(failing, { code: 'FAIRLEAD_OCI_DISK_FULL', message: /no space left/ })
      assert.deepEqual(await (await openLayout(join(small, 'layout'))).list(), [])
      assert.deepEqual(await readdir(join(small, 'layout/.ingest')), [])
    } finally {
      execFileSync('umount', [small])
    }
  })
})

/** Serves the blobs of a layout as a registry would, and one manifest under any tag. */
async function startRegistry(layout: string, digest: string): Promise<{ host: string; close(): Promise<void> }> {
  const server = createHttpServer((request, response) => {
    const [, kind, target = ''] = /^\/v2\/base\/(manifests|blobs)\/(.*)$/.exec(request.url ?? '') ?? []
    const hex = (target.startsWith('sha256:') ? target : digest).slice('sha256:'.length)
    if (kind === 'manifests') response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json')
    createReadStream(join(layout, 'blobs/sha256', hex)).pipe(response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, close }
}

interface Container extends AsyncDisposable {
  get(path: string): Promise<Response>
  post(path: string, fields: Record<string, string>): Promise<Response>
}

/** Unpacks the image with umoci and runs it with runc in the network of the machine. */
async function startContainer(work: string, reference: string): Promise<Container> {
  const bundle = join(work, 'bundle')
  execFileSync('umoci', ['unpack', '--image', `${join(work, 'layout')}:${reference}`, bundle], { stdio: 'pipe' })
  const port = await freePort()
  const path = join(bundle, 'config.json')
  const config = JSON.parse(await readFile(path, 'utf8'))
  assert.equal(config.process.user.uid, 65532)
  config.process.terminal = false
  config.process.env.push(`PORT=${port}`)
  config.process.capabilities = {}
  config.process.noNewPrivileges = true
  config.root.readonly = true
  config.linux.namespaces = config.linux.namespaces.filter(({ type }: { type: string }) => type !== 'network')
  await writeFile(path, JSON.stringify(config))
  const id = `fairlead-test-${process.pid}`
  const root = join(work, 'runc')
  const child = spawn('runc', ['--root', root, 'run', '--bundle', bundle, id], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const origin = `http://127.0.0.1:${port}`
  await answering(origin, child)
  return {
    get: (at) => fetch(origin + at),
    post: (at, fields) => fetch(origin + at, { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' }),
    async [Symbol.asyncDispose]() {
      execFileSync('runc', ['--root', root, 'kill', id, 'KILL'])
      if (child.exitCode === null) await once(child, 'close')
    },
  }
}

async function answering(origin: string, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + 60_000
  while (child.exitCode === null && Date.now() < deadline) {
    const isUp = await fetch(origin).then(
      (response) => response.ok,
      () => false,
    )
    if (isUp) return
    await sleep(50)
  }
  throw new Error(`the container does not answer (exit code ${child.exitCode})`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
