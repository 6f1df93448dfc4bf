import assert from 'node:assert/strict'
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { attachMonitored } from './conmon-attach.ts'

describe('attachMonitored', () => {
  it('says that the monitor is gone where only its socket is left', async () => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'fairlead-attach-'))
    await writeFile(join(dir.path, 'attach'), '')
    const attached = attachMonitored(dir.path, { stdin: false, tty: false, pid: process.pid })
    await assert.rejects(attached, { code: 'FAIRLEAD_OCI_ATTACH', message: /its monitor does not answer/ })
  })
})
