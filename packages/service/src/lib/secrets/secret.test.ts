import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { format, inspect } from 'node:util'

import { Secret } from './secret.ts'

describe('Secret', () => {
  const planted = 'planted-4711'
  const secret = new Secret(planted)

  it('gives the value to who asks for it', () => assert.equal(secret.reveal(), planted))

  const ways: ReadonlyArray<[string, () => string]> = [
    ['String()', () => String(secret)],
    ['concatenation', () => ''.concat(secret as unknown as string)],
    ['JSON', () => JSON.stringify({ secret })],
    ['inspect with private fields', () => inspect({ secret }, { depth: 9, showHidden: true })],
    ['format', () => format('%s %o %O %j', secret, secret, secret, secret)],
    ['own properties', () => JSON.stringify(Object.entries(secret)) + Object.getOwnPropertyNames(secret).join(',')],
    ['a structured clone', () => JSON.stringify(structuredClone(secret))],
  ]
  for (const [name, print] of ways) it(`stays out of ${name}`, () => assert.ok(!print().includes(planted)))
})
