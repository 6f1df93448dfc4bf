import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openLayout } from '../../layout/layout.ts'
import { createRegistryClient } from '../client.ts'
import { pullImage } from '../pull.ts'
import { openHtpasswd } from './passwords.ts'
import { sendTo, startTestRegistry } from './registry-fixture.ts'
import type { Answer } from './registry-fixture.ts'

/** Cost 4, so that tests are quick. ada: pw, bob: secret */
const users = `# people
ada:$2y$04$w..fBArtt5f5mXfJlkwhv.WkIX/GZJUa6YmTgFtHUpYVnTn1f9xvO
bob:$2b$04$BOBHASH
`

async function passwordFile(): Promise<{ file: string } & AsyncDisposable> {
  const { default: bcrypt } = await import('bcryptjs')
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-users-'))
  const file = join(dir, 'htpasswd')
  await writeFile(file, users.replace('$2b$04$BOBHASH', bcrypt.hashSync('secret', 4)))
  return { file, [Symbol.asyncDispose]: () => rm(dir, { recursive: true }) }
}

function basic(name: string, password: string): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` }
}

function codeOf(answer: Answer): string {
  return answer.json().errors[0].code
}

describe('a registry with passwords', () => {
  it('asks for a login, takes the right password and no other', async () => {
    await using people = await passwordFile()
    await using test = await startTestRegistry({ htpasswd: people.file })
    const refused = await test.send('GET', '/v2/')
    assert.deepEqual([refused.status, codeOf(refused)], [401, 'UNAUTHORIZED'])
    assert.equal(refused.headers.get('www-authenticate'), 'Basic realm="fairlead", charset="UTF-8"')
    for (const [name, password, status] of [
      ['ada', 'pw', 200],
      ['bob', 'secret', 200],
      ['ada', 'secret', 401],
      ['eve', 'pw', 401],
    ] as const) {
      assert.equal((await test.send('GET', '/v2/', { headers: basic(name, password) })).status, status, name)
    }
    assert.equal((await test.send('GET', '/v2/', { headers: { authorization: 'Basic x' } })).status, 401)
    assert.equal((await test.send('GET', '/v2/', { headers: { authorization: 'Bearer x.y.z' } })).status, 401)
  })

  it('slows down who guesses, by address, and lets the right one in again', async () => {
    await using people = await passwordFile()
    let now = 1_000_000
    const check = openHtpasswd(people.file, () => now)
    for (let guess = 0; guess < 5; guess += 1) assert.equal(await check.verify('ada', `no ${guess}`, '10.0.0.1'), false)
    await assert.rejects(check.verify('ada', 'pw', '10.0.0.1'), {
      status: 429,
      reason: 'TOOMANYREQUESTS',
      headers: { 'retry-after': '1' },
    })
    assert.equal(await check.verify('ada', 'pw', '10.0.0.2'), true)
    now += 1001
    assert.equal(await check.verify('ada', 'no', '10.0.0.1'), false)
    now += 1001
    await assert.rejects(check.verify('bob', 'no', '10.0.0.1'), { status: 429 })
    now += 1001
    assert.equal(await check.verify('bob', 'secret', '10.0.0.1'), true)
    assert.equal(await check.verify('bob', 'no', '10.0.0.1'), false)
  })

  it('counts one password sent by many requests at once as one guess', async () => {
    await using people = await passwordFile()
    const check = openHtpasswd(people.file)
    const answers = await Promise.all(Array.from({ length: 50 }, () => check.verify('ada', 'pw', '10.0.0.1')))
    assert.ok(answers.every(Boolean))
  })

  it('sees at once that the file has changed', async () => {
    await using people = await passwordFile()
    const check = openHtpasswd(people.file)
    assert.equal(await check.verify('ada', 'pw', 'x'), true)
    await writeFile(people.file, '# nobody is left\n')
    assert.equal(await check.verify('ada', 'pw', 'x'), false)
  })

  it('refuses a file with anything but bcrypt', async () => {
    await using people = await passwordFile()
    await writeFile(people.file, 'ada:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n')
    assert.throws(() => openHtpasswd(people.file), { code: 'FAIRLEAD_OCI_REGISTRY_SETTING', message: /line 1/ })
  })
})

describe('a registry with rules', () => {
  const rules = [
    { repositories: 'public/**', users: ['anonymous'], actions: ['pull' as const] },
    { repositories: 'team/*', users: ['*'], actions: ['pull' as const] },
    { repositories: 'team/ada-*', users: ['ada'], actions: ['pull' as const, 'push' as const, 'delete' as const] },
    { repositories: 'public/**', users: ['ada'], actions: ['push' as const] },
  ]

  it('lets each do what the rules say, and shows each what it may see', async () => {
    await using people = await passwordFile()
    await using test = await startTestRegistry({ htpasswd: people.file, rules, login: 'basic' })
    const start = (repository: string, headers: Record<string, string> = {}): Promise<Answer> =>
      sendTo(test.registry.url, 'POST', `/v2/${repository}/blobs/uploads/`, { headers })
    const ada = basic('ada', 'pw')
    const bob = basic('bob', 'secret')
    assert.equal((await start('team/ada-web', ada)).status, 202)
    const denied = await start('team/ada-web', bob)
    assert.deepEqual([denied.status, codeOf(denied)], [403, 'DENIED'])
    assert.equal((await start('public/x')).status, 401)
    assert.equal((await start('other/x', ada)).status, 403)
    for (const repository of ['team/ada-web', 'public/x/y']) {
      const answer = await test.send('PUT', `/v2/${repository}/manifests/1`, {
        headers: { ...ada, 'content-type': 'application/vnd.oci.image.index.v1+json' },
        body: '{"schemaVersion":2,"manifests":[]}',
      })
      assert.equal(answer.status, 201, answer.text)
    }
    const seen = async (headers: Record<string, string>): Promise<unknown> =>
      (await test.send('GET', '/v2/_catalog', { headers })).json()['repositories']
    assert.deepEqual(await seen(ada), ['public/x/y', 'team/ada-web'])
    assert.deepEqual(await seen({}), ['public/x/y'])
    assert.equal((await test.send('GET', '/v2/team/ada-web/manifests/1', { headers: bob })).status, 200)
    assert.equal((await test.send('GET', '/v2/team/ada-web/manifests/1')).status, 401)
    assert.equal((await test.send('GET', '/v2/public/x/y/manifests/1')).status, 200)
    assert.equal((await test.send('DELETE', '/v2/public/x/y/manifests/1', { headers: ada })).status, 403)
  })

  it('takes no blob out of a repository by a mount that may not be pulled from', async () => {
    await using people = await passwordFile()
    const all = [
      ...rules,
      { repositories: 'team/bob', users: ['bob'], actions: ['pull' as const, 'push' as const] },
      { repositories: 'hidden', users: ['ada'], actions: ['push' as const] },
    ]
    await using test = await startTestRegistry({ htpasswd: people.file, rules: all, login: 'basic' })
    const digest = 'sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73'
    const pushed = await test.send('POST', `/v2/hidden/blobs/uploads/?digest=${digest}`, {
      headers: basic('ada', 'pw'),
      body: 'content',
    })
    assert.equal(pushed.status, 201, pushed.text)
    for (const from of ['&from=hidden', '']) {
      const headers = basic('bob', 'secret')
      const answer = await test.send('POST', `/v2/team/bob/blobs/uploads/?mount=${digest}${from}`, { headers })
      assert.equal(answer.status, 202)
    }
  })
})

describe('a registry with tokens', () => {
  it('sends clients for a token with the scopes they need, and keeps to them', async () => {
    await using people = await passwordFile()
    await using test = await startTestRegistry({ htpasswd: people.file, anonymous: 'pull' })
    const challenge = (await test.send('GET', '/v2/')).headers.get('www-authenticate') ?? ''
    assert.equal(challenge, `Bearer realm="${test.registry.url}/token",service="fairlead-registry"`)
    const upload = await test.send('POST', '/v2/team/app/blobs/uploads/')
    assert.match(upload.headers.get('www-authenticate') ?? '', /scope="repository:team\/app:pull,push"$/)
    const token = async (query: string, headers: Record<string, string> = {}): Promise<{ authorization: string }> => {
      const answer = await test.send('GET', `/token?service=fairlead-registry&${query}`, { headers })
      assert.deepEqual([answer.status, answer.headers.get('cache-control')], [200, 'no-store'])
      assert.equal(answer.json()['expires_in'], 300)
      return { authorization: `Bearer ${String(answer.json()['token'])}` }
    }
    const ada = await token('scope=repository:team/app:pull,push', basic('ada', 'pw'))
    const start = (repository: string, headers: Record<string, string>): Promise<Answer> =>
      test.send('POST', `/v2/${repository}/blobs/uploads/`, { headers })
    assert.equal((await start('team/app', ada)).status, 202)
    const other = await start('team/other', ada)
    assert.equal(other.status, 401)
    assert.match(other.headers.get('www-authenticate') ?? '', /error="insufficient_scope"/)
    const anonymous = await token('scope=repository:team/app:pull,push')
    assert.equal((await start('team/app', anonymous)).status, 401)
    assert.equal((await test.send('GET', '/v2/', { headers: anonymous })).status, 200)
    assert.equal(
      (await test.send('GET', '/v2/team/app/tags/list', { headers: anonymous })).json().errors[0].code,
      'NAME_UNKNOWN',
    )
    assert.equal((await test.send('GET', '/token', { headers: basic('ada', 'no') })).status, 401)
    const posted = await test.send('POST', '/token', {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: 'grant_type=password&username=ada&password=pw&service=x&scope=repository:team/app:push',
    })
    const { authorization } = { authorization: `Bearer ${String(posted.json()['access_token'])}` }
    assert.equal((await start('team/app', { authorization })).status, 202)
  })

  it('works with our own client, with and without a login', async () => {
    await using people = await passwordFile()
    await using test = await startTestRegistry({ htpasswd: people.file, anonymous: 'pull', login: 'token' })
    const layout = await openLayout(join(test.dir, 'client'))
    const built = await openLayout(test.dir)
    const config = await built.writeJson('application/vnd.oci.image.config.v1+json', {
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: [] },
    })
    const manifest = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', config, layers: [] }
    await built.tag('localhost/app:1', await built.writeJson(manifest.mediaType, manifest))
    for (const credentials of [undefined, () => ({ username: 'ada', password: 'pw' })]) {
      const client = createRegistryClient({ credentials, retryDelayMs: 1 })
      await pullImage(`${test.registry.address}/app:1`, { layout, platform: 'linux/amd64', client })
    }
    await test.registry.close()
    await using closed = await startTestRegistry({ dir: test.dir, htpasswd: people.file, login: 'token' })
    for (const [password, state] of [
      ['pw', 'in'],
      ['no', 'out'],
    ] as const) {
      const client = createRegistryClient({ credentials: () => ({ username: 'ada', password }), retryDelayMs: 1 })
      const pulling = pullImage(`${closed.registry.address}/app:1`, { layout, platform: 'linux/amd64', client })
      if (state === 'in') await pulling
      else await assert.rejects(pulling, { code: 'FAIRLEAD_OCI_REGISTRY_DENIED' })
    }
  })

  const pairs = {
    RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ES256: generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
  }
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const make = (header: object, claims: object, key: KeyObject): string => {
    const text = `${encode(header)}.${encode(claims)}`
    return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
  }
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: 'issuer',
    aud: 'here',
    sub: 'ada',
    exp: now + 100,
    access: [{ type: 'repository', name: 'app', actions: ['push'] }],
  }
  for (const alg of ['RS256', 'ES256'] as const) {
    it(`takes ${alg} tokens of another service, and only its`, async () => {
      const keys = [pairs[alg].publicKey.export({ type: 'spki', format: 'pem' }).toString()]
      const realm = 'https://tokens.example/'
      await using test = await startTestRegistry({ tokens: { realm, service: 'here', issuer: 'issuer', keys } })
      const refused = await test.send('GET', '/v2/')
      assert.equal(refused.headers.get('www-authenticate'), `Bearer realm="${realm}",service="here"`)
      const start = async (token: string): Promise<number> =>
        (await test.send('POST', '/v2/app/blobs/uploads/', { headers: { authorization: `Bearer ${token}` } })).status
      const key = pairs[alg].privateKey
      assert.equal(await start(make({ alg }, claims, key)), 202)
      const other = alg === 'RS256' ? 'ES256' : 'RS256'
      const bad = [
        make({ alg }, { ...claims, exp: now - 100 }, key),
        make({ alg }, { ...claims, nbf: now + 100 }, key),
        make({ alg }, { ...claims, aud: 'there' }, key),
        make({ alg }, { ...claims, iss: 'other' }, key),
        make({ alg }, { ...claims, access: [] }, key),
        make({ alg: other }, claims, key),
        make({ alg: 'none' }, claims, key),
        make({ alg: other }, claims, pairs[other].privateKey),
        `${encode({ alg: 'none' })}.${encode(claims)}.`,
        `${make({ alg }, claims, key)}x.y`,
      ]
      for (const [at, token] of bad.entries()) assert.equal(await start(token), 401, String(at))
    })
  }
})
