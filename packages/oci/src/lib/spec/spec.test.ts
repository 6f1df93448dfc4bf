import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { renderCanonicalJson } from './canonical.ts'
import { createDigester, digestOf, isDigest, parseDigest } from './digest.ts'
import { matchesPlatform, parsePlatform, renderPlatform } from './platform.ts'

describe('renderCanonicalJson', () => {
  it('sorts keys, leaves out undefined and writes no white space', () => {
    assert.equal(renderCanonicalJson({ b: 1, a: { d: undefined, c: [null, 'x'] } }), '{"a":{"c":[null,"x"]},"b":1}')
  })

  it('gives equal texts for equal values in another order', () => {
    assert.equal(renderCanonicalJson({ a: 1, b: [2] }), renderCanonicalJson({ b: [2], a: 1 }))
  })
})

describe('digestOf', () => {
  it('agrees with a digester fed in pieces', () => {
    const digester = createDigester()
    for (const piece of ['ab', 'c']) digester.update(Buffer.from(piece))
    assert.equal(digester.digest(), digestOf('abc'))
    assert.equal(digestOf('abc'), 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  })

  it('knows what is a digest', () => {
    assert.ok(isDigest(digestOf('')))
    for (const text of ['sha256:abc', `sha256:${'A'.repeat(64)}`, `md5:${'a'.repeat(32)}`, '../../etc/passwd']) {
      assert.throws(() => parseDigest(text), { code: 'FAIRLEAD_OCI_DIGEST' })
    }
  })
})

describe('parsePlatform', () => {
  it('reads and renders', () => {
    assert.equal(renderPlatform(parsePlatform('linux/arm64/v8')), 'linux/arm64/v8')
    assert.throws(() => parsePlatform('linux'), { code: 'FAIRLEAD_OCI_PLATFORM' })
  })

  it('takes arm64 without a variant for v8', () => {
    assert.ok(matchesPlatform({ os: 'linux', architecture: 'arm64' }, parsePlatform('linux/arm64/v8')))
    assert.ok(!matchesPlatform({ os: 'linux', architecture: 'amd64' }, parsePlatform('linux/arm64')))
  })
})
