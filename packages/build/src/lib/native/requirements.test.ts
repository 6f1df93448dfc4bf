import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'

import { checkRequirements, requirementsOf } from './requirements.ts'

const OFFER = { libraries: ['libc.so.6', 'libm.so.6'], glibc: '2.36', name: 'Debian', platform: 'linux/amd64' }
const PATH = 'app/node_modules/@x/addon/build/Release/addon.node'

describe('checkRequirements', () => {
  it('takes what the base has', () => {
    checkRequirements([{ path: PATH, libraries: ['libc.so.6'], glibc: '2.34' }], OFFER)
    checkRequirements([{ path: PATH, libraries: [], glibc: undefined }], OFFER)
  })

  const cases = [
    {
      name: 'a library that is missing',
      libraries: ['libvips.so.42'],
      glibc: '2.2.5',
      message: /linux\/amd64 needs the library libvips\.so\.42/,
    },
    {
      name: 'a glibc that is newer, by number',
      libraries: [],
      glibc: '2.100',
      message: /needs glibc 2\.100, .*"Debian" has 2\.36/,
    },
  ]
  for (const { name, libraries, glibc, message } of cases) {
    it(`names addon, target and way out for ${name}`, () => {
      const check = (): void => checkRequirements([{ path: PATH, libraries, glibc }], OFFER)
      assert.throws(check, (error: Error & { code?: string; hint?: string }) => {
        assert.equal(error.code, 'FAIRLEAD_BUILD_NATIVE')
        assert.match(error.message, /"@x\/addon"/)
        assert.match(error.message, message)
        assert.ok(error.hint)
        return true
      })
    })
  }

  it('asks nothing of a base whose libraries are not known', () => {
    checkRequirements([{ path: PATH, libraries: ['libvips.so.42'], glibc: '9.9' }], { ...OFFER, libraries: [] })
  })
})

describe('requirementsOf', () => {
  it('reads the libraries and the version of glibc a real program needs', () => {
    const [found] = requirementsOf([{ path: 'bin/sh', type: 'file', content: readFileSync('/bin/sh') }])
    assert.ok(found?.libraries.includes('libc.so.6'))
    assert.match(found?.glibc ?? '', /^2\.\d+$/)
  })

  it('counts what lies beside as there', () => {
    const content = readFileSync('/bin/sh')
    const entries = ['app/a.node', 'app/libc.so.6'].map((path) => ({ path, type: 'file' as const, content }))
    assert.deepEqual(requirementsOf(entries)[0]?.libraries, [])
  })
})
