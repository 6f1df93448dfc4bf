import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createTcpServer, connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'

import { openLayout } from '../layout/layout.ts'
import type { Layout } from '../layout/layout.ts'
import { createRegistryClient } from './client.ts'
import { addImage, addIndex, addReferrer, startDockerRegistry } from './client.fixture.ts'
import type { DockerRegistry } from './client.fixture.ts'
import { copyImage } from './copy.ts'
import { pullTree } from './pull.ts'
import { pushImage } from './push.ts'
import { listReferrers } from './referrers.ts'
import { serveRegistry } from './server/server.ts'

const PROGRAMS = ['docker-registry', 'skopeo', 'openssl']
/** "ada" with the password "pw". */
const HTPASSWD = 'ada:$2y$04$w..fBArtt5f5mXfJlkwhv.WkIX/GZJUa6YmTgFtHUpYVnTn1f9xvO\n'

function reasonToSkip(): string | false {
  const missing = PROGRAMS.filter((name) => execFileSync('sh', ['-c', `command -v ${name} || true`]).length === 0)
  const reason = missing.length > 0 && `not installed: ${missing.join(', ')}`
  if (reason && process.env['CI'] === 'true') throw new Error(`Cannot skip in CI: ${reason}`)
  return reason
}

/** Not the synchronous way, which would keep the servers in this process from answering. */
const run = promisify(execFile)
const base = randomBytes(9 << 20)

const kinds = [
  { name: "Debian's docker-registry", hasReferrers: false, start: (dir: string) => startDockerRegistry(dir) },
  { name: 'our registry', hasReferrers: true, start: startOurs },
]

/** With every right for everybody on this machine, as it is when nothing else is said. */
async function startOurs(dir: string): Promise<DockerRegistry> {
  const registry = await serveRegistry({ dir: join(dir, 'ours'), port: 0, collect: { everyMs: 0 } })
  return { host: new URL(registry.url).host, [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose]() }
}

