import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { digestOf } from '@fairlead/oci'

import { createFixture } from '../../source/project-fixture.ts'
import { readWithIncluded } from './included.ts'
import { loadRequirements } from './load.ts'

describe('readWithIncluded', () => {
  it('puts included files in place, from the folder of the file that names them', async () => {
    await using fixture = await createFixture({
      'requirements.txt': 'flask==3.0.0\n-r more/base.txt # ours\nlast==1\n-r https://x/y.txt\n',
      'more/base.txt': '--requirement=../deep.txt\n-rnear.txt\n',
      'more/near.txt': 'near==1',
      'deep.txt': 'deep==2 \\\n    --hash=sha256:aa\n',
    })
    assert.equal(
      await readWithIncluded(join(fixture.dir, 'requirements.txt')),
      'flask==3.0.0\ndeep==2 \\\n    --hash=sha256:aa\nnear==1\nlast==1\n-r https://x/y.txt\n',
    )
  })

  it('names constraints by their absolute path and what is in them', async () => {
    await using fixture = await createFixture({ 'requirements.txt': '-c limits.txt\na\n', 'limits.txt': 'a<2' })
    const text = await readWithIncluded(join(fixture.dir, 'requirements.txt'))
    assert.equal(text, `-c "${join(fixture.dir, 'limits.txt')}" # ${digestOf(Buffer.from('a<2'))}\na\n`)
  })

  const broken = [
    { name: 'is absent', files: { 'requirements.txt': '-r none.txt' } },
    { name: 'includes itself', files: { 'requirements.txt': '-r requirements.txt' } },
  ]
  for (const { name, files } of broken) {
    it(`refuses a file that ${name}`, async () => {
      await using fixture = await createFixture(files)
      await assert.rejects(loadRequirements(fixture.dir), { code: 'FAIRLEAD_BUILD_PYTHON', message: /includes/ })
    })
  }
})
