// Secrets of Kubernetes as a pod reads them: with a service account token, over TLS, from an API server.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createApiServer, openStore } from '@fairlead/cluster/apiserver'
import { createKubeClient } from '@fairlead/kube'
import { openSecrets } from '@fairlead/service/secrets'
import { missing } from './support/machine.ts'

const skip = missing(['openssl'])

describe('k8s secret references', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-secrets-'))
  const stack = new AsyncDisposableStack()
  let env: Record<string, string>
  let client: ReturnType<typeof createKubeClient>

  const writeAccount = (token: string): void => writeFileSync(join(folder, 'token'), token)
  const put = async (password: string): Promise<void> => {
    const secret = {
      metadata: { name: 'db' },
      data: { password: Buffer.from(password).toString('base64'), user: 'b3JkZXJz' },
    }
    const secrets = client.resource('v1/Secret')
    await secrets.delete('db', { namespace: 'shop' }).catch(() => {})
    await secrets.create(secret, { namespace: 'shop' })
  }

  before(async () => {
    stack.defer(() => rmSync(folder, { recursive: true }))
    const subject = ['-subj', '/CN=kubernetes', '-addext', 'subjectAltName=IP:127.0.0.1']
    const [keyFile, certFile] = [join(folder, 'tls.key'), join(folder, 'ca.crt')]
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '2',
        '-keyout',
        keyFile,
        '-out',
        certFile,
        ...subject,
      ],
      { stdio: 'pipe' },
    )
    const store = stack.use(await openStore({ dir: '', durability: 'memory' }))
    const account = { user: 'system:serviceaccount:shop:orders', groups: ['system:masters'] }
    const tokens = new Map([
      ['planted-token-1', account],
      ['planted-token-2', account],
      ['planted-stranger', { user: 'system:serviceaccount:other:x', groups: ['system:serviceaccounts'] }],
    ])
    const server = stack.use(createApiServer({ store, tokens }))
    client = createKubeClient({ transport: server.transport({ user: 'admin', groups: ['system:masters'] }) })
    await client.resource('v1/Namespace').create({ metadata: { name: 'shop' } })
    const tls = { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') }
    const { port } = await server.listen({ tls })
    writeFileSync(join(folder, 'namespace'), 'shop')
    writeAccount('planted-token-1\n')
    env = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port), SERVICE_ACCOUNT_DIR: folder }
  })
  after(async () => await stack.disposeAsync())

  it('are read by key, by namespace or in the own one, and again after a change and with a renewed token', async () => {
    await put('one')
    await using secrets = openSecrets({ env })
    const [named, own] = [secrets.secret('k8s://shop/db#password'), secrets.secret('k8s://db')]
    assert.equal((await named.get()).reveal(), 'one')
    assert.deepEqual((await own.getJson()).reveal(), { password: 'one', user: 'orders' })
    const changed = new Promise<string>((resolve) => {
      named.onChange(({ previous, current }) => resolve(`${previous.reveal()} ${current.reveal()}`))
    })
    const version = named.version
    await put('two')
    writeAccount('planted-token-2')
    await named.refresh()
    assert.equal(await changed, 'one two')
    assert.notEqual(named.version, version)
  })

  it('are read from the mounted volume where that is there', async () => {
    await put('by-api')
    const mount = join(folder, 'mount')
    await using secrets = openSecrets({ env, cacheMs: 0 })
    const handle = secrets.secret(`k8s://shop/db?mount=${mount}#password`)
    assert.equal((await handle.get()).reveal(), 'by-api')
    mkdirSync(mount)
    writeFileSync(join(mount, 'password'), 'by-volume\n')
    assert.equal((await handle.refresh()).reveal(), 'by-volume')
  })

  it('tell what is absent, what is forbidden, and who is not believed', async () => {
    const read = async (reference: string): Promise<unknown> => {
      await using secrets = openSecrets({ env })
      return await secrets.secret(reference).get()
    }
    writeAccount('planted-token-1')
    await assert.rejects(read('k8s://shop/gone'), {
      code: 'FAIRLEAD_SERVICE_SECRET_ABSENT',
      message: /404: secrets "gone" not found/,
      hint: 'Create Secret "gone" in namespace "shop"',
    })
    await assert.rejects(read('k8s://shop/db#gone'), {
      code: 'FAIRLEAD_SERVICE_SECRET_ABSENT',
      hint: /"password", "user"/,
    })
    writeAccount('planted-nobody')
    await assert.rejects(read('k8s://shop/db'), {
      code: 'FAIRLEAD_SERVICE_SECRET_DENIED',
      message: /401: Unauthorized/,
    })
    writeAccount('planted-stranger')
    await assert.rejects(read('k8s://shop/db'), {
      code: 'FAIRLEAD_SERVICE_SECRET_DENIED',
      hint: /resourceNames \["db"\]/,
    })
  })
})
