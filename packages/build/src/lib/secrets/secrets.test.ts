import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, hash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'

import type { ImageConfig } from '@fairlead/oci'

import { parseAllowedSecrets } from './allow.ts'
import { checkConfig, checkFiles } from './check.ts'
import { detectNamedSecrets, detectSecrets } from './detect.ts'

const root = mkdtempSync(join(tmpdir(), 'fairlead-secrets-'))
after(() => rmSync(root, { recursive: true }))

/** Random letters and digits, the same in every run: nothing in this file may look like a credential itself. */
function chance(
  seed: string,
  length: number,
  alphabet = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789',
): string {
  const bytes = createHash('sha512').update(seed).digest()
  return Array.from({ length }, (_, at) => alphabet[(bytes[at % 64] ?? 0) % alphabet.length]).join('')
}

/** Split, so that this file holds no prefix of a token in one piece. */
function prefix(...parts: readonly string[]): string {
  return parts.join('')
}

const upper = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
}) as string
const jwt = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url({ sub: '1', admin: true })}.${chance('jwt', 43)}`

const secrets: readonly [rule: string, secret: string, text?: (secret: string) => string][] = [
  ['private-key', pem.split('\n')[1] ?? '', () => pem],
  ['private-key', pem.split('\n')[1] ?? '', () => `const key = ${JSON.stringify(pem)}`],
  ['aws-access-key', `${prefix('AK', 'IA')}${chance('a', 16, upper)}`],
  ['aws-access-key', `${prefix('AK', 'IA')}${chance('a', 16, upper)}`, (secret) => `AWS_ACCESS_KEY_ID=${secret}\n`],
  ['aws-secret-key', chance('s', 40), (secret) => `aws_secret_access_key = ${secret}`],
  ['github-token', `${prefix('gh', 'p_')}${chance('g', 36)}`],
  ['github-token', `${prefix('github_', 'pat_')}${chance('g', 22)}_${chance('h', 59)}`],
  ['gitlab-token', `${prefix('glp', 'at-')}${chance('l', 20)}`],
  ['slack-token', `${prefix('xox', 'b-2048193-')}${chance('x', 24)}`],
  [
    'slack-webhook',
    `T${chance('t', 8, upper)}/B${chance('b', 8, upper)}/${chance('w', 24)}`,
    (secret) => `"https://hooks.slack.com/services/${secret}"`,
  ],
  ['stripe-key', `${prefix('sk_', 'live_')}${chance('k', 24)}`],
  ['google-api-key', `${prefix('AI', 'za')}${chance('z', 35)}`],
  ['npm-token', `${prefix('np', 'm_')}${chance('n', 36)}`],
  ['npmrc-token', chance('m', 36), (secret) => `//registry.acme.dev/:_authToken=${secret}\n`],
  ['openai-key', `${prefix('sk-', 'proj-')}${chance('o', 48)}`],
  ['jwt', jwt],
  ['connection-string', chance('c', 12), (secret) => `const url = 'postgres://shop:${secret}@db.acme.dev:5432/shop'`],
  ['azure-storage-key', `${chance('u', 86)}==`, (secret) => `AccountName=acme;AccountKey=${secret};`],
  ['secret-assignment', chance('r', 32), (secret) => `export const clientSecret = '${secret}'`],
  ['secret-assignment', chance('r', 32), (secret) => `{ "apiKey": "${secret}" }`],
]