for (const { name, hasReferrers, start } of kinds)
  describe(`the registry client and ${name}`, { skip: reasonToSkip(), timeout: 600_000 }, () => {
    let work: string
    let layout: Layout
    let registry: DockerRegistry

    before(async () => {
      work = await mkdtemp(join(tmpdir(), 'fairlead-registries-'))
      layout = await openLayout(join(work, 'layout'))
      registry = await start(work)
    })
    after(async () => {
      await registry[Symbol.asyncDispose]()
      await rm(work, { recursive: true, force: true })
    })

    it(`push and pull an index with referrers, by ${hasReferrers ? 'the registry' : 'the tag'}`, async () => {
      const index = await addIndex(layout, 'localhost/many:1', base)
      const signature = await addReferrer(layout, index, 'application/x-signature')
      const reference = `${registry.host}/many:1`
      await pushImage('localhost/many:1', reference, { layout, withReferrers: true })
      assert.deepEqual(
        (await listReferrers(reference)).map(({ digest }) => digest),
        [signature.digest],
      )
      const client = createRegistryClient()
      const tags = await client.listTags({ registry: registry.host, repository: 'many' })
      assert.deepEqual(tags.toSorted(), ['1', ...(hasReferrers ? [] : [index.digest.replace(':', '-')])])

      const target = await openLayout(join(work, 'pulled'))
      const pulled = await pullTree(reference, { layout: target, withReferrers: true })
      assert.deepEqual([pulled.descriptor.digest, pulled.referrers], [index.digest, 1])

      await client.delete({ registry: registry.host, repository: 'many', digest: index.digest })
      await assert.rejects(pullTree(reference, { layout: target }), { code: 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND' })
    })

    it('send the application layer only after a change, and mount between repositories', async () => {
      await addImage(layout, 'localhost/app:1', [base, Buffer.from('app 1')])
      const target = `${registry.host}/team/app`
      const first = await pushImage('localhost/app:1', `${target}:1`, { layout, mountFrom: ['many'] })
      assert.equal(first.blobs.mounted, 1)
      await addImage(layout, 'localhost/app:2', [base, Buffer.from('app 2')])
      const second = await pushImage('localhost/app:2', `${target}:2`, { layout })
      assert.deepEqual(second.blobs, { moved: 2, mounted: 0, known: 1 })
      assert.ok(second.movedBytes < 1_000 && second.requests <= 12, JSON.stringify(second))
      const near = await copyImage(`${target}:2`, `${registry.host}/other/app:2`)
      assert.deepEqual([near.blobs.moved, near.blobs.mounted], [0, 3])
    })

    it('exchange images with skopeo in both directions', async () => {
      const image = await addImage(layout, 'localhost/peer:1', [base, Buffer.from('peer')])
      await pushImage('localhost/peer:1', `${registry.host}/peer:1`, { layout })
      const quiet = ['copy', '--quiet', '--preserve-digests', '--src-tls-verify=false', '--dest-tls-verify=false']
      await run('skopeo', [...quiet, `docker://${registry.host}/peer:1`, `oci:${join(work, 'skopeo')}:1`])
      await run('skopeo', [...quiet, `oci:${join(work, 'skopeo')}:1`, `docker://${registry.host}/peer:skopeo`])
      const back = await openLayout(join(work, 'back'))
      const pulled = await pullTree(`${registry.host}/peer:skopeo`, { layout: back })
      assert.equal(pulled.descriptor.digest, image.digest)
    })

    it('go on with an upload and a download that are cut', async () => {
      const content = randomBytes(9 << 20)
      await addImage(layout, 'localhost/cut:1', [content])
      await using proxy = await startCuttingProxy(registry.host, 3 << 20, 2)
      const client = createRegistryClient({ retryDelayMs: 5 })
      const pushed = await pushImage('localhost/cut:1', `${proxy.host}/cut:1`, { layout, client })
      assert.equal(proxy.cuts, 0)
      // What the registry had not written down when the connection broke is sent again, the rest is not.
      assert.ok(pushed.movedBytes < 2 * content.byteLength, String(pushed.movedBytes))
      proxy.cuts = 2
      const target = await openLayout(join(work, 'cut'))
      const pulled = await pullTree(`${proxy.host}/cut:1`, { layout: target, client })
      assert.equal(proxy.cuts, 0)
      assert.equal(pulled.descriptor.digest, pushed.descriptor.digest)
      assert.ok(pulled.movedBytes < content.byteLength + 10_000, String(pulled.movedBytes))
    })

    it('let two push the same image at once', async () => {
      await addImage(layout, 'localhost/twice:1', [randomBytes(5 << 20), Buffer.from('twice')])
      const push = (): ReturnType<typeof pushImage> =>
        pushImage('localhost/twice:1', `${registry.host}/twice:1`, { layout, client: createRegistryClient() })
      const [one, two] = await Promise.all([push(), push()])
      assert.equal(one.descriptor.digest, two.descriptor.digest)
    })
  })

describe(
  'the registry client and a docker-registry that wants to know who asks',
  { skip: reasonToSkip(), timeout: 600_000 },
  () => {
    let work: string
    let layout: Layout

    before(async () => {
      work = await mkdtemp(join(tmpdir(), 'fairlead-registries-'))
      layout = await openLayout(join(work, 'layout'))
      await addImage(layout, 'localhost/app:1', [base, Buffer.from('app 1')])
      await addImage(layout, 'localhost/app:2', [base, Buffer.from('app 2')])
    })
    after(() => rm(work, { recursive: true, force: true }))

    it('log in with a password', async () => {
      const dir = await mkdtemp(join(work, 'htpasswd-'))
      const file = join(dir, 'htpasswd')
      await writeFile(file, HTPASSWD)
      await using closed = await startDockerRegistry(
        dir,
        `auth: { htpasswd: { realm: test, path: ${JSON.stringify(file)} } }`,
      )
      const target = `${closed.host}/team/app:1`
      await assert.rejects(pushImage('localhost/app:1', target, { layout }), { code: 'FAIRLEAD_OCI_REGISTRY_DENIED' })
      const client = createRegistryClient({ credentials: () => ({ username: 'ada', password: 'pw' }) })
      await client.logIn(closed.host)
      await pushImage('localhost/app:1', target, { layout, client })
      const wrong = createRegistryClient({ credentials: () => ({ username: 'ada', password: 'no' }) })
      await assert.rejects(wrong.logIn(closed.host), { code: 'FAIRLEAD_OCI_REGISTRY_DENIED' })
    })

    it('log in with tokens per repository', async () => {
      const dir = await mkdtemp(join(work, 'token-'))
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const key = join(dir, 'key.pem')
      const certificate = join(dir, 'certificate.pem')
      await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }))
      await run('openssl', ['req', '-x509', '-key', key, '-out', certificate, '-subj', '/CN=tokens', '-days', '2'])
      const der = execFileSync('openssl', ['x509', '-in', certificate, '-outform', 'DER']).toString('base64')
      await using tokens = await startTokenServer(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), der)
      const auth = {
        realm: `${tokens.origin}/token`,
        service: 'registry',
        issuer: 'tokens',
        rootcertbundle: certificate,
      }
      await using closed = await startDockerRegistry(dir, `auth: { token: ${JSON.stringify(auth)} }`)
      const client = createRegistryClient({ credentials: () => ({ username: 'ada', password: 'pw' }) })
      await pushImage('localhost/app:1', `${closed.host}/one:1`, { layout, client })
      const mounted = await pushImage('localhost/app:2', `${closed.host}/two:1`, { layout, client, mountFrom: ['one'] })
      assert.ok(mounted.blobs.mounted >= 1)
      assert.ok(tokens.scopes.includes('repository:two:pull,push repository:one:pull'), tokens.scopes.join('\n'))
      // A token of ten seconds counts for nine; so few are bought as there are repositories and rights.
      assert.ok(tokens.scopes.length <= 8, tokens.scopes.join('\n'))
      const pulled = await pullTree(`${closed.host}/two:1`, { layout: await openLayout(join(dir, 'pulled')), client })
      assert.equal(pulled.descriptor.digest, mounted.descriptor.digest)
      await assert.rejects(createRegistryClient().resolve({ registry: closed.host, repository: 'two', tag: '1' }), {
        code: 'FAIRLEAD_OCI_REGISTRY_DENIED',
      })
    })
  },
)

