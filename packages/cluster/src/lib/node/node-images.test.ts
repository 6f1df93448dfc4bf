import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Digest } from '@fairlead/oci'
import type { Layout, ResolvedImage } from '@fairlead/oci/layout'

import { createImageLister } from './node-images.ts'

const digestOf = (letter: string): Digest => `sha256:${letter.repeat(64)}`

function descriptor(letter: string, size: number): ResolvedImage['descriptor'] {
  return { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: digestOf(letter), size }
}

/** Images by reference: the letter of their digest, and the size of their only layer. */
function listOf(
  images: Record<string, [letter: string, layerBytes: number]>,
  onResolve = (): void => {},
): Pick<Layout, 'list' | 'resolve'> {
  return {
    list: async () =>
      Object.entries(images).map(([reference, [letter]]) => ({ reference, descriptor: descriptor(letter, 1) })),
    async resolve(reference) {
      onResolve()
      const found = images[reference]
      if (found === undefined || found[1] === 0) return undefined
      const [letter, size] = found
      const manifest = { config: descriptor('c', 10), layers: [descriptor('d', size)] }
      return { descriptor: descriptor(letter, 1), manifest, config: {} } as unknown as ResolvedImage
    },
  }
}

describe('createImageLister', () => {
  it('tells the largest first, by digest and by all their names', async () => {
    const list = listOf({ 'localhost/a:1': ['a', 90], 'docker.io/library/b:2': ['b', 990], 'localhost/a:2': ['a', 90] })
    assert.deepEqual(await createImageLister(list)(), [
      { names: [`docker.io/library/b@${digestOf('b')}`, 'docker.io/library/b:2'], sizeBytes: 1000 },
      { names: [`localhost/a@${digestOf('a')}`, 'localhost/a:1', 'localhost/a:2'], sizeBytes: 100 },
    ])
  })

  it('leaves out what cannot run here, and what is beyond the fiftieth', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 60 }, (_, n) => [`localhost/x:${n}`, [hex(n), n] as [string, number]]),
    )
    const images = await createImageLister(listOf(many))()
    assert.equal(images.length, 50)
    assert.equal(
      images.some(({ names }) => names?.includes('localhost/x:0')),
      false,
    )
  })

  it('reads images again only when their list has changed', async () => {
    let reads = 0
    const images: Record<string, [string, number]> = { 'localhost/a:1': ['a', 90] }
    const list = createImageLister(listOf(images, () => void (reads += 1)))
    await list()
    await list()
    assert.equal(reads, 1)
    images['localhost/a:2'] = ['b', 5]
    assert.equal((await list()).length, 2)
    assert.equal(reads, 3)
  })
})

/** Sixty different characters. */
function hex(n: number): string {
  return String.fromCodePoint(0x4e00 + n)
}