describe('detectSecrets', () => {
  for (const [rule, secret, text = (value: string) => `const value = "${value}"`] of secrets) {
    it(`finds ${rule} in ${text('...').slice(0, 40)}, and does not show it`, () => {
      const content = Buffer.from(`line one\n${text(secret)}\n`)
      const found = detectSecrets('src/config.ts', content)
      assert.deepEqual(
        found.map((finding) => finding.rule),
        [rule],
      )
      assert.equal(found[0]?.line, 2)
      assert.ok(!JSON.stringify(found).includes(secret), JSON.stringify(found))
    })
  }

  const harmless = [
    ['an integrity hash', 'package-lock.json', `"integrity": "sha512-${hash('sha512', 'x', 'base64')}"`],
    ['a hash beside a name for secrets', 'src/a.ts', `const secret = 'sha256-${hash('sha256', 'x', 'base64')}'`],
    [
      'base64 data with the letters of a token in it',
      'src/a.ts',
      `"${'QUtJ'.repeat(30)}${prefix('AK', 'IA')}${chance('a', 16, upper)}${'QUtJ'.repeat(30)}"`,
    ],
    ['a header of a key', 'src/pem.ts', `if (text.startsWith('-----BEGIN PRIVATE KEY-----')) return parse(text)`],
    ['the key AWS uses in its documents', 'src/a.ts', `"${prefix('AK', 'IA')}IOSFODNN7EXAMPLE"`],
    ['a password to be filled in', 'src/a.ts', '`postgres://shop:${password}@db.acme.dev/shop`'],
    ['a password for this machine', 'src/a.ts', `'postgres://postgres:${chance('p', 12)}@localhost:5432/shop'`],
    ['a URL with a port', 'src/a.ts', `'http://shop.acme.dev:8080/users/@me'`],
    ['words', 'src/a.ts', `const passwordPlaceholderText = 'enter-your-new-password-here'`],
    ['the name of a secret', 'src/a.ts', `{ secretName: 'orders-database-7f8d9c6b5x2k4' }`],
    ['the name of a variable', 'src/a.ts', `{ apiKey: 'process.env.ORDERS_API_KEY_2' }`],
    [
      'the token of jwt.io',
      'src/a.ts',
      `"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.${prefix('SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_', 'adQssw5c')}"`,
    ],
    ['a random value in a published package', 'node_modules/a/index.js', `{ "apiKey": "${chance('r', 32)}" }`],
    ['a random value in a fixture', 'test/fixtures/a.json', `{ "apiKey": "${chance('r', 32)}" }`],
    ['names in a source map', 'public/app.js.map', `{"names":["apiKey","${chance('r', 32)}"],"mappings":"AAAA,SAASA"}`],
    ['an example of an environment file', '.env.example', 'PASSWORD=changeme'],
  ] as const
  for (const [name, path, text] of harmless) {
    it(`takes ${name} for no secret`, () => assert.deepEqual(detectSecrets(path, Buffer.from(text)), []))
  }

  it('knows files of credentials by their names', () => {
    for (const path of [
      '.env',
      'config/.env.production',
      'id_rsa',
      'keys/server.p12',
      '.git-credentials',
      'state/prod.tfstate',
    ]) {
      assert.equal(detectSecrets(path, Buffer.from('x'))[0]?.rule, 'credential-file', path)
    }
  })

  const parts = [
    { name: 'a region', mark: '//#region ', end: '//#endregion' },
    { name: 'a comment', mark: '// ', end: '' },
  ]
  for (const { name, mark, end } of parts)
    it(`names the source file of a part of a bundle that is marked by ${name}, and its line there`, () => {
      const secret = `${prefix('gh', 'p_')}${chance('g', 36)}`
      const bundle = `${mark}node_modules/a/index.js\nvar a = 1;\n${end}\n${mark}src/config.ts\nconst t = "${secret}";\n${end}\n`
      const source = `// one\n// two\nconst t: string = "${secret}"\n`
      const [found] = detectSecrets('main.js', Buffer.from(bundle), {
        readSource: (path) => (path === 'src/config.ts' ? source : undefined),
      })
      assert.deepEqual([found?.path, found?.line], ['src/config.ts', 3])
      assert.deepEqual(
        detectSecrets('main.js', Buffer.from(bundle)).map(({ line }) => line),
        [5],
      )
    })

  it('searches packages in a bundle for exact forms of credentials only', () => {
    const value = `const apiKey = "${chance('k', 32)}"`
    const inPackage = `// node_modules/a/data.json\n${value}\n`
    assert.deepEqual(detectSecrets('chunk-vendor.js', Buffer.from(inPackage)), [])
    assert.equal(detectSecrets('main.js', Buffer.from(inPackage.replace('node_modules/a', 'src'))).length, 1)
    assert.equal(detectSecrets('public/main.js', Buffer.from(inPackage)).length, 1)
  })

  it('finds a key in a binary file, and nothing else', () => {
    const text = `\0\0${pem}\0 ${prefix('gh', 'p_')}${chance('g', 36)}`
    assert.deepEqual(
      detectSecrets('public/a.bin', Buffer.from(text)).map(({ rule }) => rule),
      ['private-key'],
    )
  })

  it('keeps the time for one file in bounds, whatever is in it', () => {
    const nasty = [
      'a:'.repeat(50_000),
      'eyJ'.repeat(50_000),
      '://'.repeat(30_000),
      'secret'.repeat(20_000),
      'x'.repeat(200_000),
    ]
    for (const text of nasty) {
      // The time this thread worked: the machine may have other work.
      const before = process.threadCpuUsage()
      detectSecrets('src/a.ts', Buffer.from(text))
      const { user, system } = process.threadCpuUsage(before)
      const tookMs = (user + system) / 1000
      assert.ok(tookMs < 3000, `${text.slice(0, 9)} took ${tookMs} ms`)
    }
  })
})

