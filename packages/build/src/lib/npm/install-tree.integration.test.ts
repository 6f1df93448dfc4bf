// The real npm is the oracle: what it makes of lock files it wrote, file by file.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { lstat, readdir, readFile, readlink, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { runCommand } from '../run-command.ts'
import { loadLockfile } from '../source/lockfile.ts'
import { createFixture } from '../source/project-fixture.ts'
import type { ProjectFixture } from '../source/project-fixture.ts'
import { installTree } from './install-tree.ts'

const here = dirname(fileURLToPath(import.meta.url))
const legacy = join(here, '../../../../../examples/legacy')

/** Everything below `dir`: kind, mode, target of links, digest of files. */
async function listTree(dir: string): Promise<string[]> {
  const names = await readdir(dir, { recursive: true })
  const lines = names.map(async (name) => {
    const path = join(dir, name)
    const found = await lstat(path)
    const mode = (found.mode & 0o7777).toString(8)
    if (found.isSymbolicLink()) return `${name} -> ${await readlink(path)}`
    if (found.isDirectory()) return `${name}/ ${mode}`
    return `${name} ${mode} ${createHash('sha256')
      .update(await readFile(path))
      .digest('hex')}`
  })
  return (await Promise.all(lines)).toSorted()
}

async function openProject(lockPath: string): Promise<ProjectFixture> {
  const lock = await readFile(lockPath, 'utf8')
  const root = (JSON.parse(lock) as { packages: Record<string, unknown> }).packages['']
  return createFixture({ 'package-lock.json': lock, 'package.json': JSON.stringify(root) })
}

async function installByNpm({ dir }: ProjectFixture, env: NodeJS.ProcessEnv): Promise<void> {
  const args = ['ci', '--prefer-offline', '--no-audit', '--no-fund', '--no-progress']
  await runCommand('npm', args, { cwd: dir, env, timeoutMs: 5 * 60_000 })
}

async function installByUs({ dir }: ProjectFixture, env: NodeJS.ProcessEnv): Promise<void> {
  await installTree(await loadLockfile(dir), { env, onStart: () => {} })
}

const WITHOUT_SCRIPTS = { ...process.env, NODE_ENV: undefined, npm_config_ignore_scripts: 'true' }
const WITH_SCRIPTS = { ...process.env, NODE_ENV: undefined }

const projects = [
  { name: 'Fastify: scopes and many files', lock: 'fastify', env: WITHOUT_SCRIPTS },
  {
    name: 'sharp: optional packages for other machines, and what only they need',
    lock: 'platform',
    env: WITHOUT_SCRIPTS,
  },
  { name: 'aliases, and one package in several versions', lock: 'alias', env: WITHOUT_SCRIPTS },
  { name: 'ESLint: programs, development dependencies', lock: 'eslint', env: WITHOUT_SCRIPTS },
  { name: 'React: peer dependencies, some of them optional', lock: 'peers', env: WITHOUT_SCRIPTS },
  { name: 'npm itself: 200 bundled packages with programs', lock: 'bundled', env: WITHOUT_SCRIPTS },
  { name: 'esbuild and better-sqlite3: install scripts that are not to run', lock: 'scripts', env: WITHOUT_SCRIPTS },
  { name: 'the guest book, whose install script finds nothing to build', lock: undefined, env: WITH_SCRIPTS },
]

describe('installTree', () => {
  for (const { name, lock, env } of projects) {
    it(`makes what npm ci makes of ${name}`, async () => {
      const path = lock === undefined ? join(legacy, 'package-lock.json') : join(here, 'testdata', `${lock}.json`)
      await using project = await openProject(path)
      const modules = join(project.dir, 'node_modules')
      await installByNpm(project, env)
      const expected = await listTree(modules)
      await rename(modules, join(project.dir, 'by-npm'))
      await installByUs(project, env)
      assert.deepEqual(await listTree(modules), expected)
      assert.ok(expected.length > 100, `${expected.length} paths`)
    })
  }

  it('replaces what was installed, and npm finds nothing to do about it', async () => {
    await using project = await openProject(join(here, 'testdata', 'eslint.json'))
    await installByNpm(project, WITHOUT_SCRIPTS)
    const modules = join(project.dir, 'node_modules')
    const expected = await listTree(modules)
    await rm(join(modules, 'semver', 'package.json'))
    await project.write({ 'node_modules/stray/package.json': '{}' })
    await installByUs(project, WITHOUT_SCRIPTS)
    assert.deepEqual(await listTree(modules), expected)
    const args = ['install', '--dry-run', '--prefer-offline', '--no-audit', '--no-fund', '--json']
    const said = JSON.parse(await runCommand('npm', args, { cwd: project.dir, env: WITHOUT_SCRIPTS })) as Changes
    assert.deepEqual([said.added, said.removed, said.changed], [0, 0, 0])
  })

  it('leaves install scripts that would run something to npm', async () => {
    await using project = await openProject(join(here, 'testdata', 'scripts.json'))
    await installByNpm(project, WITHOUT_SCRIPTS)
    await rm(join(project.dir, 'node_modules'), { recursive: true })
    await assert.rejects(installByUs(project, WITH_SCRIPTS), { name: 'LeftToNpm', message: /is to be built/ })
    await assert.rejects(lstat(join(project.dir, 'node_modules')), { code: 'ENOENT' })
  })
})

interface Changes {
  added: number
  removed: number
  changed: number
}
