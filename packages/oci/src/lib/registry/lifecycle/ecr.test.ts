import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { digestOf } from '../../spec/digest.ts'
import { evaluateEcrPolicy } from './ecr.ts'
import { parseEcrPolicy } from './ecr-policy.ts'
import { dayMs } from './image.ts'
import type { LifecycleImage } from './image.ts'
import { lintLifecycle, parseLifecyclePolicy, previewLifecycle } from './policy.ts'

const now = Date.UTC(2026, 10, 21)

/** An image called `name`, pushed some days ago. */
function image(
  name: string,
  days: number,
  tags: readonly string[],
  more: Partial<LifecycleImage> = {},
): LifecycleImage {
  return { digest: digestOf(name), tags, pushedAt: now - days * dayMs - 1000, ...more }
}

interface Selection {
  tagStatus: string
  tagPrefixList?: string[]
  tagPatternList?: string[]
  storageClass?: string
  countType: string
  countUnit?: string
  countNumber: number
}

function rule(priority: number, selection: Selection, action: object = { type: 'expire' }): object {
  return { rulePriority: priority, selection, action }
}

function policyOf(...rules: readonly object[]): ReturnType<typeof parseEcrPolicy> {
  return parseEcrPolicy(JSON.stringify({ rules }))
}

/** Names of the images acted on, the oldest first, with the rule that does. */
function acted(images: Readonly<Record<string, LifecycleImage>>, ...rules: readonly object[]): string[] {
  const names = new Map(Object.entries(images).map(([name, { digest }]) => [digest, name]))
  return evaluateEcrPolicy(policyOf(...rules), Object.values(images), now).map(
    (action) => `${names.get(action.digest)}:${action.rule}${action.action === 'archive' ? ' archive' : ''}`,
  )
}

const older = (tagPrefixList: string[], days: number): Selection => ({
  tagStatus: 'tagged',
  tagPrefixList,
  countType: 'sinceImagePushed',
  countUnit: 'days',
  countNumber: days,
})
const moreThan = (tagPrefixList: string[], count: number): Selection => ({
  tagStatus: 'tagged',
  tagPrefixList,
  countType: 'imageCountMoreThan',
  countNumber: count,
})
const untagged: Selection = { tagStatus: 'untagged', countType: 'imageCountMoreThan', countNumber: 1 }

describe('evaluateEcrPolicy: examples of the user guide', () => {
  it('untagged images older than 14 days', () => {
    const selection: Selection = { ...untagged, countType: 'sinceImagePushed', countUnit: 'days', countNumber: 14 }
    const images = { old: image('old', 15, []), young: image('young', 13, []), named: image('named', 99, ['v1']) }
    assert.deepEqual(acted(images, rule(1, selection)), ['old:1'])
  })

  it('all untagged images but one', () => {
    const images = { a: image('a', 3, []), b: image('b', 2, []), c: image('c', 1, []), d: image('d', 9, ['v1']) }
    assert.deepEqual(acted(images, rule(1, untagged)), ['a:1', 'b:1'])
  })

  const prodAndBeta = {
    A: image('A', 10, ['beta-1', 'prod-1']),
    B: image('B', 9, ['beta-2', 'prod-2']),
    C: image('C', 8, ['beta-3']),
  }

  it('several rules, prod first: B matches rule 1 and is therefore out of reach of rule 2', () => {
    assert.deepEqual(acted(prodAndBeta, rule(1, moreThan(['prod'], 1)), rule(2, moreThan(['beta'], 1))), ['A:1'])
  })

  it('several rules, beta first: rule 2 counts A although rule 1 has taken it', () => {
    assert.deepEqual(acted(prodAndBeta, rule(1, moreThan(['beta'], 1)), rule(2, moreThan(['prod'], 1))), ['A:1', 'B:1'])
  })

  it('several prefixes in one rule: only images that have them all', () => {
    const images = {
      A: image('A', 12, ['alpha-1']),
      B: image('B', 11, ['beta-1']),
      C: image('C', 10, ['alpha-2', 'beta-2']),
      D: image('D', 4, ['alpha-3']),
      E: image('E', 3, ['beta-3']),
      F: image('F', 2, ['alpha-4', 'beta-4']),
    }
    assert.deepEqual(acted(images, rule(1, older(['alpha', 'beta'], 5))), ['C:1'])
    assert.deepEqual(acted(images, rule(1, moreThan(['alpha', 'beta'], 1))), ['C:1'])
  })

  it('all images but five, whatever their tags', () => {
    const images = Object.fromEntries(
      Array.from({ length: 8 }, (_, index) => [
        `i${index}`,
        image(`i${index}`, 20 - index, index % 2 ? [] : [`v${index}`]),
      ]),
    )
    const any: Selection = { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 5 }
    assert.deepEqual(acted(images, rule(1, any)), ['i0:1', 'i1:1', 'i2:1'])
  })

  it('any after others: what they select or spare, it does not touch, but counts', () => {
    const images = {
      A: image('A', 10, ['prod-1']),
      B: image('B', 9, ['prod-2']),
      C: image('C', 8, ['dev-1']),
      D: image('D', 7, []),
    }
    const any: Selection = { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 1 }
    assert.deepEqual(acted(images, rule(1, moreThan(['prod'], 1)), rule(9, any)), ['A:1', 'C:9'])
  })
})

