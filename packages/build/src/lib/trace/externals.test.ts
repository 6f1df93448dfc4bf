import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { bundleProject } from '../bundle/bundle.ts'
import type { LockedPackage } from '../source/lockfile.ts'
import { createFixture, lockFiles } from '../source/project-fixture.ts'
import { loadProject } from '../source/project.ts'
import { traceExternals } from './externals.ts'

const MACHINES = { amd64: 62, arm64: 183 }

/** The head of a shared object for a processor: as much as decides where it loads. */
function elf(architecture: keyof typeof MACHINES): Buffer {
  const header = Buffer.alloc(64)
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  header.writeUInt16LE(3, 16)
  header.writeUInt16LE(MACHINES[architecture], 18)
  header.writeBigUInt64LE(64n, 32)
  header.writeUInt16LE(56, 54)
  return header
}

async function trace(
  files: Record<string, string | Buffer>,
  architecture: 'amd64' | 'arm64',
  more: Record<string, LockedPackage> = {},
): Promise<string[]> {
  const own = { addon: '1.0.0' }
  const optionalDependencies = Object.fromEntries(Object.keys(more).map((path) => [path.slice(13), '1.0.0']))
  await using fixture = await createFixture({
    ...lockFiles({
      '': { dependencies: own },
      'node_modules/addon': { version: '1.0.0', dependencies: { helper: '1.0.0' }, optionalDependencies },
      'node_modules/helper': { version: '1.0.0' },
      ...more,
    }),
    'package.json': JSON.stringify({ dependencies: own }),
    'index.js': `require('addon')`,
    'node_modules/addon/package.json': '{"name":"addon","version":"1.0.0"}',
    'node_modules/addon/index.js': `require('helper')(__dirname)`,
    'node_modules/addon/README.md': '',
    'node_modules/helper/package.json': '{"name":"helper","version":"1.0.0"}',
    'node_modules/helper/index.js': 'module.exports = () => {}',
    ...Object.fromEntries(Object.entries(files).map(([path, content]) => [`node_modules/${path}`, content])),
  })
  const project = await loadProject(fixture.dir)
  const entries = await traceExternals(project, await bundleProject(project, { constants: {} }), { architecture })
  return entries.map(({ path }) => path.replace('app/node_modules/', '')).toSorted()
}

const CODE = ['addon/index.js', 'addon/package.json', 'helper/index.js', 'helper/package.json']
const PREBUILDS = {
  'addon/prebuilds/linux-x64/a.node': elf('amd64'),
  'addon/prebuilds/linux-arm64/a.node': elf('arm64'),
  'addon/prebuilds/darwin-arm64/a.node': Buffer.from('\xcf\xfa\xed\xfe', 'latin1'),
}

describe('traceExternals', () => {
  it('takes what can be reached, and of native files those for the platform', async () => {
    assert.deepEqual(await trace(PREBUILDS, 'amd64'), [...CODE, 'addon/prebuilds/linux-x64/a.node'].toSorted())
    assert.deepEqual(await trace(PREBUILDS, 'arm64'), [...CODE, 'addon/prebuilds/linux-arm64/a.node'].toSorted())
  })

  it('takes a package made for the platform whole, and leaves out its sisters', async () => {
    const files = {
      'addon-x64/package.json': '{"name":"addon-x64","version":"1.0.0"}',
      'addon-x64/lib/a.node': elf('amd64'),
      'addon-x64/lib/data.bin': 'x',
    }
    const found = await trace(files, 'amd64', {
      'node_modules/addon-x64': { version: '1.0.0', optional: true, os: ['linux'], cpu: ['x64'] },
      'node_modules/addon-arm64': { version: '1.0.0', optional: true, os: ['linux'], cpu: ['arm64'] },
    })
    assert.deepEqual(found, [...CODE, ...Object.keys(files)].toSorted())
  })

  it('refuses a package that has builds for other platforms only', async () => {
    const { 'addon/prebuilds/linux-arm64/a.node': _, ...others } = PREBUILDS
    await assert.rejects(trace(others, 'arm64'), (error: Error & { code?: string; hint?: string }) => {
      assert.equal(error.code, 'FAIRLEAD_BUILD_NATIVE')
      assert.match(
        error.message,
        /"addon".*made for another operating system.*made for amd64.*expected one for linux\/arm64/,
      )
      assert.match(error.hint ?? '', /--cpu=arm64/)
      return true
    })
  })

  it('refuses a package that was never built', async () => {
    const unbuilt = trace({ 'addon/binding.gyp': '{}' }, 'amd64')
    await assert.rejects(unbuilt, { code: 'FAIRLEAD_BUILD_NATIVE', message: /not built for linux\/amd64/ })
  })
})