describe('detectNamedSecrets', () => {
  it('finds values by their form and by their names', () => {
    const rules = (name: string, value: string): string[] =>
      detectNamedSecrets('c', [[name, value]]).map(({ rule }) => rule)
    assert.deepEqual(rules('DATABASE_URL', `postgres://shop:${chance('c', 12)}@db.acme.dev/shop`), [
      'connection-string',
    ])
    assert.deepEqual(rules('DB_PASSWORD', 'hunter2-hunter'), ['secret-variable'])
    assert.deepEqual(rules('DB_PASSWORD', ''), [])
    assert.deepEqual(rules('PASSWORD_FILE', '/run/secrets/password'), [])
    assert.deepEqual(rules('NODE_VERSION', '24.21.0'), [])
    assert.deepEqual(rules('SSL_CERT_FILE', '/etc/ssl/certs/ca-certificates.crt'), [])
  })
})

describe('checkFiles', () => {
  const memory = (): {
    read<T>(key: string): Promise<T | undefined>
    write(key: string, value: unknown): Promise<void>
  } => {
    const kept = new Map<string, unknown>()
    return {
      read: <T>(key: string) => Promise.resolve(kept.get(key) as T | undefined),
      write: (key, value) => Promise.resolve(void kept.set(key, value)),
    }
  }
  const secret = `${prefix('glp', 'at-')}${chance('l', 20)}`
  const entries = [{ path: 'app/main.js', type: 'file' as const, content: Buffer.from(`const t = "${secret}"`) }]
  const refusal = async (dir: string): Promise<Error & { findings: { fingerprint: string }[] }> =>
    checkFiles({ dir }, entries, { cache: memory() }).then(
      () => assert.fail('was not refused'),
      (error: unknown) => error as Error & { findings: { fingerprint: string }[] },
    )

  it('refuses, naming file, line and rule, not the value', async () => {
    const dir = mkdtempSync(join(root, 'x-'))
    const error = await refusal(dir)
    assert.equal((error as { code?: string }).code, 'FAIRLEAD_BUILD_SECRET')
    assert.match(error.message, /main\.js:1: GitLab token \(gitlab-token\)/)
    assert.ok(!error.message.includes(secret))
  })

  it('lets pass what the list in the folder allows, by fingerprint or for the whole file', async () => {
    const dir = mkdtempSync(join(root, 'x-'))
    const [finding] = (await refusal(dir)).findings
    const list = (more: string): void =>
      writeFileSync(
        join(dir, 'fairlead.secrets.yaml'),
        `allow:\n  - rule: gitlab-token\n    path: "*.js"\n    reason: of a closed account\n${more}`,
      )
    list(`    fingerprint: "${finding?.fingerprint}"\n`)
    await checkFiles({ dir }, entries, { cache: memory() })
    list('    fingerprint: "0000"\n')
    await assert.rejects(checkFiles({ dir }, entries, { cache: memory() }), { code: 'FAIRLEAD_BUILD_SECRET' })
    list('')
    await checkFiles({ dir }, entries, { cache: memory() })
  })

  it('finds again what it found before, and does not search again what was clean', async () => {
    const dir = mkdtempSync(join(root, 'x-'))
    const cache = memory()
    for (const _ of [1, 2])
      await assert.rejects(checkFiles({ dir }, entries, { cache }), { code: 'FAIRLEAD_BUILD_SECRET' })
    const clean = [{ path: 'app/a.js', type: 'file' as const, content: Buffer.from('const a = 1') }]
    await checkFiles({ dir }, clean, { cache })
    let writes = 0
    await checkFiles({ dir }, clean, { cache: { ...cache, write: () => Promise.resolve(void (writes += 1)) } })
    assert.equal(writes, 0)
  })

  it('refuses variables of the image', async () => {
    const config: ImageConfig = {
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: [] },
      config: { Env: [`TOKEN=${secret}`] },
    }
    await assert.rejects(checkConfig({ dir: root }, config, {}), { code: 'FAIRLEAD_BUILD_SECRET' })
    await checkConfig({ dir: root }, config, {
      allowed: [{ rule: 'gitlab-token', path: 'image configuration', reason: 'test' }],
    })
  })
})

describe('parseAllowedSecrets', () => {
  for (const text of [
    '{',
    'a: b',
    'allow: [{rule: jwt, path: a}]',
    'allow: [{rule: jwt, path: a, reason: b, fingerprint: 1}]',
  ]) {
    it(`refuses ${text}`, async () => {
      await assert.rejects(parseAllowedSecrets('x.yaml', text), { code: 'FAIRLEAD_BUILD_SECRET_ALLOW' })
    })
  }
})
