// `fairlead config check` and `fairlead init` as a person meets them, without installing or building anything.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempDisposableSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const launcher = fileURLToPath(new URL('../bin/fairlead.mjs', import.meta.url))
const modules = fileURLToPath(new URL('../../../node_modules', import.meta.url))

const orders = {
  'package.json': '{"name":"orders","type":"module","main":"src/main.ts"}',
  'tsconfig.json': '{"compilerOptions":{"customConditions":["@fairlead/source"]}}',
  'src/main.ts': `import { run, service } from '@fairlead/service'
import { defineConfig, integer, secret, url } from '@fairlead/service/config'
import { z } from 'zod'
console.log('noise')
const config = defineConfig(
  { db: { url: url(), password: secret() }, pool: z.number().max(20).default(10).refine((n) => n % 2 === 0, 'must be even'), max: integer({ default: 1 }) },
  { env: 'ORDERS_', dir: '/etc/orders' },
)
await run(service({ name: 'orders', config, fetch: () => { throw new Error('it runs') } }))
`,
  'config.yaml': `apiVersion: v1
kind: ConfigMap
metadata: { name: orders }
data:
  db.url: postgres://db/orders
  pool: "13"
`,
  'secret.yaml': `apiVersion: v1
kind: Secret
metadata: { name: orders }
data: { db.password: aHVudGVyMg== }
`,
}