/** Passes bytes on and cuts the first `cuts` connections after `maxBytes` in one direction. */
async function startCuttingProxy(
  to: string,
  maxBytes: number,
  cuts: number,
): Promise<{ host: string; cuts: number } & AsyncDisposable> {
  const sockets = new Set<ReturnType<typeof connect>>()
  const server = createTcpServer((near) => {
    const [host, port] = to.split(':')
    const far = connect(Number(port), host)
    const ends = [near, far] as const
    for (const [from, into] of [ends, [far, near] as const]) {
      sockets.add(from)
      let passed = 0
      from.on('data', (chunk) => {
        passed += chunk.byteLength
        if (passed > maxBytes && proxy.cuts > 0) {
          proxy.cuts -= 1
          for (const end of ends) end.destroy()
        } else if (!into.write(chunk)) {
          from.pause()
          into.once('drain', () => from.resume())
        }
      })
      from.on('error', () => {})
      from.on('close', () => into.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cuts,
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
  return proxy
}

/** A token server by the distribution token specification: what "ada" asks for she gets, in a JWT. */
async function startTokenServer(
  pem: string,
  certificate: string,
): Promise<{ origin: string; scopes: string[] } & AsyncDisposable> {
  const scopes: string[] = []
  const server = createHttpServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://tokens')
    const isAda = request.headers.authorization === `Basic ${Buffer.from('ada:pw').toString('base64')}`
    if (!isAda) return void response.writeHead(401).end()
    scopes.push(url.searchParams.getAll('scope').join(' '))
    const access = url.searchParams.getAll('scope').map((scope) => {
      const [type, name, actions = ''] = scope.split(':')
      return { type, name, actions: actions.split(',') }
    })
    const now = Math.floor(Date.now() / 1000)
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const claims = {
      iss: 'tokens',
      sub: 'ada',
      aud: 'registry',
      exp: now + 10,
      nbf: now - 5,
      iat: now,
      jti: randomId(),
      access,
    }
    const unsigned = `${part({ typ: 'JWT', alg: 'ES256', x5c: [certificate] })}.${part(claims)}`
    const key = createPrivateKey(pem)
    const signature = sign('sha256', Buffer.from(unsigned), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')
    response.end(JSON.stringify({ token: `${unsigned}.${signature}`, expires_in: 10 }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    scopes,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function randomId(): string {
  return randomBytes(8).toString('hex')
}
