import assert from 'node:assert/strict'
import { existsSync, mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { prepareHomes, resolveHomes } from './homes.ts'

describe('resolveHomes', () => {
  it('follows the XDG Base Directory Specification', () => {
    const { home, cache, images } = resolveHomes({ HOME: '/home/ada' })
    assert.deepEqual(
      [home, cache, images],
      ['/home/ada/.local/share/fairlead', '/home/ada/.cache/fairlead', '/home/ada/.local/share/fairlead/images'],
    )
    assert.equal(resolveHomes({ HOME: '/home/ada', XDG_DATA_HOME: '/data' }).home, '/data/fairlead')
  })

  it('lets FAIRLEAD_HOME and FAIRLEAD_CACHE win', () => {
    const { home, cache, cluster } = resolveHomes({ FAIRLEAD_HOME: '/a', FAIRLEAD_CACHE: '/b', XDG_DATA_HOME: '/data' })
    assert.deepEqual([home, cache, cluster('default')], ['/a', '/b', '/a/clusters/default'])
  })
})

describe('prepareHomes', () => {
  it('makes both folders', () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-homes-'))
    const homes = resolveHomes({ FAIRLEAD_HOME: join(folder.path, 'a', 'b'), FAIRLEAD_CACHE: join(folder.path, 'c') })
    prepareHomes(homes)
    assert.deepEqual([existsSync(homes.home), existsSync(homes.cache)], [true, true])
  })

  for (const variable of ['FAIRLEAD_HOME', 'FAIRLEAD_CACHE']) {
    it(`names ${variable} when its folder cannot be made`, () => {
      using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-homes-'))
      const file = join(folder.path, 'file')
      writeFileSync(file, '')
      const env = { FAIRLEAD_HOME: join(folder.path, 'a'), FAIRLEAD_CACHE: join(folder.path, 'b') }
      assert.throws(() => prepareHomes(resolveHomes({ ...env, [variable]: join(file, 'below') })), {
        code: 'FAIRLEAD_CLI_HOME',
        hint: `Set ${variable} to a folder you may write to`,
      })
    })
  }
})
