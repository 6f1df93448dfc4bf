import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { matchesSelector } from './label-selector.ts'
import { matchesRequired } from './node-selector.ts'

const exists = { matchExpressions: [{ key: 'constructor', operator: 'Exists' }] }

describe('selectors and names that every object has', () => {
  it('finds a label of that name only where somebody set it', () => {
    assert.equal(matchesSelector(exists, { app: 'web' }), false)
    assert.equal(matchesSelector(exists, { constructor: 'here' }), true)
    const absent = { matchExpressions: [{ key: 'constructor', operator: 'DoesNotExist' }] }
    assert.equal(matchesSelector(absent, { app: 'web' }), true)
  })

  it('finds a label of nodes so, too', () => {
    const requiredDuringSchedulingIgnoredDuringExecution = { nodeSelectorTerms: [exists] }
    const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution } }
    const pod = { spec: { containers: [], affinity } }
    assert.equal(matchesRequired(pod, { metadata: { labels: { zone: 'a' } } }), false)
  })
})
