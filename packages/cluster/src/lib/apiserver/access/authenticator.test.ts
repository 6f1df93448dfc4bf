import assert from 'node:assert/strict'
import type { TLSSocket } from 'node:tls'
import { describe, it } from 'node:test'

import { Authenticator } from './authenticator.ts'
import type { TokenAuthenticator } from './tokens/token-authenticator.ts'

const serviceAccounts = { authenticate: () => undefined } as unknown as TokenAuthenticator
const uidOid = '1.3.6.1.4.1.57683.2'

/** A connection with a certificate, as Node.js shows it. */
function connection(subject: object, authorized = true): TLSSocket {
  return { authorized, getPeerCertificate: () => ({ subject, fingerprint256: 'AB:CD' }) } as unknown as TLSSocket
}

function authenticate(socket: TLSSocket): ReturnType<Authenticator['authenticate']> {
  return new Authenticator({ tokens: new Map(), serviceAccounts, audiences: [] }).authenticate({}, socket)
}

describe('Authenticator, without credentials', () => {
  const options = { tokens: new Map(), serviceAccounts, audiences: [] }

  it('takes a request for one of nobody, unless told to refuse it', () => {
    assert.equal(new Authenticator(options).authenticate({}, undefined).user, 'system:anonymous')
    const strict = new Authenticator({ ...options, anonymous: false })
    for (const headers of [{}, { authorization: 'Basic YmFkOndyb25n' }]) {
      assert.throws(() => strict.authenticate(headers, undefined), { message: 'Unauthorized' })
    }
  })
})

describe('Authenticator, with client certificates', () => {
  const extra = { 'authentication.kubernetes.io/credential-id': ['X509SHA256=abcd'] }

  it('reads user, groups and uid', () => {
    assert.deepEqual(authenticate(connection({ CN: 'alice', O: ['a', 'b'], [uidOid]: '7' })), {
      user: 'alice',
      uid: '7',
      groups: ['a', 'b', 'system:authenticated'],
      extra,
    })
    assert.deepEqual(authenticate(connection({ CN: 'alice', O: 'a' })), {
      user: 'alice',
      groups: ['a', 'system:authenticated'],
      extra,
    })
  })

  for (const { name, subject, authorized } of [
    { name: 'a certificate of another authority', subject: { CN: 'alice' }, authorized: false },
    { name: 'a certificate without a name', subject: { O: 'a' } },
    { name: 'two uids', subject: { CN: 'alice', [uidOid]: ['7', '8'] } },
    { name: 'an empty uid', subject: { CN: 'alice', [uidOid]: '' } },
  ]) {
    it(`refuses ${name}`, () => assert.throws(() => authenticate(connection(subject, authorized)), /Unauthorized/))
  }
})
