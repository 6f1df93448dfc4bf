import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { startTestServer } from '../test-server.ts'
import { checkIntegers } from './exact-integers.ts'
import { createWidgets, widgets } from './test-definitions.ts'

const kind = { apiVersion: 'example.com/v1', kind: 'Widget' }

describe('checkIntegers', () => {
  const kept = [
    ['the largest that is exact', '{"a":9007199254740991}'],
    ['one beyond it that prints as it was written', '{"a":9007199254740992}'],
    ['a text', '{"a":"9223372036854775807","b":[9007199254740992]}'],
    ['a fraction', '{"a":0.12345678901234567890}'],
    ['an exponent', '{"a":1e300}'],
    ['what is no integer of 64 bits either', '{"a":92233720368547758070}'],
    ['digits in a key', '{"92233720368547758071234":1}'],
  ] as const
  for (const [name, text] of kept) it(`takes ${name}`, () => checkIntegers(text, JSON.parse(text), kind))

  const refused = [
    ['9007199254740993', '{"spec":{"a":[1,{"b":9007199254740993}]}}', 'spec.a[1].b'],
    ['9223372036854775807', '{"metadata":{"name":"x"},"a":9223372036854775807}', 'a'],
    ['-9223372036854775808', '{"a":-9223372036854775808}', 'a'],
    ['1152921504606846976', '{"a":1152921504606846976}', 'a'],
  ] as const
  for (const [token, text, field] of refused) {
    it(`refuses ${token}, which would come back as another number`, () => {
      const message = new RegExp(
        `^Widget\\.example\\.com "x?" is invalid: ${field.replaceAll(/[[\].]/g, '\\$&')}: Invalid value: ${token}: `,
      )
      assert.throws(() => checkIntegers(text, JSON.parse(text), kind), { message })
    })
  }

  it('is asked whichever way a custom resource is written', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    const spec = '"spec":{"size":9007199254740993}'
    const whole = `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a"},${spec}}`
    const yaml = 'apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\nspec:\n  size: 9007199254740993\n'
    const attempts = [
      ['POST', widgets, whole, 'application/json'],
      ['POST', widgets, yaml, 'application/yaml'],
      ['PUT', `${widgets}/a`, whole, 'application/json'],
      ['PATCH', `${widgets}/a`, `{${spec}}`, 'application/merge-patch+json'],
      [
        'PATCH',
        `${widgets}/a`,
        '[{"op":"replace","path":"/spec/size","value":9007199254740993}]',
        'application/json-patch+json',
      ],
      ['PATCH', `${widgets}/a?fieldManager=m`, whole, 'application/apply-patch+yaml'],
      ['PATCH', `${widgets}/a?fieldManager=m`, yaml, 'application/apply-patch+yaml'],
    ] as const
    for (const [method, path, body, type] of attempts) {
      const answer = await api.call(method, path, body, { 'content-type': type })
      assert.equal(answer.status, 422, `${method} ${type} ${JSON.stringify(answer.body)}`)
      assert.match(answer.body.message, /Invalid value: 9007199254740993: integers beyond 9007199254740991 cannot/)
    }
    assert.equal((await api.call('GET', `${widgets}/a`)).body.spec.size, 1)
  })
})
