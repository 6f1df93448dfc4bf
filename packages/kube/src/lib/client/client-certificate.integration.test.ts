import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { after, before, describe, it } from 'node:test'

import { createCredentials } from './credentials.ts'
import { createHttpsTransport } from './https-transport.ts'
import { createPemSource } from './pem-source.ts'
import { readJson } from './transport.ts'

describe('createHttpsTransport with certificates in files', () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-rotation-'))
  const file = (name: string): string => join(dir, name)
  const pem = (name: string): string => readFileSync(file(name), 'utf8')

  /** A self-signed certificate: its own authority. */
  function issue(name: string, more: readonly string[] = []): void {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file(`${name}.key`)]
    const args = ['req', '-x509', ...key, '-out', file(`${name}.crt`), '-days', '1', '-subj', `/CN=${name}`, ...more]
    execFileSync('openssl', args, { stdio: 'ignore', timeout: 20_000 })
  }

  before(() => {
    for (const name of ['one', 'two']) issue(name)
    for (const name of ['server', 'renewed']) issue(name, ['-addext', 'subjectAltName=IP:127.0.0.1'])
  })
  after(() => rmSync(dir, { recursive: true }))

  it('takes the certificate and the authority that took the place of the old ones', async () => {
    let connections = 0
    const server = createServer(
      { key: pem('server.key'), cert: pem('server.crt'), ca: [pem('one.crt'), pem('two.crt')], requestCert: true },
      (request, response) => {
        const { CN } = (request.socket as TLSSocket).getPeerCertificate().subject
        response.end(JSON.stringify({ user: CN }))
      },
    )
    server.on('secureConnection', () => (connections += 1))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    for (const [from, to] of [
      ['one.crt', 'client.crt'],
      ['one.key', 'client.key'],
      ['server.crt', 'ca.crt'],
    ] as const) {
      renameSync(file(from), file(to))
    }
    let now = 0
    const user = { 'client-certificate': file('client.crt'), 'client-key': file('client.key') }
    const cluster = { server: 'https://a' }
    const transport = createHttpsTransport({
      server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
      ca: createPemSource(undefined, file('ca.crt'), () => now),
      credentials: createCredentials(user, { name: 'u', cluster, env: {}, now: () => now }),
    })
    const ask = async () => readJson((await transport.send({ method: 'GET', path: '/' })).body)
    assert.deepEqual([await ask(), await ask(), connections], [{ user: 'one' }, { user: 'one' }, 1])

    // Half of a rotation: a certificate without its key is not used.
    renameSync(file('two.crt'), file('client.crt'))
    now = 10_000
    assert.deepEqual([await ask(), connections], [{ user: 'one' }, 1])
    renameSync(file('two.key'), file('client.key'))
    now = 20_000
    assert.deepEqual([await ask(), await ask(), connections], [{ user: 'two' }, { user: 'two' }, 2])

    server.setSecureContext({ key: pem('renewed.key'), cert: pem('renewed.crt'), ca: [pem('client.crt')] })
    renameSync(file('renewed.crt'), file('ca.crt'))
    now = 30_000
    assert.deepEqual([await ask(), connections], [{ user: 'two' }, 3])
    await transport.close?.()
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
})
