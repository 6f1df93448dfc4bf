import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { rate } from './severity.ts'

/** Examples of FIRST's documents for CVSS 3.1 and 4.0, and vectors whose scores NVD publishes. */
const examples = [
  { vector: 'CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N', score: 6.1, severity: 'medium' },
  { vector: 'CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N', score: 6.4, severity: 'medium' },
  { vector: 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N', score: 7.5, severity: 'high' },
  { vector: 'CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H', score: 9.8, severity: 'critical' },
  { vector: 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H', score: 10, severity: 'critical' },
  { vector: 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N', score: 0, severity: 'none' },
  { vector: 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:P/RL:O/RC:C', score: 8.8, severity: 'high' },
  { vector: 'CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N', score: 7.3, severity: 'high' },
  { vector: 'CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:P/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N', score: 7.7, severity: 'high' },
  { vector: 'CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H', score: 10, severity: 'critical' },
  { vector: 'CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:N/SC:N/SI:N/SA:N', score: 0, severity: 'none' },
]

describe('rate', () => {
  for (const { vector, score, severity } of examples) {
    it(`gives ${score} to ${vector}`, () => {
      assert.deepEqual(rate('X', [{ type: 'CVSS', score: vector }], []), { severity, score, vector })
    })
  }

  it('takes the highest of several vectors', () => {
    const vectors = [examples[0], examples[3]].map((example) => ({ type: 'CVSS_V3', score: example?.vector ?? '' }))
    assert.equal(rate('X', vectors, ['LOW']).score, 9.8)
  })

  it('takes the word of the database when there is no vector it can read', () => {
    assert.deepEqual(rate('X', [{ type: 'CVSS_V2', score: 'AV:N/AC:L/Au:N/C:P/I:P/A:P' }], [undefined, 'MODERATE']), {
      severity: 'medium',
    })
    assert.equal(rate('X', [{ type: 'CVSS_V3', score: 'CVSS:3.1/AV:N/AV:N' }], []).severity, 'unknown')
    assert.equal(rate('X', [], ['not yet assigned']).severity, 'unknown')
  })

  it('calls malicious packages critical', () => assert.equal(rate('MAL-2025-1', [], []).severity, 'critical'))
})
