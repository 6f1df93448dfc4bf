import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, mkdtempDisposable, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { prepareHostPath } from './host-path.ts'

describe('prepareHostPath', () => {
  const cases = [
    { type: 'Directory', fits: 'dir', name: 'directory' },
    { type: 'DirectoryOrCreate', fits: 'dir', name: 'directory' },
    { type: 'File', fits: 'file', name: 'file' },
    { type: 'FileOrCreate', fits: 'file', name: 'file' },
    { type: 'Socket', fits: 'socket', name: 'socket file' },
    { type: 'CharDevice', fits: '/dev/null', name: 'character device' },
    { type: 'BlockDevice', fits: undefined, name: 'block device' },
  ]
  for (const { type, fits, name } of cases) {
    it(`takes for ${type} nothing but a ${name}`, async () => {
      await using temporary = await mkdtempDisposable(join(tmpdir(), 'host-path-'))
      const at = (path: string): string => join(temporary.path, path)
      await mkdir(at('dir'))
      await writeFile(at('file'), 'kept')
      const server = createServer().listen(at('socket'))
      await once(server, 'listening')
      for (const path of ['/dev/null', at('dir'), at('file'), at('socket')]) {
        const isFitting = fits !== undefined && path.endsWith(fits)
        if (isFitting) assert.equal(await prepareHostPath(path, type), path)
        else {
          const message = new RegExp(`hostPath type check failed: ${path} is not a ${name}`)
          await assert.rejects(prepareHostPath(path, type), message)
        }
      }
      if (!type.endsWith('OrCreate')) await assert.rejects(prepareHostPath(at('none'), type), /is not a/)
      server.close()
      await once(server, 'close')
    })
  }

  it('makes what is missing where the type says so, or says nothing', async () => {
    await using temporary = await mkdtempDisposable(join(tmpdir(), 'host-path-'))
    const at = (path: string): string => join(temporary.path, path)
    assert.ok((await stat(await prepareHostPath(at('a/b'), ''))).isDirectory())
    assert.ok((await stat(await prepareHostPath(at('c'), 'DirectoryOrCreate'))).isDirectory())
    assert.ok((await stat(await prepareHostPath(at('d'), 'FileOrCreate'))).isFile())
    assert.ok((await stat(await prepareHostPath('/dev/null', ''))).isCharacterDevice())
    await assert.rejects(prepareHostPath(at('e'), 'Anything'), /Anything is an invalid volume type/)
  })
})
