import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { describeRemainder } from './namespace.ts'

describe('describeRemainder', () => {
  it('names what is left and which finalizers hold it', () => {
    const objects = [{ metadata: { finalizers: ['example.com/hold'] } }, {}]
    const left = [{ resource: 'widgets.example.com', objects }]
    const [content, finalizers, ...failures] = describeRemainder(undefined, left, 0)
    assert.equal(content?.message, 'Some resources are remaining: widgets.example.com has 2 resource instances')
    assert.equal(
      finalizers?.message,
      'Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances',
    )
    assert.deepEqual(
      failures.map(({ type, status }) => `${type} ${status}`),
      [
        'NamespaceDeletionDiscoveryFailure False',
        'NamespaceDeletionGroupVersionParsingFailure False',
        'NamespaceDeletionContentFailure False',
      ],
    )
  })
})
