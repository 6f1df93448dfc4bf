import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'

import type { TarEntry } from '@fairlead/oci/archive'

import { bundleProject } from '../bundle/bundle.ts'
import { openCache } from '../layers/cache.ts'
import { reportContents } from '../report.ts'
import { traceExternals } from '../trace/externals.ts'
import { installDependencies } from './install.ts'
import { createFixture } from './project-fixture.ts'
import { loadProject } from './project.ts'

/** Real package managers, fetched by npm, make the lock file; the builder installs from it, bundles and runs the result. */
const managers = [
  {
    name: 'pnpm',
    root: { packageManager: 'pnpm@10.34.9' },
    files: { 'pnpm-workspace.yaml': 'packages:\n  - services/*\n  - packages/*\ncatalog:\n  nanoid: 5.1.5\n' },
    ranges: { nanoid: 'catalog:', shared: 'workspace:*' },
    lock: ['pnpm@10.34.9', 'install', '--lockfile-only'],
  },
  {
    name: 'yarn',
    root: { packageManager: 'yarn@4.18.1', workspaces: ['services/*', 'packages/*'] },
    files: { '.yarnrc.yml': 'nodeLinker: node-modules\nenableTelemetry: false\n' },
    ranges: { nanoid: '5.1.5', shared: 'workspace:*' },
    lock: ['@yarnpkg/cli-dist@4.18.1', 'install', '--mode=update-lockfile'],
  },
  {
    name: 'yarn',
    root: { packageManager: 'yarn@1.22.22', workspaces: ['services/*', 'packages/*'] },
    files: {},
    ranges: { nanoid: '5.1.5', shared: '1.0.0' },
    lock: ['yarn@1.22.22', 'install', '--ignore-scripts', '--non-interactive'],
  },
]

describe('a workspace', { timeout: 900_000 }, () => {
  for (const { name, root, files, ranges, lock } of managers) {
    it(`of ${root.packageManager} is installed as locked, bundled, and runs with an addon only a sister needs`, async () => {
      await using fixture = await createFixture({
        'package.json': JSON.stringify({ name: 'root', version: '1.0.0', private: true, ...root }),
        'services/api/package.json': JSON.stringify({
          name: 'api',
          version: '1.0.0',
          type: 'module',
          dependencies: { ...ranges, pino: '10.4.0' },
        }),
        'services/api/tsconfig.json': '{"compilerOptions":{"paths":{"@/*":["./src/*"]}}}',
        'services/api/src/main.ts': `
          import { nanoid } from 'nanoid'
          import { pino } from 'pino'
          import { check } from 'shared'
          import { text } from '@/text.ts'
          const log = pino({ base: null, timestamp: false })
          log.info({ ...(await check()), size: nanoid(7).length }, text)
        `,
        'services/api/src/text.ts': `export const text: string = 'by tsconfig paths'`,
        'packages/shared/package.json': JSON.stringify({
          name: 'shared',
          version: '1.0.0',
          type: 'module',
          exports: './index.ts',
          dependencies: { bcrypt: '6.0.0', nanoid: '3.3.11' },
        }),
        'packages/shared/index.ts': `
          import bcrypt from 'bcrypt'
          import { nanoid } from 'nanoid'
          export const check = async (): Promise<object> =>
            ({ same: await bcrypt.compare('a', await bcrypt.hash('a', 4)), old: nanoid(5).length })
        `,
        ...files,
      })
      const env = { ...process.env, CI: undefined, YARN_ENABLE_IMMUTABLE_INSTALLS: 'false' }
      execFileSync('npx', ['--yes', ...lock], { cwd: fixture.dir, env, stdio: 'pipe' })
      execFileSync('rm', ['-rf', join(fixture.dir, 'node_modules')])

      const dir = join(fixture.dir, 'services/api')
      const found = await loadProject(dir)
      assert.equal(found.lock.manager, name)
      const started: string[] = []
      const options = { cache: await openCache(join(fixture.dir, 'cache')), env: process.env }
      const install = { ...options, onStart: (text: string) => void started.push(text) }
      assert.equal(await installDependencies(found.lock, install), true)
      assert.match(started.join(), /is not installed/)
      const project = await loadProject(dir)
      assert.equal(await installDependencies(project.lock, install), false)

      const bundle = await bundleProject(project, { constants: {} })
      const entries = await traceExternals(project, bundle, {
        architecture: process.arch === 'x64' ? 'amd64' : 'arm64',
      })
      const app = join(fixture.dir, 'image')
      await unpack(entries, app)
      for (const [file, content] of bundle.files) await writeFile(join(app, 'app', file), content)
      await writeFile(join(app, 'app/package.json'), '{"type":"module"}')
      const output = execFileSync(process.execPath, [join(app, 'app/main.js')], { encoding: 'utf8' })
      assert.deepEqual(JSON.parse(output), { level: 30, same: true, old: 5, size: 7, msg: 'by tsconfig paths' })

      const { packages } = await reportContents(project, bundle)
      const versions = packages.filter((entry) => entry.name === 'nanoid').map(({ version }) => version)
      assert.deepEqual(versions.toSorted(), ['3.3.11', '5.1.5'])
      const isLocked = packages.every(({ integrity }) => integrity?.startsWith('sha'))
      assert.equal(isLocked, !root.packageManager.startsWith('yarn@4'))
      assert.ok(!(await readFile(join(app, 'app/main.js'), 'utf8')).includes(fixture.dir))
    })
  }
})

async function unpack(entries: readonly TarEntry[], root: string): Promise<void> {
  for (const { path, type, content, linkPath = '' } of entries) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    if (type === 'symlink') await symlink(linkPath, join(root, path))
    else if (content instanceof Uint8Array) await writeFile(join(root, path), content)
  }
}
