import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { createSigningKey } from './apiserver/access/tokens/signing-key.ts'
import { startTestServer } from './apiserver/test-server.ts'
import { loadSigningKeys, rotateSigningKey } from './signing-keys.ts'

async function temporaryDir(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'fairlead-keys-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

describe('rotateSigningKey', () => {
  it('makes another key and keeps what verifies the tokens of those before', async () => {
    await using dir = await temporaryDir()
    const first = await loadSigningKeys(dir.path)
    assert.deepEqual(first.earlier, [])
    assert.deepEqual(await loadSigningKeys(dir.path), first)
    const token = createSigningKey(first.current).sign({ sub: 'a' })
    const second = await rotateSigningKey(dir.path)
    const third = await rotateSigningKey(dir.path)
    assert.equal(new Set([first.current, second.current, third.current]).size, 3)
    assert.deepEqual(await loadSigningKeys(dir.path), third)
    assert.equal(third.earlier.length, 2)
    const key = createSigningKey(third.current, third.earlier)
    assert.deepEqual(key.verify(token), { sub: 'a' })
    assert.equal(createSigningKey(third.current).verify(token), undefined)
    const kept = join(dir.path, 'pki', 'service-account-earlier.pem')
    assert.ok(!(await readFile(kept, 'utf8')).includes('PRIVATE'))
    assert.equal((await stat(join(dir.path, 'pki', 'service-account.key'))).mode & 0o777, 0o600)
  })

  it('keeps sixteen at most, and goes on where the file of earlier ones is damaged', async () => {
    await using dir = await temporaryDir()
    let last = await loadSigningKeys(dir.path)
    for (let n = 0; n < 18; n += 1) last = await rotateSigningKey(dir.path)
    assert.equal(last.earlier.length, 16)
    const file = join(dir.path, 'pki', 'service-account-earlier.pem')
    const damaged = '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'
    await writeFile(file, `${damaged}${last.earlier[0]}\nrest`)
    assert.deepEqual((await loadSigningKeys(dir.path)).earlier, [last.earlier[0]])
  })
})

describe('a server with earlier keys', () => {
  it('believes their tokens and tells others of all keys', async () => {
    await using dir = await temporaryDir()
    const before = await loadSigningKeys(dir.path)
    const accounts = '/api/v1/namespaces/default/serviceaccounts'
    await using old = await startTestServer({ serviceAccountKey: before.current })
    await old.call('POST', accounts, { metadata: { name: 'robot' } })
    const { token } = (await old.call('POST', `${accounts}/robot/token`, { spec: {} })).body.status
    const { current, earlier } = await rotateSigningKey(dir.path)
    await using api = await startTestServer({
      store: old.store,
      serviceAccountKey: current,
      earlierServiceAccountKeys: earlier,
    })
    const review = { spec: { token } }
    const { status } = (await api.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', review)).body
    assert.equal(status.user.username, 'system:serviceaccount:default:robot')
    const { keys } = (await api.call('GET', '/openid/v1/jwks')).body
    assert.equal(keys.length, 2)
    const kids = keys.map(({ kid }: { kid: string }) => kid)
    const headerOf = (text: string): { kid: string } =>
      JSON.parse(Buffer.from(text.split('.')[0] ?? '', 'base64url').toString())
    assert.equal(headerOf(token).kid, kids[1])
    const renewed = (await api.call('POST', `${accounts}/robot/token`, { spec: {} })).body.status.token
    assert.equal(headerOf(renewed).kid, kids[0])
    await using forgetful = await startTestServer({ store: old.store, serviceAccountKey: current })
    const refused = (await forgetful.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', review)).body
    assert.equal(refused.status.authenticated, undefined)
  })
})
