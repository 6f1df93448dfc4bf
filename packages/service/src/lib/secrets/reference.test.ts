import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isSecretReference, parseSecretReference } from './reference.ts'

describe('parseSecretReference', () => {
  for (const [text, name, options, field] of [
    ['aws-sm://orders/db?region=eu-west-1#password', 'orders/db', { region: 'eu-west-1' }, 'password'],
    [
      'aws-sm://arn:aws:secretsmanager:eu-west-1:1:secret:a-b',
      'arn:aws:secretsmanager:eu-west-1:1:secret:a-b',
      {},
      undefined,
    ],
    ['aws-ssm:///orders/db/password?version=3', '/orders/db/password', { version: '3' }, undefined],
    ['gcp-sm://shop/db@5', 'shop/db@5', {}, undefined],
    ['azkv://shop-vault/db-password', 'shop-vault/db-password', {}, undefined],
    [
      'vault://secret/orders/db?namespace=team%2Fa&kv=2#user%23name',
      'secret/orders/db',
      { namespace: 'team/a', kv: '2' },
      'user#name',
    ],
    ['k8s://shop/db#tls.crt', 'shop/db', {}, 'tls.crt'],
    ['file:///run/a%20b', '/run/a b', {}, undefined],
    ['aws-sm://me%40home#a=b', 'me@home', {}, 'a=b'],
  ] as const) {
    it(`reads ${text}`, () => {
      const { scheme: _, text: __, ...found } = parseSecretReference(text)
      assert.deepEqual(found, { name, options, field })
    })
  }

  for (const [why, text, message] of [
    ['no scheme', 'hunter2-planted', /it has none, expected one of file, env/],
    ['another scheme', 'postgres://orders:planted@db/orders', /scheme "postgres": expected one of/],
    ['credentials', 'vault://root:planted@vault/secret', /"@" before the first/],
    ['an unknown option', 'aws-sm://a?regoin=planted', /unknown option, expected region, stage/],
    ['an empty option', 'aws-sm://a?region=', /option "region" is empty/],
    ['no name', 'env://', /name after .* is empty/],
    ['an empty field', 'env://planted#', /field after "#" is empty/],
    ['a line break', 'env://planted\nx', /control character/],
    ['a bad escape', 'env://planted%2', /write %25/],
    ['too much', `env://${'planted'.repeat(400)}`, /more than 2048/],
  ] as const) {
    it(`refuses ${why}, without repeating the text`, () =>
      assert.throws(
        () => parseSecretReference(text),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'FAIRLEAD_SERVICE_SECRET_REFERENCE')
          assert.match(error.message, message)
          assert.doesNotMatch(error.message, /planted/)
          return true
        },
      ))
  }
})

describe('isSecretReference', () => {
  it('tells references from values', () => {
    for (const text of ['env://A', 'vault://a/b#c', 'gcp-sm://']) assert.ok(isSecretReference(text), text)
    for (const text of ['', 'hunter2', 'https://a', 'postgres://a:b@c/d', ' env://A'])
      assert.ok(!isSecretReference(text), text)
  })
})
