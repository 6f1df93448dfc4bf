import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { loadPki, loadToken, toSec1 } from './pki.ts'

const scratch = mkdtempSync(join(tmpdir(), 'fairlead-pki-'))
after(() => rmSync(scratch, { recursive: true }))

describe('loadPki', () => {
  it('makes an authority, a server and an administrator that trust each other', async () => {
    const pki = await loadPki(join(scratch, 'new'), ['10.96.0.1'])
    const ca = new X509Certificate(pki.ca)
    const server = new X509Certificate(pki.server.certificate)
    assert.equal(server.verify(ca.publicKey), true)
    for (const name of ['localhost', 'kubernetes.default.svc']) assert.equal(server.checkHost(name), name)
    for (const address of ['127.0.0.1', '10.96.0.1']) assert.equal(server.checkIP(address), address)
    const admin = new X509Certificate(pki.admin.certificate)
    assert.equal(admin.verify(ca.publicKey), true)
    assert.match(admin.subject, /O=system:masters/)
    assert.equal(ca.ca, true)
    assert.equal(server.ca, false)
  })

  it('keeps private keys readable by the owner only', async () => {
    const dir = join(scratch, 'modes')
    await loadPki(dir)
    for (const name of ['ca.key', 'apiserver.key', 'admin.key'])
      assert.equal(statSync(join(dir, 'pki', name)).mode & 0o777, 0o600)
    assert.equal(statSync(join(dir, 'pki')).mode & 0o777, 0o700)
  })

  it('returns the same certificates at the next start', async () => {
    const dir = join(scratch, 'again')
    assert.deepEqual(await loadPki(dir), await loadPki(dir))
  })

  it('renews leaves that are about to expire, under the same authority', async () => {
    const dir = join(scratch, 'renew')
    const first = await loadPki(dir)
    const later = await loadPki(dir, [], Date.now() + 300 * 24 * 3_600_000)
    assert.equal(later.ca, first.ca)
    assert.notEqual(later.server.certificate, first.server.certificate)
    assert.notEqual(later.admin.certificate, first.admin.certificate)
  })

  it('adds a host to the server certificate when one is asked for later', async () => {
    const dir = join(scratch, 'hosts')
    await loadPki(dir)
    const pki = await loadPki(dir, ['10.200.0.1'])
    assert.equal(new X509Certificate(pki.server.certificate).checkIP('10.200.0.1'), '10.200.0.1')
  })

  it('replaces a key that does not belong to its certificate', async () => {
    const dir = join(scratch, 'torn')
    const first = await loadPki(dir)
    writeFileSync(join(dir, 'pki', 'apiserver.key'), first.admin.key)
    const second = await loadPki(dir)
    assert.notEqual(second.server.certificate, first.server.certificate)
    assert.equal(second.ca, first.ca)
  })
})

describe('toSec1', () => {
  it('writes a key so that its first line names the algorithm, as clients tell keys by it', async () => {
    const { admin } = await loadPki(join(scratch, 'sec1'))
    const key = toSec1(admin.key)
    assert.match(key, /^-----BEGIN EC PRIVATE KEY-----\n/)
    assert.equal(new X509Certificate(admin.certificate).checkPrivateKey(createPrivateKey(key)), true)
  })
})

describe('loadToken', () => {
  it('makes 256 random bits once', async () => {
    const dir = join(scratch, 'token')
    await loadPki(dir)
    const token = await loadToken(dir, 'kubelet')
    assert.match(token, /^[0-9a-f]{64}$/)
    assert.equal(await loadToken(dir, 'kubelet'), token)
  })
})
