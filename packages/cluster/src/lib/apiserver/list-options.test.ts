import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parseContinueToken, renderContinueToken } from './continue-token.ts'
import { parseListOptions, parseWatchOptions } from './list-options.ts'
import { StatusError } from './status.ts'

type Case = [query: string, expected: string]

/** How the request is refused: code and message; empty when it is not. */
function refusalOf(read: () => unknown): string {
  try {
    read()
    return ''
  } catch (error) {
    assert.ok(error instanceof StatusError)
    return `${error.status.code} ${error.status.message}`
  }
}

const prefix = '422 ListOptions.meta.k8s.io "" is invalid: '
const match = 'resourceVersionMatch: Forbidden: '

describe('parseListOptions', () => {
  const cases: Case[] = [
    ['', ''],
    ['resourceVersion=5', ''],
    ['resourceVersion=5&resourceVersionMatch=Exact', ''],
    ['resourceVersion=5&resourceVersionMatch=NotOlderThan&limit=2', ''],
    ['resourceVersion=0&resourceVersionMatch=NotOlderThan', ''],
    [
      'resourceVersionMatch=Exact',
      `${prefix}${match}resourceVersionMatch is forbidden unless resourceVersion is provided`,
    ],
    [
      'resourceVersion=0&resourceVersionMatch=Exact',
      `${prefix}${match}resourceVersionMatch "exact" is forbidden for resourceVersion "0"`,
    ],
    [
      'resourceVersion=5&resourceVersionMatch=Exact&continue=x',
      `${prefix}${match}resourceVersionMatch is forbidden when continue is provided`,
    ],
    [
      'resourceVersion=5&resourceVersionMatch=Newest',
      `${prefix}resourceVersionMatch: Unsupported value: "Newest": supported values: "Exact", "NotOlderThan", ""`,
    ],
    [
      'resourceVersionMatch=Newest',
      `${prefix}[${match}resourceVersionMatch is forbidden unless resourceVersion is provided, resourceVersionMatch: Unsupported value: "Newest": supported values: "Exact", "NotOlderThan", ""]`,
    ],
    ['sendInitialEvents=true', `${prefix}sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list`],
    [
      'resourceVersion=x',
      '400 invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax',
    ],
    ['limit=many', '400 strconv.ParseInt: parsing "many": invalid syntax'],
  ]
  for (const [query, expected] of cases) {
    it(`${expected === '' ? 'takes' : 'refuses'} "${query}"`, () => {
      assert.equal(
        refusalOf(() => parseListOptions(new URLSearchParams(query))),
        expected,
      )
    })
  }
})

describe('parseWatchOptions', () => {
  const cases: Case[] = [
    ['', ''],
    ['resourceVersion=5', ''],
    ['sendInitialEvents=true&resourceVersionMatch=NotOlderThan', ''],
    ['sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=5', ''],
    [
      'sendInitialEvents=true',
      `${prefix}${match}sendInitialEvents requires setting resourceVersionMatch to NotOlderThan`,
    ],
    [
      'resourceVersion=5&resourceVersionMatch=NotOlderThan',
      `${prefix}${match}resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided`,
    ],
    [
      'sendInitialEvents=true&resourceVersionMatch=Exact',
      `${prefix}[${match}sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"]`,
    ],
    [
      'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x',
      `${prefix}${match}resourceVersionMatch is forbidden when continue is provided`,
    ],
  ]
  for (const [query, expected] of cases) {
    it(`${expected === '' ? 'takes' : 'refuses'} "${query}"`, () => {
      assert.equal(
        refusalOf(() => parseWatchOptions(new URLSearchParams(query))),
        expected,
      )
    })
  }

  for (const [query, expected] of [
    ['', true],
    ['resourceVersion=0', true],
    ['resourceVersion=5', false],
    ['sendInitialEvents=false&resourceVersionMatch=NotOlderThan', false],
    ['sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=5', true],
  ] as const) {
    it(`${expected ? 'begins' : 'does not begin'} with the state for "${query}"`, () => {
      assert.equal(parseWatchOptions(new URLSearchParams(query)).sendsState, expected)
    })
  }
})

describe('parseContinueToken', () => {
  const encode = (token: unknown): string => Buffer.from(JSON.stringify(token)).toString('base64url')

  it('reads what renderContinueToken wrote', () => {
    const token = { revision: 7, after: 'default/web' }
    assert.deepEqual(parseContinueToken(renderContinueToken(token)), token)
  })

  for (const [name, token, message] of [
    ['no JSON', '%%%', 'continue key is not valid'],
    ['another version', encode({ v: 'v2', rv: 1, start: 'a' }), 'server does not recognize this encoded version v2'],
    [
      'no revision',
      encode({ v: 'meta.k8s.io/v1', rv: 0, start: 'a' }),
      'incorrect encoded start resourceVersion (version meta.k8s.io/v1)',
    ],
    ['no key', encode({ v: 'meta.k8s.io/v1', rv: 1, start: '' }), 'encoded start key empty (version meta.k8s.io/v1)'],
  ] as const) {
    it(`refuses ${name}`, () => {
      const refusal = refusalOf(() => parseContinueToken(token))
      assert.ok(refusal.startsWith('400 invalid continue token: continue key is not valid'))
      assert.ok(refusal.endsWith(message), refusal)
    })
  }
})
