import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'

import { compareDpkg } from './dpkg.ts'

/** The same versions in every run. */
function* versions(seed: number): Generator<string> {
  const pieces = ['0', '1', '09', '10', '2.3', 'a', 'b', 'A', '.', '+', '~', '~~', '-', 'rc', 'deb12u1', '+b1', '.0']
  let state = seed
  const next = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return Math.floor((state / 2 ** 31) * below)
  }
  for (;;) {
    const epoch = next(4) === 0 ? `${next(3)}:` : ''
    const parts = Array.from({ length: next(5) }, () => pieces[next(pieces.length)])
    yield `${epoch}${next(10)}${parts.join('')}`.replace(/-$/, '')
  }
}

describe('compareDpkg', () => {
  it('agrees with dpkg --compare-versions for 600 pairs', () => {
    const source = versions(42)
    for (let round = 0; round < 600; round += 1) {
      const [a = '', b = ''] = [source.next().value, source.next().value] as string[]
      const operator = { '-1': 'lt', '0': 'eq', '1': 'gt' }[String(Math.sign(compareDpkg(a, b)))] ?? ''
      const { status, stderr } = spawnSync('dpkg', ['--compare-versions', a, operator, b], { encoding: 'utf8' })
      assert.equal(status, 0, `${a} ${operator} ${b} ${stderr}`)
    }
  })
})
