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

describe('matchesSelector', () => {
  const expression = (operator: string, values?: string[]) => ({ matchExpressions: [{ key: 'a', operator, values }] })
  for (const [name, selector, labels, expected] of [
    ['nothing', undefined, { a: '1' }, false],
    ['everything', {}, undefined, true],
    ['labels', { matchLabels: { a: '1' } }, { a: '1', b: '2' }, true],
    ['other labels', { matchLabels: { a: '1' } }, { a: '2' }, false],
    ['In', expression('In', ['1', '2']), { a: '2' }, true],
    ['NotIn', expression('NotIn', ['1']), {}, true],
    ['Exists', expression('Exists'), {}, false],
    ['DoesNotExist', expression('DoesNotExist'), {}, true],
  ] as const) {
    it(name, () => assert.equal(matchesSelector(selector as Parameters<typeof matchesSelector>[0], labels), expected))
  }
})
