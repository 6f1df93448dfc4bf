import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { shareLayerCaches } from './layer-cache.ts'
import type { LayerCache, LayerCacheOptions } from './layer-cache.ts'

describe('shareLayerCaches', () => {
  const layout = {} as LayerCacheOptions['layout']

  it('opens each directory once for each kind of files', async () => {
    const opened: string[] = []
    const open = shareLayerCaches(async ({ dir, readOnlyFiles = false }) => {
      opened.push(`${dir} ${readOnlyFiles}`)
      return { dir } as LayerCache
    })
    const [one, same] = await Promise.all([open({ dir: '/a', layout }), open({ dir: '/a', layout })])
    assert.equal(one, same)
    assert.notEqual(await open({ dir: '/a', layout, readOnlyFiles: true }), one)
    await open({ dir: '/b', layout })
    assert.deepEqual(opened, ['/a false', '/a true', '/b false'])
  })

  it('tries again after a failure', async () => {
    let tries = 0
    const open = shareLayerCaches(async ({ dir }) => {
      tries += 1
      if (tries === 1) throw new Error('no room')
      return { dir } as LayerCache
    })
    await assert.rejects(open({ dir: '/a', layout }), /no room/)
    assert.equal((await open({ dir: '/a', layout })).dir, '/a')
  })
})