describe('fairlead config check', () => {
  it('names every problem with origin and way out, and exits with 1', async () => {
    using app = temporary(orders)
    const { code, stdout, stderr } = await fairlead(app.path, ['config', 'check', '--configmap', 'config.yaml'])
    assert.deepEqual([code, stderr], [1, ''])
    assert.equal(
      stdout,
      [
        'fail  orders: 2 problems',
        '  db.password is missing, expected a text, not empty',
        '    Set the variable ORDERS_DB__PASSWORD, or the key "db.password" mounted at /etc/orders',
        '  pool is not valid: must be even (file ConfigMap orders/pool)',
        '',
      ].join('\n'),
    )
  })

  it('takes ConfigMap, Secret, folder and env file together, and shows no secret', async () => {
    using app = temporary({ ...orders, 'values/max': '7\n', 'prod.env': 'ORDERS_POOL=12\nORDERS_MAX_=1\n' })
    const args = [
      '--configmap',
      'config.yaml',
      '--secret',
      'secret.yaml',
      '--dir',
      'values',
      '--env-file',
      'prod.env',
      '--explain',
    ]
    const { code, stdout } = await fairlead(app.path, ['config', 'check', ...args])
    assert.equal(code, 0, stdout)
    assert.match(stdout, /^ok {4}orders: 4 keys\n/)
    assert.match(stdout, /db\.password .*\[redacted\] +file Secret orders\/db\.password/)
    assert.match(stdout, /^pool .* 12 +env ORDERS_POOL$/m)
    assert.doesNotMatch(stdout, /hunter2/)
  })

  it('takes the environment of the shell when nothing is given, and prints JSON', async () => {
    using app = temporary(orders)
    const env = { ORDERS_DB_URL: 'postgres://u:hunter2@db', ORDERS_DB_PASSWORD: 'hunter2', ORDERS_POL: '1' }
    const { code, stdout } = await fairlead(app.path, ['config', 'check', '--json'], env)
    const [service] = JSON.parse(stdout).services
    assert.deepEqual([code, service.name, service.isValid, service.problems], [0, 'orders', true, []])
    assert.match(service.warnings[0].message, /ORDERS_POL is not a known variable, did you mean "ORDERS_POOL"\?/)
    assert.doesNotMatch(stdout, /hunter2/)
  })

  it('reads what fairlead.config.ts gives the service, and its references to a given Secret', async () => {
    using app = temporary({
      ...orders,
      'fairlead.config.json': JSON.stringify({
        name: 'shop',
        services: {
          orders: {
            dir: '.',
            env: { ORDERS_DB_URL: 'nowhere', ORDERS_DB_PASSWORD: { secret: 'orders', key: 'db.password' } },
          },
        },
      }),
    })
    const { code, stdout } = await fairlead(app.path, ['config', 'check', '--secret', 'secret.yaml'])
    assert.equal(code, 1)
    assert.match(stdout, /^fail {2}orders: 1 problem\n {2}db.url is "nowhere", expected a URL/)
    const other = await fairlead(app.path, ['config', 'check', '--service', 'web'])
    assert.deepEqual([other.code, other.stderr.includes('hint: Its services are orders')], [1, true])
  })

  it('prints the JSON Schema', async () => {
    using app = temporary(orders)
    const { code, stdout } = await fairlead(app.path, ['config', 'check', '--schema'])
    const schema = JSON.parse(stdout)
    assert.deepEqual([code, schema.required, schema.properties.pool.maximum], [0, ['db'], 20])
  })

  const broken: [string, Record<string, string>, string[], RegExp][] = [
    [
      'a service without configuration',
      {
        'src/main.ts':
          "import { run, service } from '@fairlead/service'\nawait run(service({ name: 'x', fetch: () => 1 }))",
      },
      [],
      /no service in it has any/,
    ],
    [
      'a main module that throws',
      { 'src/main.ts': "throw new Error('not today')" },
      [],
      /it failed while it was loaded[^]*not today/,
    ],
    [
      'a main module with a syntax error',
      { 'src/main.ts': 'const = 1' },
      [],
      /it failed while it was loaded[^]*SyntaxError/,
    ],
    ['a manifest without ConfigMap', {}, ['--configmap', 'secret.yaml'], /it holds no ConfigMap/],
    ['a manifest that is not there', {}, ['--secret', 'none.yaml'], /none.yaml": it is not there/],
    ['a folder that is not there', {}, ['--dir', 'none'], /it is not there, or holds no file/],
  ]
  for (const [name, files, args, message] of broken) {
    it(`exits with 2 for ${name}`, async () => {
      using app = temporary({ ...orders, ...files })
      const { code, stdout, stderr } = await fairlead(app.path, ['config', 'check', ...args])
      assert.match(stderr, message)
      assert.deepEqual([code, stdout], [2, ''])
    })
  }
})

describe('fairlead init', () => {
  it('writes a service named like its folder, and says what is next', async () => {
    using parent = temporary({})
    const { code, stdout, stderr } = await fairlead(parent.path, ['init', 'My_Notes 2'])
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^my-notes-2: 12 files in /)
    assert.match(stderr, /next: cd My_Notes 2 && npm install && npm test/)
    const manifest = JSON.parse(readFileSync(join(parent.path, 'My_Notes 2', 'package.json'), 'utf8'))
    assert.equal(manifest.name, 'my-notes-2')
    assert.match(manifest.dependencies['@fairlead/service'], /^file:.*packages\/service$/)
  })

  it('refuses a folder with files, writes beside them when forced, and takes one with only .git for empty', async () => {
    using app = temporary({ 'notes.txt': 'mine', 'README.md': 'old' })
    const refused = await fairlead(app.path, ['init', '--name', 'notes'])
    assert.equal(refused.code, 2)
    assert.match(refused.stderr, /there is "README.md" and 1 more in it\nhint: Name an empty folder, or add --force/)
    assert.deepEqual(
      readdirSync(app.path).toSorted(),
      ['README.md', 'node_modules', 'notes.txt'].filter((name) => existsSync(join(app.path, name))),
    )
    const forced = await fairlead(app.path, ['init', '--name', 'notes', '--force', '--json'])
    assert.equal(forced.code, 0, forced.stderr)
    assert.deepEqual([JSON.parse(forced.stdout).name, JSON.parse(forced.stdout).files.length], ['notes', 12])
    assert.equal(readFileSync(join(app.path, 'notes.txt'), 'utf8'), 'mine')
    assert.match(readFileSync(join(app.path, 'README.md'), 'utf8'), /^# notes/)
    using fresh = temporary({ '.git/HEAD': 'ref: refs/heads/main' })
    assert.equal((await fairlead(fresh.path, ['init', '--name', 'await'])).code, 0)
    assert.match(readFileSync(join(fresh.path, 'src', 'service.ts'), 'utf8'), /export const awaitService = /)
  })

  it('refuses a file, and a name that no service can have', async () => {
    using parent = temporary({ file: 'x' })
    assert.match((await fairlead(parent.path, ['init', 'file'])).stderr, /it is a file/)
    const named = await fairlead(parent.path, ['init', 'x', '--name', 'Not A Name'])
    assert.deepEqual([named.code, existsSync(join(parent.path, 'x'))], [2, false])
    assert.match((await fairlead(parent.path, ['init', '123'])).stderr, /"" is no name of a service/)
  })
})

function temporary(files: Readonly<Record<string, string>>): Disposable & { readonly path: string } {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-config-cli-'))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder.path, name)), { recursive: true })
    writeFileSync(join(folder.path, name), content)
  }
  if ('src/main.ts' in files) symlinkSync(modules, join(folder.path, 'node_modules'))
  return { path: folder.path, [Symbol.dispose]: () => folder.remove() }
}

interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

async function fairlead(
  cwd: string,
  args: readonly string[],
  more: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  using home = mkdtempDisposableSync(join(tmpdir(), 'fairlead-home-'))
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env
  const env = {
    ...inherited,
    FAIRLEAD_HOME: home.path,
    FAIRLEAD_CACHE: join(home.path, 'cache'),
    NO_COLOR: '1',
    ...more,
  }
  const { promise, resolve } = Promise.withResolvers<Finished>()
  execFile(process.execPath, [launcher, ...args], { cwd, env, timeout: 60_000 }, (error, stdout, stderr) =>
    resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
  )
  return await promise
}
