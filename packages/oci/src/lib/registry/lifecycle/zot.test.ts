import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { digestOf } from '../../spec/digest.ts'
import { dayMs } from './image.ts'
import type { LifecycleImage } from './image.ts'
import { parseLifecyclePolicy, previewLifecycle } from './policy.ts'
import { matchesGlob } from './zot.ts'

const now = Date.UTC(2026, 10, 21)

function image(
  name: string,
  days: number,
  tags: readonly string[],
  more: Partial<LifecycleImage> = {},
): LifecycleImage {
  return { digest: digestOf(name), tags, pushedAt: now - days * dayMs, ...more }
}

function expired(policy: object, images: Readonly<Record<string, LifecycleImage>>, repository = 'infra/app'): string[] {
  const names = new Map(Object.entries(images).map(([name, { digest }]) => [digest, name]))
  const { actions } = previewLifecycle(
    parseLifecyclePolicy(JSON.stringify(policy)),
    repository,
    Object.values(images),
    now,
  )
  return actions.map(({ digest }) => names.get(digest) ?? '?').toSorted()
}

describe('zot retention', () => {
  const images = {
    v1: image('v1', 100, ['v1.0'], { lastPulledAt: now - 2 * dayMs }),
    v2: image('v2', 80, ['v2.0']),
    v3: image('v3', 60, ['v3.0'], { lastPulledAt: now - 50 * dayMs }),
    v4: image('v4', 3, ['v4.0']),
    prod: image('prod', 300, ['x-prod']),
    loose: image('loose', 10, []),
    fresh: image('fresh', 0.5, []),
  }

  it('keeps tags for which any criterion of any entry holds', () => {
    const keepTags = [
      { patterns: ['v.*'], mostRecentlyPushedCount: 1, pulledWithin: '720h' },
      { patterns: ['.*-prod'] },
    ]
    assert.deepEqual(expired({ policies: [{ repositories: ['infra/*'], keepTags }] }, images), ['loose', 'v2', 'v3'])
  })

  it('keeps all tags without keepTags, and untagged images when told', () => {
    assert.deepEqual(expired({ policies: [{ repositories: ['**'] }] }, images), ['loose'])
    assert.deepEqual(expired({ policies: [{ repositories: ['**'], deleteUntagged: false }] }, images), [])
  })

  it('takes the first policy whose globs match, and touches nothing without one', () => {
    const policies = [
      { repositories: ['other/**'], keepTags: [] },
      { repositories: ['infra/app'], deleteUntagged: false },
      { repositories: ['**'], keepTags: [] },
    ]
    assert.deepEqual(expired({ policies }, images), [])
    assert.equal(expired({ policies }, images, 'x/y').length, 6)
    assert.deepEqual(expired({ policies: [{ repositories: ['other'] }] }, images), [])
  })

  it('matches whole tags, and counts what was pushed last among those that match', () => {
    const keepTags = [{ patterns: ['v'], mostRecentlyPushedCount: 9 }]
    assert.equal(expired({ policies: [{ keepTags, deleteUntagged: false }] }, images).length, 5)
    const pulled = [{ patterns: ['v.*'], mostRecentlyPulledCount: 2 }]
    assert.deepEqual(expired({ policies: [{ keepTags: pulled, deleteUntagged: false }] }, images), ['prod', 'v2', 'v4'])
  })

  it('keeps parts and signatures of what it keeps, and signatures of what is gone until told', () => {
    const part = image('part', 99, [])
    const index = image('index', 99, ['v1'], { children: [part.digest] })
    const more = {
      part,
      index,
      signature: image('signature', 99, [], { subject: index.digest }),
      orphan: image('orphan', 99, [], { subject: digestOf('gone') }),
    }
    assert.deepEqual(expired({ policies: [{}] }, more), [])
    assert.deepEqual(expired({ policies: [{ deleteReferrers: true }] }, more), ['orphan'])
  })

  it('reads a whole configuration, and names all faults', () => {
    const retention = { delay: '1h', policies: [{ repositories: ['**'] }] }
    assert.deepEqual(expired({ storage: { retention } }, images), ['fresh', 'loose'])
    const wrong = { delay: 'soon', policies: [{ keepTags: [{ patterns: ['('], pushedWithin: 7 }], keep: 1 }] }
    assert.throws(() => parseLifecyclePolicy(JSON.stringify(wrong)), {
      code: 'FAIRLEAD_OCI_POLICY',
      message: /keep is not known.*patterns has "\(".*pushedWithin is not a duration.*delay is not a duration/,
    })
  })

  it('matches globs by path segments', () => {
    assert.ok(matchesGlob('infra/*', 'infra/app'))
    assert.ok(!matchesGlob('infra/*', 'infra/app/x'))
    assert.ok(matchesGlob('infra/**', 'infra/app/x'))
    assert.ok(!matchesGlob('a.c', 'abc'))
  })
})
