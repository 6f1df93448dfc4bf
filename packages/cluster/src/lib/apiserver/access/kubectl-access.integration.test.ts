import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import type { RequestOptions } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'

import { createKubeClient, createKubeconfig, renderKubeconfig } from '@fairlead/kube'

import { createCertificateSigner } from '../../certificate-signer.ts'
import { runControllers } from '../../controllers/run-controllers.ts'
import { loadPki } from '../../pki.ts'
import { loadSigningKeys } from '../../signing-keys.ts'
import { missesKubectl, serveKubectl } from '../test-kubectl.ts'
import { startTestServer } from '../test-server.ts'
import type { TestServer } from '../test-server.ts'
import { createLegacySigner } from './tokens/legacy-signer.ts'

const run = promisify(execFile)
const isSkipped = missesKubectl()

describe('access with kubectl', { skip: isSkipped, timeout: 600_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-access-'))
  const env = { ...process.env, KUBECONFIG: join(dir, 'config'), HOME: dir }
  const stop = new AbortController()
  let api: TestServer
  let port: number
  let ca: string
  let working: Promise<unknown>

  before(async () => {
    const { current: serviceAccountKey } = await loadSigningKeys(dir)
    api = await startTestServer({ serviceAccounts: true, serviceAccountKey })
    const served = await serveKubectl(api.server, dir, env.KUBECONFIG)
    const { pki } = served
    ;({ port } = served)
    ca = pki.ca
    const groups = ['system:serviceaccounts', 'system:serviceaccounts:kube-system']
    working = runControllers({
      client: createKubeClient({
        transport: api.server.transport({ user: 'system:kube-controller-manager', groups: [] }),
      }),
      clientFor: (name) => {
        const user = `system:serviceaccount:kube-system:${name}`
        return createKubeClient({ transport: api.server.transport({ user, groups }) })
      },
      caCertificate: pki.ca,
      signCertificate: createCertificateSigner(pki.authority),
      signToken: createLegacySigner(serviceAccountKey),
      signal: stop.signal,
    })
    const server = `https://127.0.0.1:${port}`
    // A configuration with no credentials at all, for tokens given on the command line.
    writeFileSync(
      join(dir, 'bare'),
      renderKubeconfig(createKubeconfig({ name: 'bare', server, certificateAuthority: ca })),
    )
    await kubectl('create', 'namespace', 'team')
    await kubectl('create', 'namespace', 'other')
    await kubectl('wait', '--for=create', 'serviceaccount/default', '-n', 'team', '--timeout=10s')
  })

  after(async () => {
    stop.abort()
    await working
    await api[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true, force: true })
  })

  async function kubectl(...args: string[]): Promise<string> {
    const { stdout, stderr } = await run('kubectl', args, { env, timeout: 60_000 })
    return stdout + stderr
  }

  /** The text of a command that fails. */
  async function refused(...args: string[]): Promise<string> {
    return await kubectl(...args).then(
      (text) => assert.fail(`expected a refusal: ${text}`),
      ({ stderr, stdout }: { stderr: string; stdout: string }) => stdout + stderr,
    )
  }

  function withToken(token: string): string[] {
    return ['--kubeconfig', join(dir, 'bare'), '--token', token]
  }

  it('binds users, groups and accounts to roles, and acts as them', async () => {
    await kubectl('create', 'role', 'reader', '-n', 'team', '--verb=get,list', '--resource=pods,configmaps')
    await kubectl('create', 'rolebinding', 'readers', '-n', 'team', '--role=reader', '--user=ann', '--group=crew')
    assert.equal((await kubectl('auth', 'can-i', 'list', 'pods', '-n', 'team', '--as=ann')).trim(), 'yes')
    assert.equal((await refused('auth', 'can-i', 'list', 'pods', '-n', 'other', '--as=ann')).trim(), 'no')
    assert.match(await kubectl('get', 'pods', '-n', 'team', '--as=bob', '--as-group=crew'), /No resources found/)
    assert.match(
      await refused('delete', 'configmap', 'x', '-n', 'team', '--as=ann'),
      /configmaps "x" is forbidden: User "ann" cannot delete resource "configmaps" in API group "" in the namespace "team"/,
    )
  })

  it('tells who one is, with uid and extra', async () => {
    const text = await kubectl('auth', 'whoami', '-o', 'json', '--as=ann', '--as-uid=7', '--as-group=crew')
    const { username, uid, groups } = JSON.parse(text).status.userInfo
    assert.deepEqual([username, uid, groups], ['ann', '7', ['crew', 'system:authenticated']])
    assert.match(await kubectl('auth', 'whoami'), /system:masters/)
  })

  it('lists what one may do', async () => {
    const text = await kubectl('auth', 'can-i', '--list', '-n', 'team', '--as=ann')
    assert.match(text, /configmaps\s+\[\]\s+\[\]\s+\[get list\]/)
    assert.match(text, /selfsubjectreviews\.authentication\.k8s\.io\s+\[\]\s+\[\]\s+\[create\]/)
    assert.match(text, /\[\/healthz\]/)
  })

  it('gives a token that works, in its own namespace only', async () => {
    await kubectl('create', 'serviceaccount', 'robot', '-n', 'team')
    const subject = '--serviceaccount=team:robot'
    await kubectl('create', 'rolebinding', 'robot', '-n', 'team', '--clusterrole=edit', subject)
    await kubectl('create', 'secret', 'generic', 's', '-n', 'team', '--from-literal=a=b')
    await kubectl('create', 'secret', 'generic', 's', '-n', 'other', '--from-literal=a=b')
    const token = (await kubectl('create', 'token', 'robot', '-n', 'team', '--duration=10m')).trim()
    assert.match(await kubectl(...withToken(token), 'auth', 'whoami'), /system:serviceaccount:team:robot/)
    assert.match(await kubectl(...withToken(token), 'get', 'secret', 's', '-n', 'team'), /Opaque/)
    assert.match(
      await refused(...withToken(token), 'get', 'secret', 's', '-n', 'other'),
      /secrets "s" is forbidden: User "system:serviceaccount:team:robot" cannot get resource "secrets" in API group "" in the namespace "other"/,
    )
    await kubectl('delete', 'serviceaccount', 'robot', '-n', 'team')
    assert.match(await refused(...withToken(token), 'get', 'pods', '-n', 'team'), /Unauthorized|must be logged in/)
  })

  it('fills a secret with a token, and takes it away with its account', async () => {
    await kubectl('create', 'serviceaccount', 'old', '-n', 'team')
    const manifest = join(dir, 'secret.json')
    const annotations = { 'kubernetes.io/service-account.name': 'old' }
    const type = 'kubernetes.io/service-account-token'
    writeFileSync(
      manifest,
      JSON.stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'old', annotations }, type }),
    )
    await kubectl('create', '-n', 'team', '-f', manifest)
    await kubectl('wait', '--for=jsonpath={.data.token}', 'secret/old', '-n', 'team', '--timeout=10s')
    const encoded = await kubectl('get', 'secret', 'old', '-n', 'team', '-o', 'jsonpath={.data.token}')
    const token = Buffer.from(encoded, 'base64').toString()
    assert.match(await kubectl(...withToken(token), 'auth', 'whoami'), /system:serviceaccount:team:old/)
    await kubectl('delete', 'serviceaccount', 'old', '-n', 'team')
    await kubectl('wait', '--for=delete', 'secret/old', '-n', 'team', '--timeout=10s')
    assert.match(await refused(...withToken(token), 'get', 'pods'), /Unauthorized|must be logged in/)
  })

  it('reconciles roles, and collects the rules of those that are aggregated', async () => {
    const manifest = join(dir, 'role.json')
    const labels = { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' }
    const role = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'widgets', labels },
      rules: [{ apiGroups: ['example.com'], resources: ['widgets'], verbs: ['get'] }],
    }
    writeFileSync(manifest, JSON.stringify(role))
    assert.match(await kubectl('auth', 'reconcile', '-f', manifest), /widgets reconciled/)
    const path = '--for=jsonpath={.rules[?(@.apiGroups[0]=="example.com")].verbs[0]}=get'
    for (const name of ['view', 'edit', 'admin']) await kubectl('wait', path, `clusterrole/${name}`, '--timeout=10s')
  })

  async function request509(name: string, subject: string): Promise<string> {
    const files = ['-keyout', join(dir, `${name}.key`), '-out', join(dir, `${name}.csr`)]
    const options = ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    execFileSync('openssl', [...options, '-subj', subject, ...files], { stdio: 'ignore' })
    const pem = readFileSync(join(dir, `${name}.csr`)).toString('base64')
    const spec = { request: pem, signerName: 'kubernetes.io/kube-apiserver-client', usages: ['client auth'] }
    const object = { apiVersion: 'certificates.k8s.io/v1', kind: 'CertificateSigningRequest', metadata: { name }, spec }
    const file = join(dir, `${name}.json`)
    writeFileSync(file, JSON.stringify(object))
    return file
  }

  it('signs a certificate that somebody approved, and only then', async () => {
    await kubectl('create', 'clusterrole', 'asker', '--verb=create', '--resource=certificatesigningrequests')
    await kubectl('create', 'clusterrolebinding', 'asker', '--clusterrole=asker', '--user=eve')
    await kubectl('create', '-f', await request509('eve', '/O=crew/CN=eve'), '--as=eve')
    assert.match(await kubectl('get', 'csr', 'eve'), /kube-apiserver-client\s+eve\s+<none>\s+Pending/)
    const updater = '--verb=get,list,update'
    await kubectl(
      'create',
      'clusterrole',
      'half',
      updater,
      '--resource=certificatesigningrequests,certificatesigningrequests/approval',
    )
    await kubectl('create', 'clusterrolebinding', 'half', '--clusterrole=half', '--user=mallory')
    assert.match(
      await refused('certificate', 'approve', 'eve', '--as=mallory'),
      /user not permitted to approve requests with signerName "kubernetes.io\/kube-apiserver-client"/,
    )
    await kubectl('certificate', 'approve', 'eve')
    await kubectl('wait', '--for=jsonpath={.status.certificate}', 'csr/eve', '--timeout=10s')
    const encoded = await kubectl('get', 'csr', 'eve', '-o', 'jsonpath={.status.certificate}')
    const own = { cert: Buffer.from(encoded, 'base64'), key: readFileSync(join(dir, 'eve.key')) }
    const answer = await raw('/api/v1/nodes', own)
    assert.match(answer.text, /User \\"eve\\" cannot list resource/)
    await kubectl('create', '-f', await request509('no', '/CN=no'))
    await kubectl('certificate', 'deny', 'no')
    assert.match(await kubectl('get', 'csr', 'no'), /Denied$/m)
    assert.match(
      await refused('create', '-f', await request509('root', '/O=system:masters/CN=root')),
      /signer with system:masters group is not allowed/,
    )
  })

  const bearer = (token: string): RequestOptions => ({ headers: { authorization: `Bearer ${token}` } })

  async function raw(
    path: string,
    options: RequestOptions = {},
  ): Promise<{ status: number; text: string; headers: object }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string; headers: object }>()
    const sent = request({ host: '127.0.0.1', port, ca, path, agent: false, timeout: 5000, ...options }, (incoming) => {
      let text = ''
      incoming.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')))
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text, headers: incoming.headers }))
    })
    sent.on('error', reject)
    sent.end()
    return await promise
  }

  it('gives strangers health and version, and nothing else', async () => {
    const statuses: Record<string, number> = {}
    for (const path of [
      '/healthz',
      '/livez',
      '/readyz',
      '/version',
      '/',
      '/api',
      '/apis',
      '/openapi/v3',
      '/api/v1/pods',
      '/openid/v1/jwks',
      '/metrics',
    ]) {
      statuses[path] = (await raw(path)).status
    }
    const closed = Object.keys(statuses).filter((path) => statuses[path] === 403)
    assert.deepEqual(closed, ['/', '/api', '/apis', '/openapi/v3', '/api/v1/pods', '/openid/v1/jwks', '/metrics'])
    assert.equal((await raw('/version', bearer('wrong'))).status, 401)
  })

  it('looks at a certificate before a token, as upstream does', async () => {
    const pki = await loadPki(dir)
    const admin = { cert: pki.admin.certificate, key: pki.admin.key }
    assert.equal((await raw('/api/v1/pods', { ...admin, ...bearer('wrong') })).status, 200)
    const subject = ['-subj', '/O=system:masters/CN=admin', '-keyout', join(dir, 'k'), '-out', join(dir, 'c')]
    const options = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
    execFileSync('openssl', [...options, ...subject], { stdio: 'ignore' })
    const foreign = { cert: readFileSync(join(dir, 'c')), key: readFileSync(join(dir, 'k')) }
    assert.equal((await raw('/version', foreign)).status, 401)
    const token = (await kubectl('create', 'token', 'default', '-n', 'team')).trim()
    assert.equal((await raw('/api', { ...foreign, ...bearer(token) })).status, 200)
  })

  it('refuses web pages of another origin and names that are not its own, whoever asks', async () => {
    const pki = await loadPki(dir)
    const admin = { cert: pki.admin.certificate, key: pki.admin.key }
    const ask = async (headers: Record<string, string>): Promise<number> => {
      const answer = await raw('/api/v1/secrets', { ...admin, headers, checkServerIdentity: () => undefined })
      assert.ok(!('access-control-allow-origin' in answer.headers))
      return answer.status
    }
    const own = `127.0.0.1:${port}`
    assert.equal(await ask({ host: own }), 200)
    assert.equal(await ask({ host: `localhost:${port}` }), 200)
    assert.equal(await ask({ host: 'kubernetes.default.svc' }), 200)
    assert.equal(await ask({ host: own, origin: `https://${own}` }), 200)
    assert.equal(await ask({ host: own, origin: 'http://localhost' }), 200)
    assert.equal(await ask({ host: own, origin: 'http://localhost:3000' }), 403)
    assert.equal(await ask({ host: own, origin: 'http://localhost', 'sec-fetch-site': 'same-site' }), 403)
    assert.equal(await ask({ host: own, origin: 'https://evil.example' }), 403)
    assert.equal(await ask({ host: own, origin: 'null' }), 403)
    assert.equal(await ask({ host: own, 'sec-fetch-site': 'cross-site' }), 403)
    assert.equal(await ask({ host: `rebound.evil.example:${port}` }), 403)
    assert.equal(await ask({ host: `127.0.0.1.evil.example:${port}` }), 403)
  })
})
