import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { openLayout } from '@fairlead/oci/layout'

import { buildImage } from '../build-image.ts'
import { createFixture, lockFiles } from '../source/project-fixture.ts'

/** Built from pieces: this file itself holds nothing of the form. */
const token = ['glp', 'at-', 'Zk3', 'xW9mQ7', 'rT2vB8nL', '4pY'].join('')

describe('buildImage', { timeout: 600_000 }, () => {
  let work: string
  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'fairlead-secrets-'))
  })
  after(() => rm(work, { recursive: true, force: true }))

  const cases = [
    { name: 'the source', files: { 'src/main.js': `console.log('${token}')\n` }, path: 'src/main.js' },
    {
      name: 'a file that is copied',
      files: { 'main.js': '', 'public/settings.json': `{"token":"${token}"}` },
      path: 'public/settings.json',
    },
  ]
  for (const { name, files, path } of cases) {
    it(`refuses a credential in ${name}, and makes no image`, async () => {
      await using fixture = await createFixture({
        ...files,
        ...lockFiles({ '': {} }),
        'package.json': JSON.stringify({ name: 'web', type: 'module' }),
      })
      const layout = await openLayout(join(work, name))
      const building = buildImage({
        dir: fixture.dir,
        name: 'test/web',
        layout,
        cacheDir: join(work, 'cache'),
        base: 'debian',
      })
      await assert.rejects(building, (error: Error) => {
        assert.equal((error as { code?: string }).code, 'FAIRLEAD_BUILD_SECRET')
        assert.ok(error.message.includes(path), error.message)
        return !error.message.includes(token)
      })
      assert.deepEqual(await layout.list(), [])
    })
  }
})
