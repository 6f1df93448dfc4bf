import assert from 'node:assert/strict'
import { cp, rename, rm, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { bundleProject } from '../bundle/bundle.ts'
import type { Bundle } from '../bundle/bundle.ts'
import { createFixture, lockFiles } from '../source/project-fixture.ts'
import type { ProjectFixture } from '../source/project-fixture.ts'
import { loadProject } from '../source/project.ts'
import type { Project } from '../source/project.ts'
import { externalsKey, traceExternals } from './externals.ts'
import { markInstalled } from './installed.ts'

const TARGET = { architecture: 'amd64' } as const

interface Installed extends AsyncDisposable {
  fixture: ProjectFixture
  project: Project
  bundle: Bundle
}

/** A service with an addon, bundled while everything was there. */
async function install(): Promise<Installed> {
  const dependencies = { addon: '1.0.0' }
  const fixture = await createFixture({
    ...lockFiles({
      '': { dependencies },
      'node_modules/addon': { version: '1.0.0', optionalDependencies: { extra: '1.0.0' } },
      'node_modules/extra': { version: '1.0.0', optional: true },
    }),
    'package.json': JSON.stringify({ dependencies }),
    'index.js': `require('addon')`,
    'node_modules/addon/package.json': '{"name":"addon","version":"1.0.0"}',
    'node_modules/addon/index.js': `module.exports = __dirname`,
    'node_modules/addon/lib/binding/a.node': 'x',
  })
  const project = await loadProject(fixture.dir)
  const bundle = await bundleProject(project, { constants: {} })
  return { fixture, project, bundle, [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose]() }
}

describe('markInstalled', () => {
  it('names the package that is not there, and does without optional ones', async () => {
    await using installed = await install()
    const { fixture, project, bundle } = installed
    assert.equal(await markInstalled(project, bundle.externals), await markInstalled(project, bundle.externals))
    await rm(join(fixture.dir, 'node_modules/addon/package.json'))
    await assert.rejects(markInstalled(project, bundle.externals), {
      code: 'FAIRLEAD_BUILD_INSTALL',
      message: /"node_modules\/addon" is not there/,
    })
  })

  it('refuses what an installation left that was stopped', async () => {
    await using installed = await install()
    await rm(join(installed.fixture.dir, 'node_modules/.package-lock.json'))
    await assert.rejects(markInstalled(installed.project, installed.bundle.externals), {
      code: 'FAIRLEAD_BUILD_INSTALL',
    })
  })

  it('is another after the same packages were installed anew', async () => {
    await using installed = await install()
    const { fixture, project, bundle } = installed
    const before = await markInstalled(project, bundle.externals)
    await cp(join(fixture.dir, 'node_modules'), join(fixture.dir, 'other'), { recursive: true })
    await rename(join(fixture.dir, 'node_modules'), join(fixture.dir, 'old'))
    await rename(join(fixture.dir, 'other'), join(fixture.dir, 'node_modules'))
    assert.notEqual(await markInstalled(project, bundle.externals), before)
  })
})

describe('externalsKey', () => {
  it('is another when an addon is missing or was built anew, wherever it lies in its package', async () => {
    await using installed = await install()
    const { fixture, project, bundle } = installed
    const addon = join(fixture.dir, 'node_modules/addon/lib/binding/a.node')
    const keys = [await externalsKey(project, bundle, TARGET)]
    await utimes(addon, 1, 1)
    keys.push(await externalsKey(project, bundle, TARGET))
    await rm(addon)
    keys.push(await externalsKey(project, bundle, TARGET))
    await rm(join(fixture.dir, 'node_modules/addon'), { recursive: true })
    keys.push(await externalsKey(project, bundle, TARGET))
    assert.equal(new Set(keys).size, 4)
  })
})

describe('traceExternals', () => {
  it('does not answer with nothing when the packages went away since they were bundled', async () => {
    await using installed = await install()
    await rm(join(installed.fixture.dir, 'node_modules'), { recursive: true })
    await assert.rejects(traceExternals(installed.project, installed.bundle, TARGET), {
      code: 'FAIRLEAD_BUILD_INSTALL',
      message: /no file of "node_modules\/addon" was found/,
    })
  })
})