describe('evaluateEcrPolicy', () => {
  it('is not before the last day is over', () => {
    const selection: Selection = { ...untagged, countType: 'sinceImagePushed', countUnit: 'days', countNumber: 14 }
    const exactly = { ...image('x', 0, []), pushedAt: now - 14 * dayMs }
    assert.deepEqual(acted({ exactly }, rule(1, selection)), [])
  })

  for (const [pattern, tags, matches] of [
    ['prod*', ['prod-1'], true],
    ['prod*', ['a-prod'], false],
    ['*prod*', ['a-prod-1'], true],
    ['*-prod', ['a-prod'], true],
    ['*-prod', ['a-prod-1'], false],
    ['a*b*c', ['a1b2c'], true],
    ['a*b*c', ['a1c2b'], false],
    ['ab*ba', ['aba'], false],
    ['prod', ['prod'], true],
    ['prod', ['prod-1'], false],
    ['*', ['anything'], true],
    ['v1.2', ['v1x2'], false],
  ] as const) {
    it(`pattern ${pattern} ${matches ? 'matches' : 'does not match'} ${tags.join()}`, () => {
      const selection: Selection = {
        tagStatus: 'tagged',
        tagPatternList: [pattern],
        countType: 'sinceImagePushed',
        countUnit: 'days',
        countNumber: 1,
      }
      assert.equal(acted({ one: image('one', 5, tags) }, rule(1, selection)).length, matches ? 1 : 0)
    })
  }

  it('wants every entry of a list matched by some tag: one tag may match several', () => {
    const selection: Selection = {
      tagStatus: 'tagged',
      tagPatternList: ['release*', '*stable'],
      countType: 'sinceImagePushed',
      countUnit: 'days',
      countNumber: 1,
    }
    const images = {
      one: image('one', 5, ['release-1-stable']),
      two: image('two', 4, ['release-2', 'x-stable']),
      half: image('half', 3, ['release-3']),
    }
    assert.deepEqual(acted(images, rule(1, selection)), ['one:1', 'two:1'])
  })

  const archive = { type: 'transition', targetStorageClass: 'archive' }
  const unused: Selection = { tagStatus: 'any', countType: 'sinceImagePulled', countUnit: 'days', countNumber: 30 }

  it('archives what was not pulled: by its last pull, else its push, else its return from the archive', () => {
    const ago = (days: number): number => now - days * dayMs - 1000
    const images = {
      pulledLongAgo: image('1', 90, ['a'], { lastPulledAt: ago(31) }),
      pulledLately: image('2', 90, ['b'], { lastPulledAt: ago(29) }),
      neverPulled: image('3', 31, ['c']),
      neverPulledYoung: image('4', 29, ['d']),
      restoredLately: image('5', 400, ['e'], { lastPulledAt: ago(300), activatedAt: ago(10) }),
      restoredAndPulled: image('6', 400, ['f'], { lastPulledAt: ago(40), activatedAt: ago(60) }),
      restoredNeverPulled: image('7', 400, ['g'], { activatedAt: ago(31) }),
    }
    assert.deepEqual(acted(images, rule(1, unused, archive)).toSorted(), [
      'neverPulled:1 archive',
      'pulledLongAgo:1 archive',
      'restoredAndPulled:1 archive',
      'restoredNeverPulled:1 archive',
    ])
  })

  it('expires what was archived, and its other rules do not see the archive', () => {
    const images = {
      longThere: image('1', 400, ['v1'], { archivedAt: now - 91 * dayMs }),
      shortThere: image('2', 400, ['v2'], { archivedAt: now - 89 * dayMs }),
      notThere: image('3', 400, ['v3']),
    }
    const gone: Selection = {
      tagStatus: 'any',
      storageClass: 'archive',
      countType: 'sinceImageTransitioned',
      countUnit: 'days',
      countNumber: 90,
    }
    assert.deepEqual(acted(images, rule(1, gone)), ['longThere:1'])
    const any: Selection = { tagStatus: 'any', countType: 'sinceImagePushed', countUnit: 'days', countNumber: 1 }
    assert.deepEqual(acted(images, rule(1, any)), ['notThere:1'])
  })

  it('counts an image that came back from the archive as young as its return', () => {
    const images = {
      back: image('1', 400, ['v1'], { activatedAt: now - 2 * dayMs }),
      middle: image('2', 5, ['v2']),
      young: image('3', 1, ['v3']),
    }
    assert.deepEqual(acted(images, rule(1, moreThan(['v'], 2))), ['middle:1'])
  })

  it('leaves the parts of an index that stays, and takes them when it goes', () => {
    const part = image('part', 20, [])
    const images = {
      part,
      loose: image('loose', 20, []),
      index: image('index', 20, ['v1'], { children: [part.digest] }),
    }
    const old: Selection = { ...untagged, countType: 'sinceImagePushed', countUnit: 'days', countNumber: 14 }
    assert.deepEqual(acted(images, rule(1, old)), ['loose:1'])
    assert.deepEqual(acted(images, rule(1, old), rule(2, older(['v'], 14))).toSorted(), [
      'index:2',
      'loose:1',
      'part:1',
    ])
  })

  it('takes signatures and what is about them along with their subject, and never alone', () => {
    const subject = image('subject', 20, ['v1'])
    const signature = image('signature', 20, [], { subject: subject.digest })
    const onSignature = image('onSignature', 20, [], { subject: signature.digest })
    const images = { subject, signature, onSignature }
    const old: Selection = { ...untagged, countType: 'sinceImagePushed', countUnit: 'days', countNumber: 14 }
    assert.deepEqual(acted(images, rule(1, old)), [])
    assert.deepEqual(acted(images, rule(1, older(['v'], 14))).toSorted(), ['onSignature:0', 'signature:0', 'subject:1'])
  })
})

