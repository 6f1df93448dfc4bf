import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import type { LockedPackage } from '../source/lockfile.ts'
import { createFixture, lockFiles } from '../source/project-fixture.ts'
import type { ProjectFixture } from '../source/project-fixture.ts'
import { loadProject } from '../source/project.ts'
import { bundleProject } from './bundle.ts'
import type { Bundle } from './bundle.ts'

interface Shape {
  source: string
  /** Packages by name: their files, and what they depend on. */
  packages?: Record<string, { files: Record<string, string>; dependencies?: string[] }>
  declared?: string[]
  type?: 'module' | 'commonjs'
}

async function createProject({ source, packages = {}, declared, type = 'module' }: Shape): Promise<ProjectFixture> {
  const locked: Record<string, LockedPackage> = {}
  const files: Record<string, string> = {}
  const own = Object.fromEntries((declared ?? Object.keys(packages)).map((name) => [name, '1.0.0']))
  for (const [name, { files: contents, dependencies = [] }] of Object.entries(packages)) {
    const needed = Object.fromEntries(dependencies.map((dependency) => [dependency, '1.0.0']))
    locked[`node_modules/${name}`] = { version: '1.0.0', dependencies: needed }
    const json = JSON.stringify({ name, version: '1.0.0', dependencies: needed })
    for (const [path, text] of Object.entries({ 'package.json': json, ...contents }))
      files[`node_modules/${name}/${path}`] = text
  }
  return createFixture({
    ...lockFiles({ '': { dependencies: own }, ...locked }),
    ...files,
    'package.json': JSON.stringify({ type, dependencies: own }),
    'index.js': source,
  })
}

async function bundle(fixture: ProjectFixture, plan?: Bundle): Promise<Bundle> {
  const constants = { FAIRLEAD_VERSION: '1.2.3' }
  const earlier = plan && { externals: plan.externals.entries(), imported: plan.imported }
  return bundleProject(await loadProject(fixture.dir), { constants, plan: earlier })
}

/** Runs the bundle alone, in a folder without the sources and packages. */
async function run(made: Bundle, type = 'module'): Promise<string> {
  await using alone = await createFixture({
    ...Object.fromEntries(made.files),
    'package.json': JSON.stringify({ type }),
  })
  return execFileSync(process.execPath, [join(alone.dir, 'main.js')], { encoding: 'utf8' })
}

const externalNames = (made: Bundle): string[] =>
  made.externals.entries().map(([path]) => path.slice('node_modules/'.length))

