import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { createFixture, lockFiles } from '../source/project-fixture.ts'
import { loadProject } from '../source/project.ts'
import { bundleLauncher } from './launcher.ts'

const KIT = {
  'node_modules/@fairlead/service/package.json':
    '{"name":"@fairlead/service","type":"module","exports":{"./launch":"./launch.js"}}',
  'node_modules/@fairlead/service/launch.js': `
    export function launch(args) { console.log('launching', args.join(' ')) }
    if (import.meta.main) launch(['twice'])`,
}

describe('bundleLauncher', () => {
  for (const type of ['module', 'commonjs']) {
    it(`makes one file that runs alone and starts once, in a ${type} service`, async () => {
      const files = { ...lockFiles({ '': {} }), 'package.json': JSON.stringify({ type }), 'index.js': '' }
      await using fixture = await createFixture({ ...files, ...KIT })
      const code = await bundleLauncher(await loadProject(fixture.dir))
      await using alone = await createFixture({ 'package.json': JSON.stringify({ type }), 'launch.js': code })
      const output = execFileSync(process.execPath, [join(alone.dir, 'launch.js'), 'main.js'], { encoding: 'utf8' })
      assert.equal(output, 'launching main.js\n')
    })
  }

  it('says that the kit is not installed', async () => {
    await using fixture = await createFixture({ ...lockFiles({ '': {} }), 'package.json': '{}', 'index.js': '' })
    const failing = bundleLauncher(await loadProject(fixture.dir))
    await assert.rejects(failing, { code: 'FAIRLEAD_BUILD_BUNDLE', message: /launcher/ })
  })
})
