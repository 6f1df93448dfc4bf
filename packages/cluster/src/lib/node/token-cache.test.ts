import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { TokenCache } from './token-cache.ts'

const pod: Pod = { metadata: { name: 'p', uid: 'u' }, spec: { containers: [], serviceAccountName: 'default' } }
const hourMs = 3_600_000

describe('TokenCache', () => {
  it('renews a token at 80 % of its life, and keeps the old one while no newer can be had', async () => {
    let now = 0
    let isAway = false
    let count = 0
    const tokens = new TokenCache(
      async () => {
        if (isAway) throw new Error('away')
        count += 1
        return { token: `t${count}`, expiresAt: now + hourMs }
      },
      { now: () => now },
    )
    assert.equal(await tokens.get(pod, '', 3600), 't1')
    assert.equal(await tokens.get(pod, 'vault', 3600), 't2')
    now = 0.7 * hourMs
    assert.equal(await tokens.get(pod, '', 3600), 't1')
    assert.ok(!tokens.isDue('u'))
    now = 0.81 * hourMs
    assert.ok(tokens.isDue('u'))
    isAway = true
    assert.equal(await tokens.get(pod, '', 3600), 't1')
    now = 1.1 * hourMs
    await assert.rejects(tokens.get(pod, '', 3600), /away/)
    isAway = false
    assert.equal(await tokens.get(pod, '', 3600), 't3')
    tokens.forget('u')
    assert.equal(await tokens.get(pod, '', 3600), 't4')
  })
})
