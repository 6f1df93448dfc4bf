import assert from 'node:assert/strict'
import { join, relative } from 'node:path'
import { describe, it } from 'node:test'

import { createFixture, lockFiles } from './project-fixture.ts'
import { loadProject } from './project.ts'

describe('loadProject', () => {
  const cases = [
    {
      name: 'the start script',
      json: { scripts: { start: 'node app.js' } },
      files: ['app.js', 'index.js'],
      entry: 'app.js',
    },
    {
      name: 'the start script before main',
      json: { main: 'lib.js', scripts: { start: 'node app' } },
      files: ['app.js', 'lib.js'],
      entry: 'app.js',
    },
    {
      name: 'main when there is no start script',
      json: { main: './lib.js' },
      files: ['lib.js', 'index.js'],
      entry: 'lib.js',
    },
    {
      name: 'a usual name when main does not exist',
      json: { main: 'index.js' },
      files: ['server.js'],
      entry: 'server.js',
    },
    {
      name: 'the source of a built file',
      json: { scripts: { start: 'node dist/main.js' } },
      files: ['src/main.ts'],
      entry: 'src/main.ts',
    },
    { name: 'src/main.ts before index.js', json: {}, files: ['src/main.ts', 'index.js'], entry: 'src/main.ts' },
    {
      name: 'a script started with settings',
      json: { scripts: { start: 'NODE_ENV=production node --env-file=.env -r x app.js' } },
      files: ['app.js'],
      entry: 'app.js',
    },
  ]
  for (const { name, json, files, entry } of cases) {
    it(`starts with ${name}`, async () => {
      const sources = Object.fromEntries(files.map((file) => [file, '']))
      await using fixture = await createFixture({
        ...lockFiles({ '': {} }),
        ...sources,
        'package.json': JSON.stringify(json),
      })
      assert.equal(relative(fixture.dir, (await loadProject(fixture.dir)).entry), entry)
    })
  }

  it('keeps flags that matter in production', async () => {
    const start = 'node --max-old-space-size=200 --watch --conditions=x -C y --import ./z.js app.js'
    await using fixture = await createFixture({
      ...lockFiles({ '': {} }),
      'app.js': '',
      'package.json': JSON.stringify({ scripts: { start } }),
    })
    assert.deepEqual((await loadProject(fixture.dir)).nodeFlags, ['--max-old-space-size=200'])
  })

  const formats = [
    { file: 'index.js', type: undefined, format: 'cjs' },
    { file: 'index.js', type: 'module', format: 'esm' },
    { file: 'src/main.ts', type: undefined, format: 'esm' },
    { file: 'index.mjs', type: undefined, format: 'esm' },
  ]
  for (const { file, type, format } of formats) {
    it(`takes ${file} of type ${type} for ${format}`, async () => {
      const json = JSON.stringify({ type })
      await using fixture = await createFixture({ ...lockFiles({ '': {} }), [file]: '', 'package.json': json })
      assert.equal((await loadProject(fixture.dir)).format, format)
    })
  }

  it('reads conditions from tsconfig.json and what it extends, comments and all', async () => {
    await using fixture = await createFixture({
      ...lockFiles({ '': {} }),
      'package.json': '{"workspaces":["a"]}',
      'tsconfig.json': '{ /* base */ "compilerOptions": { "customConditions": ["@x/source", "b"], }, }',
      'a/package.json': '{}',
      'a/index.ts': '',
      'a/tsconfig.json': '{ "extends": "../tsconfig", // "no"\n "include": ["src/**/*"] }',
    })
    assert.deepEqual((await loadProject(join(fixture.dir, 'a'))).conditions, ['@x/source', 'b'])
  })

  it('says what is wrong with a folder', async () => {
    await using fixture = await createFixture({})
    await assert.rejects(loadProject(join(fixture.dir, 'none')), {
      code: 'FAIRLEAD_BUILD_SOURCE',
      message: /does not exist/,
    })
    await assert.rejects(loadProject(fixture.dir), { code: 'FAIRLEAD_BUILD_SOURCE', message: /no package\.json/ })
    await fixture.write({ ...lockFiles({ '': {} }), 'package.json': '{"scripts":{"start":"node none.js"}}' })
    await assert.rejects(loadProject(fixture.dir), { code: 'FAIRLEAD_BUILD_ENTRY', message: /names "none\.js"/ })
    await fixture.write({ 'package.json': '{' })
    await assert.rejects(loadProject(fixture.dir), { code: 'FAIRLEAD_BUILD_SOURCE', message: /no JSON/ })
  })
})
