import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposableSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

describe('fairlead', () => {
  it('goes on when nobody reads its progress any more', async () => {
    using home = mkdtempDisposableSync(join(tmpdir(), 'fairlead-main-'))
    const main = join(import.meta.dirname, 'main.ts')
    const child = spawn(process.execPath, ['--conditions=@fairlead/source', main, 'down'], {
      env: { ...process.env, FAIRLEAD_HOME: join(home.path, 'home'), FAIRLEAD_CACHE: join(home.path, 'cache') },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    child.stderr.destroy()
    assert.deepEqual(await once(child, 'exit'), [0, null])
  })
})
