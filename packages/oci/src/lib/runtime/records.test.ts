import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'

import { openRecords } from './records.ts'

it('forgets a record that was being read while it was removed', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-records-'))
  try {
    for (let round = 0; round < 200; round += 1) {
      const writer = await openRecords(dir)
      await mkdir(writer.dirOf('one'))
      await writer.write({ id: 'one', createdAt: 1 })
      // Opened anew, so that reading goes to the disk.
      const records = await openRecords(dir)
      await Promise.all([records.find('one'), records.remove('one'), records.find('one')])
      assert.equal(await records.find('one'), undefined)
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
