import assert from 'node:assert/strict'
import { mkdtempDisposableSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { createMonitored } from './conmon.ts'
import type { Monitored } from './conmon.ts'
import { createToolShell } from './tool-shell.ts'

/** Creates a container by a program of the shell in place of conmon; it runs where the bundle is. */
async function createBy(script: string): Promise<{ made: Monitored; left: string[] }> {
  using bundle = mkdtempDisposableSync(join(tmpdir(), 'fairlead-conmon-'))
  const conmon = join(bundle.path, 'conmon')
  writeFileSync(conmon, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  const shell = createToolShell()
  try {
    const dirs = { bundle: bundle.path, exitDir: bundle.path, socketDir: bundle.path }
    const options = { id: 'one', conmon, runtime: ['/bin/true'], logPath: join(bundle.path, 'log'), ...dirs }
    const made = await createMonitored({ ...options, timeoutMs: 30_000 }, shell.run)
    return { made, left: readdirSync(bundle.path) }
  } finally {
    shell.close()
  }
}

const skip = process.platform === 'win32' && 'there are no named pipes'

describe('createMonitored', { skip }, () => {
  it('hears what a monitor answers after it has gone to the background', async () => {
    const script = `echo 7 > conmon.pid; (sleep 0.1; echo '{"pid": 42}' >&3) & exit 0`
    const { made, left } = await createBy(script)
    assert.deepEqual(made, { pid: 42, monitorPid: 7 })
    assert.equal(left.includes('sync'), false)
  })

  it('says what the runtime said', async () => {
    const script = String.raw`printf '%s\n' '{"pid": -1, "message": "level=error msg=\"no such file\""}' >&3`
    await assert.rejects(createBy(script), { code: 'FAIRLEAD_OCI_CONTAINER_START', message: /no such file/ })
  })

  it('does not wait for a monitor that ends without a word, and passes on its complaint', async () => {
    await assert.rejects(createBy(`(sleep 0.1; echo 'out of luck' >&2) & exit 0`), { message: /out of luck/ })
    await assert.rejects(createBy('exit 3'), { code: 'FAIRLEAD_OCI_CONTAINER_START' })
  })
})
