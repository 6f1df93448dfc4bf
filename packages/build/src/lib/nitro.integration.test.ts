// A server that a framework built before: Nitro, which Nuxt, SolidStart and others build on.
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'

import { openLayout } from '@fairlead/oci/layout'

import { buildImage } from './build-image.ts'
import { createFixture } from './source/project-fixture.ts'

const missing = ['umoci', 'runc'].filter((name) => spawnSync('which', [name]).status !== 0)
const skip = process.getuid?.() !== 0 ? 'not root' : missing.length > 0 && `not installed: ${missing.join(', ')}`
if (skip && process.env['CI'] === 'true') throw new Error(`Cannot skip in CI: ${skip}`)

describe('an image of a Nitro server', { skip, timeout: 900_000 }, () => {
  let work: string

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'fairlead-nitro-'))
  })
  after(() => rm(work, { recursive: true, force: true }))

  it('answers in a container, and hands out its files', async () => {
    await using fixture = await createFixture({
      'package.json': JSON.stringify({
        name: 'pages',
        private: true,
        type: 'module',
        scripts: { start: 'node .output/server/index.mjs' },
        devDependencies: { nitro: '3.0.0' },
      }),
      'routes/index.ts': `export default (): { page: string } => ({ page: 'front' })`,
      'public/style.css': 'h1 { color: teal }',
    })
    const inFixture = { cwd: fixture.dir, stdio: 'pipe', timeout: 120_000 } as const
    execFileSync('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund'], inFixture)
    execFileSync(join(fixture.dir, 'node_modules/.bin/nitro'), ['build'], inFixture)
    const layout = await openLayout(join(work, 'layout'))
    const options = { dir: fixture.dir, name: 'test/nitro', layout, cacheDir: join(work, 'cache'), base: 'debian' }
    const { reference } = await buildImage(options)
    const bundle = join(work, 'bundle')
    execFileSync('umoci', ['unpack', '--image', `${join(work, 'layout')}:${reference}`, bundle], { stdio: 'pipe' })
    const answers = await ask(bundle, ['/', '/style.css'])
    assert.deepEqual(answers, ['{"page":"front"}', 'h1 { color: teal }'])
  })

  /** Starts the bundle under runc, in the network of this machine and on a read-only root, and asks for paths. */
  async function ask(bundle: string, paths: readonly string[]): Promise<string[]> {
    const port = await freePort()
    const file = join(bundle, 'config.json')
    const config = JSON.parse(await readFile(file, 'utf8'))
    config.process.terminal = false
    config.process.env.push(`PORT=${port}`)
    config.root.readonly = true
    config.linux.namespaces = config.linux.namespaces.filter(({ type }: { type: string }) => type !== 'network')
    await writeFile(file, JSON.stringify(config))
    const id = `fairlead-nitro-${process.pid}`
    const runc = ['--root', join(work, 'runc')]
    const child = spawn('runc', [...runc, 'run', '--bundle', bundle, id], { stdio: ['ignore', 'ignore', 'inherit'] })
    try {
      const origin = `http://127.0.0.1:${port}`
      while (child.exitCode === null && !(await fetch(origin).catch(() => undefined))?.ok) await pause(20)
      return await Promise.all(paths.map(async (path) => (await fetch(`${origin}${path}`)).text()))
    } finally {
      spawnSync('runc', [...runc, 'kill', id, 'KILL'])
      if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
    }
  }
})

async function freePort(): Promise<number> {
  await using server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