describe('parseEcrPolicy', () => {
  const valid = rule(1, untagged)
  const days = { countUnit: 'days', countNumber: 5 }
  for (const [why, rules, expected] of [
    ['no rules', [], /it has no "rules"/],
    ['an unknown key', [{ ...valid, enabled: true }], /rules\[0\]\.enabled is not known/],
    ['a priority twice', [valid, rule(1, moreThan(['a'], 1))], /rulePriority 1 is taken/],
    ['zero', [rule(1, { ...untagged, countNumber: 0 })], /countNumber is not a whole number from 1/],
    [
      'tagged without a list',
      [rule(1, { ...untagged, tagStatus: 'tagged' })],
      /either tagPatternList or tagPrefixList/,
    ],
    [
      'both lists',
      [rule(1, { ...moreThan(['a'], 1), tagPatternList: ['b'] })],
      /either tagPatternList or tagPrefixList/,
    ],
    ['untagged with a list', [rule(1, { ...untagged, tagPrefixList: ['a'] })], /only tagStatus "tagged" may have/],
    [
      'any not last',
      [rule(1, { ...untagged, tagStatus: 'any' }), rule(2, untagged)],
      /must have the highest rulePriority/,
    ],
    [
      'five stars',
      [
        rule(1, {
          tagStatus: 'tagged',
          tagPatternList: ['*a*b*c*d*'],
          countType: 'imageCountMoreThan',
          countNumber: 1,
        }),
      ],
      /more than four/,
    ],
    ['a unit on a count', [rule(1, { ...untagged, countUnit: 'days' })], /imageCountMoreThan has no unit/],
    ['no unit on a time', [rule(1, { ...untagged, countType: 'sinceImagePushed' })], /countUnit is not "days"/],
    ['a transition without target', [rule(1, untagged, { type: 'transition' })], /targetStorageClass is not "archive"/],
    [
      'an expiry with target',
      [rule(1, untagged, { type: 'expire', targetStorageClass: 'archive' })],
      /an expiry has no target/,
    ],
    ['expiry by pulls', [rule(1, { ...untagged, ...days, countType: 'sinceImagePulled' })], /can only archive/],
    [
      'archive for less than 90 days',
      [
        rule(1, {
          ...untagged,
          countUnit: 'days',
          countNumber: 89,
          countType: 'sinceImageTransitioned',
          storageClass: 'archive',
        }),
      ],
      /below 90/,
    ],
    [
      'archive selected by age of push',
      [rule(1, { ...untagged, ...days, countType: 'sinceImagePushed', storageClass: 'archive' })],
      /storageClass is not "standard"/,
    ],
    ['two rules for untagged', [valid, rule(2, { ...untagged, countNumber: 9 })], /the same images as rules\[0\]/],
    [
      'equal lists of prefixes',
      [rule(1, moreThan(['a', 'b'], 1)), rule(2, moreThan(['b', 'a'], 2))],
      /the same images/,
    ],
  ] as const) {
    it(`refuses ${why}`, () => {
      assert.throws(() => policyOf(...rules), { code: 'FAIRLEAD_OCI_POLICY', message: expected })
    })
  }

  it('names all faults at once, and the place of broken JSON', () => {
    assert.throws(
      () => policyOf({ rulePriority: 0 }),
      /selection is missing.*rulePriority is not.*tagStatus is not.*type is not/,
    )
    assert.throws(() => parseLifecyclePolicy('{', 'policy.json'), /Cannot use policy "policy.json": it is not JSON/)
  })

  it('takes one rule for untagged images per storage class', () => {
    const archived: Selection = {
      tagStatus: 'untagged',
      storageClass: 'archive',
      countType: 'sinceImageTransitioned',
      countUnit: 'days',
      countNumber: 120,
    }
    assert.equal(policyOf(valid, rule(2, archived)).rules.length, 2)
  })
})

describe('previewLifecycle and lintLifecycle', () => {
  it('sums up, and warns of what is legal and hardly meant', () => {
    const part = image('part', 1, [])
    const images = [part, image('index', 1, ['v1'], { children: [part.digest] }), image('old', 30, ['alpha', 'beta'])]
    const policy = policyOf(rule(1, older(['alpha', 'beta'], 5)))
    assert.deepEqual(previewLifecycle(policy, 'app', images, now).summary, { images: 3, expiring: 1, archiving: 0 })
    assert.deepEqual(
      lintLifecycle(policy, images).map((text) => text.split(' ').slice(0, 3).join(' ')),
      ['Rule 1 selects', '1 untagged images'],
    )
  })
})
