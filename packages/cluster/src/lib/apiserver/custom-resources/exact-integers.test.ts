import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { startTestServer } from '../test-server.ts'
import { roundedIntegers } from './exact-integers.ts'
import { createWidgets, widgetDefinition, widgets } from './test-definitions.ts'

describe('roundedIntegers', () => {
  const kept = [
    ['the largest that is exact', '{"a":9007199254740991}'],
    ['one beyond it that prints as it was written', '{"a":9007199254740992}'],
    ['a text', '{"a":"9223372036854775807","b":[9007199254740992]}'],
    ['a fraction', '{"a":0.12345678901234567890}'],
    ['an exponent', '{"a":1e300}'],
    ['what is no integer of 64 bits either', '{"a":92233720368547758070}'],
    ['digits in a key', '{"92233720368547758071234":1}'],
  ] as const
  for (const [name, text] of kept)
    it(`says nothing of ${name}`, () => assert.deepEqual(roundedIntegers(text, JSON.parse(text)), []))

  const rounded = [
    ['9007199254740993', '{"spec":{"a":[1,{"b":9007199254740993}]}}', 'spec.a[1].b', '9007199254740992'],
    ['9223372036854775807', '{"metadata":{"name":"x"},"a":9223372036854775807}', 'a', '9223372036854776000'],
    ['-9223372036854775808', '{"a":-9223372036854775808}', 'a', '-9223372036854776000'],
    ['1152921504606846976', '{"a":1152921504606846976}', 'a', '1152921504606847000'],
  ] as const
  for (const [token, text, field, kept] of rounded) {
    it(`tells that ${token} comes back as another number`, () => {
      const why = 'integers beyond 9007199254740991 are not kept exactly, a string would be'
      const expected = [`${field}: ${token} is kept as ${kept}: ${why}`]
      assert.deepEqual(roundedIntegers(text, JSON.parse(text)), expected)
    })
  }

  it('walks an object once, however many of its integers are rounded, and reads no longer ones', () => {
    let walked = 0
    const count = 2000
    const numbers = Array.from({ length: count }, (_, n) => `90071992547${10_000 + n * 2}993`)
    const list = numbers.map(Number)
    const value = new Proxy({ list }, { ownKeys: (target) => (walked++, Reflect.ownKeys(target)) })
    const text = `{"list":[${numbers.join()},${'9'.repeat(1_000_000)}]}`
    const warnings = roundedIntegers(text, value)
    assert.equal(warnings.length > count / 2, true)
    assert.equal(walked, 1)
    assert.match(warnings.at(-1) ?? '', /^list\[\d+\]: 90071992547\d+993 is kept as/)
  })

  it('warns whichever way a custom resource is written, unless nobody wants to know', async () => {
    await using api = await startTestServer()
    const definition = widgetDefinition()
    definition.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.serial = { type: 'integer' }
    await createWidgets(api, definition)
    const place = { spec: { size: 1, serial: '9007199254740993' }, apiVersion: 'example.com/v1', kind: 'Widget' }
    const whole = (metadata: object): string =>
      JSON.stringify({ ...place, metadata }).replace('"9007199254740993"', '9007199254740993')
    const operations = '[{"op":"add","path":"/spec/serial","value":9007199254740993}]'
    const applied = `${widgets}/a?fieldManager=m&force=true`
    const yaml = whole({ name: 'a' }).replace(/^\{/, '\n{ ')
    const attempts = [
      ['POST', widgets, () => whole({ name: 'a' }), 'application/json'],
      ['PUT', `${widgets}/a`, (resourceVersion: string) => whole({ name: 'a', resourceVersion }), 'application/json'],
      ['PATCH', `${widgets}/a`, () => '{"spec":{"serial":9007199254740993}}', 'application/merge-patch+json'],
      ['PATCH', `${widgets}/a`, () => operations, 'application/json-patch+json'],
      ['PATCH', applied, () => whole({ name: 'a' }), 'application/apply-patch+yaml'],
      ['PATCH', applied, () => `# no JSON${yaml}`, 'application/apply-patch+yaml'],
    ] as const
    for (const [method, path, body, type] of attempts) {
      for (const validation of ['Warn', 'Strict', 'Ignore']) {
        const { resourceVersion } = (await api.call('GET', `${widgets}/a`)).body.metadata
        const url = `${path}${path.includes('?') ? '&' : '?'}fieldValidation=${validation}`
        const answer = await api.call(method, url, body(resourceVersion), { 'content-type': type })
        assert.ok(answer.status < 300, `${method} ${type} ${JSON.stringify(answer.body)}`)
        const warning = String(answer.headers['warning'])
        if (validation === 'Ignore') assert.equal(warning, 'undefined')
        else assert.match(warning, /(spec\.serial|\[0\]\.value): 9007199254740993 is kept as 9007199254740992: /)
        if (method === 'POST' && validation !== 'Ignore') await api.call('DELETE', `${widgets}/a`)
      }
    }
  })
})