describe('bundleProject', () => {
  it('puts packages and constants into files that run alone, packages in one of their own', async () => {
    await using fixture = await createProject({
      source: `import { a } from 'a'; console.log(a, process.env.FAIRLEAD_VERSION)`,
      packages: {
        a: { files: { 'index.js': `exports.a = require('b')` }, dependencies: ['b'] },
        b: { files: { 'index.js': 'module.exports = 1' } },
      },
      declared: ['a'],
    })
    const made = await bundle(fixture)
    assert.deepEqual([...made.files.keys()], ['main.js', 'chunk-rolldown-runtime.js', 'chunk-vendor.js'])
    assert.equal(await run(made), '1 1.2.3\n')
  })

  it('starts a CommonJS program that asks whether it is the main one', async () => {
    const source = `if (require.main === module) console.log('started', require('path').basename(__dirname) !== '')`
    await using fixture = await createProject({ source, type: 'commonjs' })
    assert.equal(await run(await bundle(fixture), 'commonjs'), 'started true\n')
  })

  it('takes the variant of a package that suits require and import', async () => {
    const json = JSON.stringify({
      name: 'dual',
      version: '1.0.0',
      exports: { import: './esm.mjs', require: './cjs.js' },
    })
    await using fixture = await createProject({
      source: `import dual from 'dual'; import { other } from 'other'; console.log(dual, other)`,
      packages: {
        dual: {
          files: { 'package.json': json, 'esm.mjs': `export default 'esm'`, 'cjs.js': `module.exports = 'cjs'` },
        },
        other: { files: { 'index.js': `exports.other = require('dual')` }, dependencies: ['dual'] },
      },
    })
    assert.equal(await run(await bundle(fixture)), 'esm cjs\n')
  })

  const external = [
    { name: 'a package with a native addon', files: { 'index.js': '', 'prebuilds/x': '' }, reason: /native addon/ },
    {
      name: 'a package that depends on a loader of addons',
      files: { 'index.js': '' },
      dependencies: ['node-gyp-build'],
      reason: /native addon/,
    },
    {
      name: 'a package that makes its own require',
      files: { 'index.js': `const { createRequire } = require('module'); createRequire(__filename)('x')` },
      reason: /require function of its own/,
    },
    {
      name: 'a package that starts its own files',
      files: {
        'index.js': `new (require('worker_threads').Worker)(require('path').join(__dirname, 'w.js'))`,
        'w.js': '',
      },
      reason: /uses a program file by its path/,
    },
    {
      name: 'a package that uses its place for something unknown',
      files: { 'index.js': `exports.dir = __dirname` },
      reason: /uses its own path in line 1/,
    },
  ]
  for (const { name, files, dependencies = [], reason } of external) {
    it(`leaves out ${name}`, async () => {
      const more = Object.fromEntries(dependencies.map((dependency) => [dependency, { files: { 'index.js': '' } }]))
      await using fixture = await createProject({
        source: `import 'p'`,
        packages: { p: { files, dependencies }, ...more },
        declared: ['p'],
      })
      const made = await bundle(fixture)
      assert.match(made.externals.entries().find(([path]) => path === 'node_modules/p')?.[1] ?? '', reason)
      assert.deepEqual([...made.specifiers.keys()], ['p'])
    })
  }

  it('leaves out what an external needs, so that the program does not hold it twice', async () => {
    await using fixture = await createProject({
      source: `import 'shared'; import 'p'`,
      packages: {
        p: { files: { 'index.js': '', 'binding.gyp': '' }, dependencies: ['shared'] },
        shared: { files: { 'index.js': '' } },
      },
    })
    const made = await bundle(fixture)
    assert.deepEqual(externalNames(made), ['p', 'shared'])
    assert.deepEqual([...made.specifiers.keys()], ['p', 'shared'])
  })

  it('leaves out a dependency that no file imports', async () => {
    await using fixture = await createProject({
      source: `console.log('x')`,
      packages: { ejs: { files: { 'index.js': '' } }, '@types/x': { files: { 'index.d.ts': '' } } },
    })
    assert.deepEqual(externalNames(await bundle(fixture)), ['ejs'])
  })

  it('keeps assets of packages where the packages look for them', async () => {
    await using fixture = await createProject({
      source: `import { text } from 'p'; console.log(text)`,
      packages: {
        p: {
          files: {
            'lib/index.js': `exports.text = require('fs').readFileSync(require('path').join(__dirname, '../data.txt'), 'utf8')`,
            'data.txt': 'x',
            'package.json': '{"name":"p","version":"1.0.0","main":"lib/index.js"}',
          },
        },
      },
    })
    const made = await bundle(fixture)
    assert.deepEqual(made.assets, [join(fixture.dir, 'node_modules/p/data.txt')])
    assert.deepEqual(externalNames(made), [])
    assert.match(String(made.files.get('chunk-vendor.js')), /__fairleadRoot \+ "\/node_modules\/p\/lib"/)
  })

  it('makes a chunk of a program that a worker runs, with what it imports', async () => {
    await using fixture = await createProject({
      source: `import { Worker } from 'node:worker_threads'; new Worker(new URL('./jobs/work.ts', import.meta.url))`,
      packages: { p: { files: { 'index.js': `exports.text = 'from the worker'` } } },
    })
    await fixture.write({ 'jobs/work.ts': `import { text } from 'p'; const said: string = text; console.log(said)` })
    const made = await bundle(fixture)
    assert.ok(made.files.has('jobs-work.js'))
    assert.equal(await run(made), 'from the worker\n')
  })

  it('gives the same bytes from a plan, and makes a new one when the imports change', async () => {
    await using fixture = await createProject({
      source: `import 'p'; import 'q'`,
      packages: { p: { files: { 'index.js': '', 'binding.gyp': '' } }, q: { files: { 'index.js': 'console.log(1)' } } },
    })
    const first = await bundle(fixture)
    const second = await bundle(fixture, first)
    assert.deepEqual(second.files, first.files)
    await fixture.write({ 'index.js': `import 'q'` })
    assert.deepEqual(externalNames(await bundle(fixture, first)), ['p'])
    assert.equal((await bundle(fixture, first)).specifiers.size, 0)
  })

  it('gives the same bytes in another folder', async () => {
    const shape = { source: `import 'p'; console.log(import.meta.url)`, packages: { p: { files: { 'index.js': '' } } } }
    await using one = await createProject(shape)
    await using two = await createProject(shape)
    assert.deepEqual((await bundle(one)).files, (await bundle(two)).files)
  })

  it('runs packages no earlier than the imports of the source say, though they are in another file', async () => {
    await using fixture = await createProject({
      source: `import './first.js'; import { seen } from 'p'; console.log(seen)`,
      packages: {
        p: {
          files: {
            'index.js': 'export const seen = globalThis.isFirst',
            'package.json': '{"name":"p","type":"module"}',
          },
        },
      },
    })
    await fixture.write({ 'first.js': 'globalThis.isFirst = true' })
    const made = await bundle(fixture)
    assert.deepEqual([...made.vendor].filter((name) => made.files.has(name)).toSorted(), [
      'chunk-rolldown-runtime.js',
      'chunk-vendor.js',
    ])
    assert.equal(await run(made), 'true\n')
  })

  it('leaves the file of packages as it is when the source changes', async () => {
    await using fixture = await createProject({
      source: `import { a } from 'a'; console.log(a)`,
      packages: { a: { files: { 'index.js': 'exports.a = 1' } } },
    })
    const first = await bundle(fixture)
    await fixture.write({ 'index.js': `import { a } from 'a'; console.log(a, 'changed')` })
    const second = await bundle(fixture)
    assert.deepEqual(second.files.get('chunk-vendor.js'), first.files.get('chunk-vendor.js'))
    assert.notDeepEqual(second.files.get('main.js'), first.files.get('main.js'))
  })

  it('names the import that cannot be found', async () => {
    await using fixture = await createProject({ source: `import './missing.js'` })
    await assert.rejects(bundle(fixture), { code: 'FAIRLEAD_BUILD_BUNDLE', message: /missing\.js/ })
    await fixture.write({ 'index.js': `import 'not-installed'` })
    await assert.rejects(bundle(fixture), { code: 'FAIRLEAD_BUILD_BUNDLE', message: /not-installed/ })
  })

  it('names the place of a syntax error', async () => {
    await using fixture = await createProject({ source: 'const = 1' })
    await assert.rejects(bundle(fixture), { code: 'FAIRLEAD_BUILD_BUNDLE', message: /index\.js/ })
  })
})
