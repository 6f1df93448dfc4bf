import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'

import { createToolShell } from './tool-shell.ts'

describe('createToolShell', () => {
  it('runs tools one after the other, each word as it is', async () => {
    const shell = createToolShell()
    const words = ["it's", '$HOME', 'a b', '*', '\\', '"', '--x-- 0']
    const printed = await Promise.all(words.map((word) => shell.run('printf', ['%s\n', word])))
    assert.deepEqual(
      printed,
      words.map((word) => `${word}\n`),
    )
    assert.equal((await shell.run('pwd', [], { cwd: tmpdir() })).trim(), tmpdir())
    shell.close()
  })

  it('says why a tool failed, and goes on', async () => {
    const shell = createToolShell()
    await assert.rejects(shell.run('ls', ['/nowhere']), /exit code \d+: .*\/nowhere/)
    await assert.rejects(shell.run('no-such-tool', []), { code: 'FAIRLEAD_OCI_RUNTIME_COMMAND' })
    assert.equal(await shell.run('echo', ['on']), 'on\n')
    shell.close()
  })

  it('ends a tool that takes too long, and those that wait have a new shell', async () => {
    const shell = createToolShell()
    const slow = assert.rejects(shell.run('sleep', ['60'], { timeoutMs: 50 }), { code: 'FAIRLEAD_OCI_RUNTIME_COMMAND' })
    assert.equal(await shell.run('echo', ['next']), 'next\n')
    await slow
    shell.close()
  })

  it('keeps no process from ending', async () => {
    const module = join(import.meta.dirname, 'tool-shell.ts')
    const source = `import { createToolShell } from ${JSON.stringify(module)}\nconsole.log(await createToolShell().run('echo', ['done']))`
    const args = ['--conditions=@fairlead/source', '--input-type=module', '--eval', source]
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 })
    assert.equal(stdout.trim(), 'done')
  })
})
