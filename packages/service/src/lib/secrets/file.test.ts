import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { openSecrets } from './secrets.ts'
import type { Secrets } from './secrets.ts'

/** Writes a volume as the kubelet does: a new folder, and `..data` replaced by a link to it in one step. */
function writeVolume(folder: string, generation: number, files: Readonly<Record<string, string>>): void {
  const data = `..2026_11_21_${generation}`
  mkdirSync(join(folder, data))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, data, name), text)
  symlinkSync(data, join(folder, '..data_tmp'))
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
  for (const name of Object.keys(files)) {
    rmSync(join(folder, name), { force: true })
    symlinkSync(join('..data', name), join(folder, name))
  }
  rmSync(join(folder, `..2026_11_21_${generation - 1}`), { recursive: true, force: true })
}

describe('file references', () => {
  let folder: string
  let secrets: Secrets
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'fairlead-secrets-'))
    // Nothing is read again by time: what changes here is heard of.
    secrets = openSecrets({ env: {}, refreshMs: 0, cacheMs: 3_600_000, negativeMs: 0 })
  })
  afterEach(async () => {
    await secrets.close()
    rmSync(folder, { recursive: true })
  })

  it('leave out one line break at the end, unless they are raw', async () => {
    const read = async (reference: string) => (await secrets.secret(reference).get()).reveal()
    const path = join(folder, 'a')
    for (const [text, expected] of [
      ['s3cret\n', 's3cret'],
      ['s3cret\r\n', 's3cret'],
      ['s3cret\n\n', 's3cret\n'],
      ['s3cret', 's3cret'],
      ['', ''],
    ] as const) {
      writeFileSync(path, text)
      assert.equal((await secrets.secret(`file://${path}`).refresh()).reveal(), expected)
    }
    writeFileSync(path, 's3cret\n')
    assert.equal(await read(`file://${path}?raw=true`), 's3cret\n')
  })

  it('hear of every swap of a mounted volume, by key of the folder and by file', async () => {
    writeVolume(folder, 1, { user: 'a', password: 'one' })
    const [byKey, byFile] = [secrets.secret(`file://${folder}#password`), secrets.secret(`file://${folder}/password`)]
    await Promise.all([byKey.get(), byFile.get()])
    for (const [generation, password] of [
      [2, 'two'],
      [3, 'three'],
      [4, 'four'],
    ] as const) {
      const changes = [byKey, byFile].map((handle) => {
        const change = Promise.withResolvers<string>()
        const stop = handle.onChange(({ current, previous }) => {
          stop()
          change.resolve(`${previous.reveal()} ${current.reveal()}`)
        })
        return change.promise
      })
      writeVolume(folder, generation, { user: 'a', password })
      const previous = ['one', 'two', 'three'][generation - 2]
      assert.deepEqual(await Promise.all(changes), [`${previous} ${password}`, `${previous} ${password}`])
    }
  })

  it('keep the last value while a volume is half gone', async () => {
    writeVolume(folder, 1, { password: 'one' })
    const handle = secrets.secret(`file://${folder}/password`)
    await handle.get()
    rmSync(join(folder, '..data'))
    await assert.rejects(handle.refresh(), { code: 'FAIRLEAD_SERVICE_SECRET_ABSENT' })
    assert.equal((await handle.get()).reveal(), 'one')
    assert.equal(secrets.health().status, 'degraded')
  })

  for (const [name, make, code, state] of [
    ['a file that is not there', () => {}, 'ABSENT', 'there is no such file'],
    ['a folder', (path: string) => mkdirSync(path), 'ABSENT', 'it is a folder'],
    [
      'a large file',
      (path: string) => writeFileSync(path, Buffer.alloc(1024 * 1024 + 1)),
      'UNAVAILABLE',
      'more than 1048576',
    ],
  ] as const) {
    it(`say what is wrong with ${name}`, async () => {
      make(join(folder, 'x'))
      await assert.rejects(secrets.secret(`file://${folder}/x`).get(), (error: Error & { code?: string }) => {
        assert.equal(error.code, `FAIRLEAD_SERVICE_SECRET_${code}`)
        assert.ok(error.message.includes(state), error.message)
        return true
      })
    })
  }

  it('lead to no file outside of the folder by their field', async () => {
    writeFileSync(join(folder, 'outside'), 'planted')
    mkdirSync(join(folder, 'in'))
    for (const field of ['../outside', '..', '.']) {
      await assert.rejects(secrets.secret(`file://${folder}/in#${field}`).get(), {
        code: 'FAIRLEAD_SERVICE_SECRET_ABSENT',
      })
    }
  })
})
