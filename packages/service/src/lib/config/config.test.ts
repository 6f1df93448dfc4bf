import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import * as v from 'valibot'
import { z } from 'zod'
import { checkConfig, defineConfig } from './define.ts'
import type { AnyConfigDefinition } from './define.ts'
import { openConfig } from './open.ts'
import type { ConfigValues } from './options.ts'
import {
  boolean,
  choice,
  duration,
  flags,
  integer,
  list,
  number,
  port,
  record,
  secret,
  size,
  text,
  url,
} from './values.ts'

const orders = defineConfig(
  {
    port: port({ default: 8080 }),
    db: {
      url: url({ protocols: ['postgres'], help: 'The database of orders.' }),
      password: secret(),
      timeout: duration({ default: '5s', max: '1m' }),
      maxPool: integer({ default: 10, min: 1 }),
    },
    upload: size({ default: '16MiB' }),
    mode: choice(['fast', 'safe'], { default: 'safe' }),
    hosts: list(text(), { default: [] }),
    limits: record(number()),
    features: flags({ newCheckout: false, darkMode: true }),
    note: text({ optional: true }),
  },
  { env: 'ORDERS_', dir: '/etc/orders', files: ['orders.yaml'], args: [] },
)
const required = { ORDERS_DB__URL: 'postgres://db/orders', ORDERS_DB__PASSWORD: 'hunter2' }

describe('defineConfig', () => {
  it('infers the type of the value', async () => {
    await using config = await openConfig(orders, { env: required, dir: [], files: [] })
    const value: {
      readonly port: number
      readonly db: { readonly url: string; readonly timeout: number; readonly maxPool: number }
      readonly mode: 'fast' | 'safe'
      readonly hosts: readonly string[]
      readonly limits: Readonly<Record<string, number>>
      readonly features: { readonly newCheckout: boolean; readonly darkMode: boolean }
      readonly note: string | undefined
    } = config.value
    assert.partialDeepStrictEqual(value, {
      port: 8080,
      db: { url: 'postgres://db/orders', timeout: 5000, maxPool: 10 },
      upload: 16_777_216,
      mode: 'safe',
      hosts: [],
      limits: {},
      features: { newCheckout: false, darkMode: true },
    })
    assert.equal(config.value.db.password.reveal(), 'hunter2')
    // @ts-expect-error there is no such key
    assert.equal(config.origin('db.nothing'), undefined)
  })

  it('refuses what is no schema, and keys that one variable would set', () => {
    const code = 'FAIRLEAD_SERVICE_CONFIG_DEFINITION'
    // @ts-expect-error a text is no schema
    assert.throws(() => defineConfig({ db: { url: 'x' } }), { code, message: /"db.url"/ })
    assert.throws(() => text({ pattern: '(' }), { code, message: /no regular expression/ })
    assert.throws(() => defineConfig({ dbUrl: text(), db_url: text() }), { code, message: /DB_URL, and so is "dbUrl"/ })
  })
})

describe('checkConfig', () => {
  it('lays defaults, files, mounted keys, environment and flags over one another, and knows each origin', async () => {
    const values: ConfigValues = {
      files: [{ name: 'orders.yaml', text: 'port: 1\nupload: 1KiB\nmode: fast\nlimits:\n  a: 1\n  b: 2\n' }],
      mounted: [{ name: '/etc/orders', entries: { upload: '2KiB\n', 'limits.b': '3', 'db.maxPool': '4' } }],
      env: { ...required, ORDERS_UPLOAD: '3KiB', ORDERS_DB__MAX_POOL: '5' },
      args: ['--db-max-pool=6', '--hosts', 'a,b', '--features.new-checkout', '--no-features-dark-mode'],
    }
    const { problems, warnings, keys } = await checkConfig(orders, values)
    assert.deepEqual([problems, warnings], [[], []])
    assert.deepEqual(
      keys.map(({ key, value, origin }) => [key, value, origin]),
      [
        ['port', 1, 'file orders.yaml:1'],
        ['db.url', 'postgres://db/orders', 'env ORDERS_DB__URL'],
        ['db.password', '[redacted]', 'env ORDERS_DB__PASSWORD'],
        ['db.timeout', 5000, 'default'],
        ['db.maxPool', 6, 'flag --db-max-pool'],
        ['upload', 3072, 'env ORDERS_UPLOAD'],
        ['mode', 'fast', 'file orders.yaml:3'],
        ['hosts', ['a', 'b'], 'flag --hosts'],
        ['limits', { a: 1, b: 3 }, 'file orders.yaml:5, file /etc/orders/limits.b'],
        ['features.newCheckout', true, 'flag --features.new-checkout'],
        ['features.darkMode', false, 'flag --no-features-dark-mode'],
        ['note', undefined, undefined],
      ],
    )
  })

  it('names every problem at once: key, state, expectation, origin and the near miss', async () => {
    const { problems, warnings } = await checkConfig(orders, {
      files: [
        { name: 'orders.yaml', text: 'port: "90"\ndb:\n  ulr: x\n  timeout: 5\nfeatures: { newChekout: true }\n' },
      ],
      mounted: [{ name: '/etc/orders', entries: { moed: 'fast', limits: 'a=x' } }],
      env: { ORDERS_UPLOAD: 'big', ORDERS_DB__MAX_POOL: '0', ORDERS_HOTSS: 'a' },
      args: ['--prot=1', '--mode'],
    })
    assert.deepEqual(
      problems.map(({ message }) => message),
      [
        'moed is not a known key, did you mean "mode"? (file /etc/orders/moed)',
        '--prot is not a known flag, did you mean "--port"? (flag --prot)',
        'flag --mode: it needs a value, as in --mode=...',
        'port is "90", expected a port from 1 to 65535 (remove the quotes) (file orders.yaml:1)',
        'db.ulr is not a known key, did you mean "url"? (file orders.yaml:3)',
        'db.url is missing, expected a URL beginning with postgres://',
        'db.password is missing, expected a text, not empty',
        'db.timeout is 5, expected a duration such as 5s of at most 1m (write "5s" or "5ms") (file orders.yaml:4)',
        'db.maxPool is "0", expected a whole number of at least 1 (env ORDERS_DB__MAX_POOL)',
        'upload is "big", expected a size such as 16MiB (env ORDERS_UPLOAD)',
        'limits.a is "x", expected a number (file /etc/orders/limits)',
        'features.newChekout is not a known key, did you mean "newCheckout"? (file orders.yaml:5)',
      ],
    )
    assert.equal(
      problems.find(({ key }) => key === 'db.url')?.hint,
      'Set the variable ORDERS_DB__URL, or the key "db.url" mounted at /etc/orders, or "db.url" in orders.yaml, or the flag --db-url',
    )
    assert.deepEqual(
      warnings.map(({ message }) => message),
      ['ORDERS_HOTSS is not a known variable, did you mean "ORDERS_HOSTS"? (env ORDERS_HOTSS)'],
    )
  })

  it('finds the same without the code, from the JSON Schema that an image carries', async () => {
    const schema = JSON.parse(JSON.stringify(orders.jsonSchema()))
    const values: ConfigValues = {
      mounted: [
        { name: '/etc/orders', entries: { 'config.yaml': 'db: { timeout: 2m }\nmoed: x', upload: '1 parsec' } },
      ],
      env: { ORDERS_DB__URL: 'http://x' },
    }
    const withCode = await checkConfig(orders, values)
    assert.equal(withCode.isValid, false)
    const messages = ({ problems }: typeof withCode): string[] => problems.map(({ message }) => message)
    assert.deepEqual(messages(await checkConfig(schema, values)), messages(withCode))
    assert.equal((await checkConfig(schema, { env: required })).isValid, true)
  })

  it('takes what Kubernetes puts into the environment for a Service of the same name for no key of ours', async () => {
    const links = {
      ORDERS_SERVICE_HOST: '10.0.0.7',
      ORDERS_SERVICE_PORT: '80',
      ORDERS_SERVICE_PORT_HTTP: '80',
      ORDERS_PORT: 'tcp://10.0.0.7:80',
      ORDERS_PORT_80_TCP: 'tcp://10.0.0.7:80',
      ORDERS_PORT_80_TCP_ADDR: '10.0.0.7',
    }
    const report = await checkConfig(orders, { env: { ...required, ...links } })
    assert.deepEqual([report.problems, report.warnings], [[], []])
    assert.equal(report.keys[0]?.origin, 'default')
    const set = await checkConfig(orders, { env: { ...required, ...links, ORDERS_PORT: '81' } })
    assert.equal(set.keys[0]?.value, 81)
  })

  it('takes a variable that is set to nothing for one that is not set, and says which of two spellings it used', async () => {
    const env = { ...required, ORDERS_PORT: ' ', ORDERS_DB_MAX_POOL: '1', ORDERS_DB__MAX_POOL: '2' }
    const { keys, warnings } = await checkConfig(orders, { env })
    assert.equal(keys[0]?.origin, 'default')
    assert.equal(keys.find(({ key }) => key === 'db.maxPool')?.value, 2)
    assert.match(warnings[0]?.message ?? '', /set by ORDERS_DB_MAX_POOL and by ORDERS_DB__MAX_POOL/)
  })

  it('reads lists and groups out of one text', async () => {
    const cases: [ConfigValues, unknown, unknown][] = [
      [{ env: { ...required, ORDERS_HOSTS: '["a", "b,c"]', ORDERS_LIMITS: '{"a": 1}' } }, ['a', 'b,c'], { a: 1 }],
      [{ env: { ...required, ORDERS_HOSTS: ' a , b ', ORDERS_LIMITS: 'a=1, b=2' } }, ['a', 'b'], { a: 1, b: 2 }],
      [{ env: { ...required, ORDERS_LIMITS__MAX_RATE: '7' } }, [], { maxRate: 7 }],
      [
        { env: required, mounted: [{ name: 'd', entries: { hosts: '- a\n- b\n', limits: 'a: 1\r\nb: 2\r\n' } }] },
        ['a', 'b'],
        { a: 1, b: 2 },
      ],
    ]
    for (const [values, hosts, limits] of cases) {
      const { problems, keys } = await checkConfig(orders, values)
      assert.deepEqual(problems, [])
      assert.deepEqual(keys.find(({ key }) => key === 'hosts')?.value, hosts)
      assert.deepEqual(keys.find(({ key }) => key === 'limits')?.value, limits)
    }
  })

  describe('with schemas of other libraries', () => {
    const schemas: [string, AnyConfigDefinition][] = [
      [
        'zod',
        defineConfig(
          z.object({
            db: z.object({ url: z.url(), pool: z.number().max(20).default(10) }),
            tags: z.array(z.string()).default([]),
            isFast: z.boolean().default(false),
          }),
          { env: 'X_' },
        ),
      ],
      [
        'arktype',
        defineConfig(
          type({
            db: { url: 'string.url', pool: 'number<=20 = 10' },
            tags: type('string[]').default(() => []),
            isFast: 'boolean = false',
          }),
          { env: 'X_' },
        ),
      ],
      [
        'valibot',
        defineConfig(
          toStandardJsonSchema(
            v.object({
              db: v.object({
                url: v.pipe(v.string(), v.url()),
                pool: v.optional(v.pipe(v.number(), v.maxValue(20)), 10),
              }),
              tags: v.optional(v.array(v.string()), []),
              isFast: v.optional(v.boolean(), false),
            }),
          ),
          { env: 'X_' },
        ),
      ],
      [
        'valibot without JSON Schema',
        defineConfig(
          v.object({
            db: v.object({
              url: v.pipe(v.string(), v.url()),
              pool: v.optional(v.pipe(v.number(), v.maxValue(20)), 10),
            }),
            tags: v.optional(v.array(v.string()), []),
            isFast: v.optional(v.boolean(), false),
          }),
          { env: 'X_' },
        ),
      ],
    ]
    for (const [name, definition] of schemas) {
      it(`reads numbers, truths and lists out of the environment for ${name}`, async () => {
        const env = { X_DB__URL: 'http://db', X_DB__POOL: '12', X_TAGS: 'a,b', X_IS_FAST: 'true' }
        await using config = await openConfig(definition, { env })
        assert.deepEqual(config.value, { db: { url: 'http://db', pool: 12 }, tags: ['a', 'b'], isFast: true })
        assert.equal(Object.isFrozen((config.value as { db: object }).db), true)
      })

      it(`names the key and the variable of what ${name} refuses`, async () => {
        const env = { X_DB__URL: 'nowhere', X_DB__POOL: '21' }
        const { problems } = await checkConfig(definition, { env })
        assert.deepEqual(
          problems.map(({ key, origin }) => [key, origin]),
          [
            ['db.url', 'env X_DB__URL'],
            ['db.pool', 'env X_DB__POOL'],
          ],
        )
        const missing = await checkConfig(definition, { env: {} })
        assert.equal(missing.problems[0]?.kind, 'missing')
        assert.match(missing.problems[0]?.key ?? '', /^db/)
      })
    }

    it('refuses keys that zod would drop, and takes those of a loose object', async () => {
      const strict = defineConfig({ part: z.object({ url: z.string().optional() }) })
      const loose = defineConfig({
        part: z.looseObject({ url: z.string().optional() }),
        map: z.record(z.string(), z.number()).optional(),
      })
      const files = [{ name: 'x.json', text: '{ "part": { "ulr": "x" } }' }]
      assert.deepEqual(
        (await checkConfig(strict, { files })).problems.map(({ message }) => message),
        ['part.ulr is not a known key, did you mean "url"? (file x.json:1)'],
      )
      assert.equal((await checkConfig(loose, { files })).isValid, true)
      assert.equal(
        (await checkConfig(loose, { files: [{ name: 'x.json', text: '{ "map": { "a": 1 } }' }] })).isValid,
        true,
      )
    })

    it('keeps references inside the JSON Schema of a part working', async () => {
      interface Tree {
        readonly name: string
        readonly below?: Tree | undefined
      }
      const tree: z.ZodType<Tree> = z.object({
        name: z.string(),
        get below() {
          return tree.optional()
        },
      })
      const schema = JSON.parse(JSON.stringify(defineConfig({ tree }).jsonSchema()))
      const check = async (value: string): Promise<string[]> =>
        (await checkConfig(schema, { files: [{ name: 'x.json', text: value }] })).problems.map(({ key }) => key)
      assert.deepEqual(await check('{"tree":{"name":"a","below":{"name":"b"}}}'), [])
      assert.deepEqual(await check('{"tree":{"name":"a","below":{"name":1}}}'), ['tree.below.name'])
    })

    it('says what happened when a schema throws', async () => {
      const bad = defineConfig({
        a: z.string().transform(() => {
          throw new Error('oops')
        }),
      })
      const { problems } = await checkConfig(bad, { files: [{ name: 'x.json', text: '{"a":"1"}' }] })
      assert.match(problems[0]?.message ?? '', /a is not valid: its schema failed: oops \(file x.json:1\)/)
    })
  })
})

describe('secrets in a configuration', () => {
  const definition = defineConfig(
    {
      token: secret(),
      keys: secret(list(text())),
      pin: secret(z.string().length(4)),
      password: z.string().max(3).optional(),
      db: url({ optional: true }),
    },
    { env: 'S_' },
  )

  it('are in no error, warning, report or print', async () => {
    const values: ConfigValues[] = [
      { files: [{ name: 'x.yaml', text: 'token: [hunter2]\nkeys: {a: hunter2}\npin: hunter2\npassword: hunter2\n' }] },
      { files: [{ name: 'x.yaml', text: 'token: "hunter2\nkeys: a' }] },
      {
        files: [{ name: 'x.yaml', text: 'hunter2: 1\ntoken: *hunter2x' }].map(({ name }) => ({
          name,
          text: 'token: hunter2: b',
        })),
      },
      { files: [{ name: 'x.json', text: '{"token": hunter2}' }] },
      { files: [{ name: 'x.toml', text: 'token = hunter2' }] },
      { files: [{ name: 'x.toml', text: 'token = "hunter2' }] },
      {
        env: {
          S_TOKEN: 'ok',
          S_KEYS: '[hunter2',
          S_PIN: 'hunter2',
          S_PASSWORD: 'hunter2',
          S_DB: 'postgres//u:hunter2@x',
        },
      },
      { env: { S_TOKEN: 'hunter2', S_KEYS: 'hunter2', S_PIN: '1234', S_DB: 'postgres://u:hunter2@db' } },
    ]
    for (const value of values) {
      const report = await checkConfig(definition, value)
      assert.doesNotMatch(
        JSON.stringify({ ...report, db: undefined }).replace('postgres//u:hunter2@x', ''),
        /hunter2/,
        JSON.stringify(value),
      )
    }
    await using config = await openConfig(definition, { env: values.at(-1)?.env })
    assert.doesNotMatch(JSON.stringify([config.value, config.describe()]).replace('u:hunter2@db', ''), /hunter2/)
    assert.doesNotMatch(inspect(config.value).replace('u:hunter2@db', ''), /hunter2/)
    assert.deepEqual(
      [config.value.token.reveal(), config.value.keys.reveal(), config.value.pin.reveal()],
      ['hunter2', ['hunter2'], '1234'],
    )
  })
})

describe('documents', () => {
  const definition = defineConfig({
    name: text({ default: 'x' }),
    on: boolean({ optional: true }),
    inner: { a: number({ optional: true }), list: list(number(), { optional: true }) },
    map: record(text()),
  })
  const check = async (name: string, content: string): Promise<string[]> =>
    (await checkConfig(definition, { files: [{ name, text: content }] })).problems.map(({ message }) => message)

  const fine: [string, string, string][] = [
    ['empty', 'x.yaml', ''],
    ['nothing but a comment', 'x.yaml', '# nothing\n'],
    ['empty JSON', 'x.json', ' \n'],
    ['a byte order mark', 'x.json', '\uFEFF{"name": "a"}'],
    ['a byte order mark in YAML', 'x.yaml', '\uFEFFname: a\n'],
    ['CRLF', 'x.yaml', 'name: a\r\ninner:\r\n  a: 1\r\n'],
    ['CRLF in TOML', 'x.toml', 'name = "a"\r\n[inner]\r\na = 1\r\n'],
    ['keys without value', 'x.yaml', 'name:\ninner:\n'],
    ['aliases and merge keys', 'x.yml', 'inner: &x { a: 1 }\nmap: { b: c }\n'],
    ['tabs in JSON', 'x.json', '{\n\t"inner": {\n\t\t"a": 1e0\n\t}\n}\n'],
    ['a quoted "no"', 'x.yaml', 'map: { norway: no }'],
  ]
  for (const [name, file, content] of fine)
    it(`takes ${name}`, async () => assert.deepEqual(await check(file, content), []))

  const wrong: [string, string, string, RegExp][] = [
    ['a list', 'x.yaml', '- a\n', /file x.yaml:1: it holds a list, expected keys/],
    ['a single value', 'x.json', '"a"', /it holds a single value/],
    ['two documents', 'x.yaml', 'name: a\n---\nname: b\n', /file x.yaml:\d: it holds more than one document/],
    ['a cycle', 'x.yaml', 'inner: &a\n  list: *a\n', /nested more than 64 deep, or an alias stands inside itself/],
    ['an unknown alias', 'x.yaml', 'name: *nobody\n', /file x.yaml:1: /],
    ['an alias bomb', 'x.yaml', bomb(), /more than 20000 values, aliases written out/],
    ['a duplicate key', 'x.yaml', 'name: a\nname: b\n', /file x.yaml:2: a key is there twice/],
    [
      'a duplicate key in JSON',
      'x.json',
      '{\n"name": "a",\n"name": "b"}',
      /file x.json:3: the key "name" is there twice/,
    ],
    ['a duplicate key in TOML', 'x.toml', 'name = "a"\nname = "b"\n', /file x.toml:2: /],
    ['__proto__', 'x.json', '{"__proto__": {"name": "x"}}', /__proto__ is not a known key/],
    [
      '__proto__ in a record',
      'x.yaml',
      'map:\n  __proto__: x\n',
      /map.__proto__ is not a permitted key \(file x.yaml:2\)/,
    ],
    ['a number where text belongs', 'x.yaml', 'name: 1.10\n', /name is 1.1, expected a text \(put it in quotes\)/],
    [
      'a text where a number belongs',
      'x.yaml',
      'inner:\n  a: "1"\n',
      /inner.a is "1", expected a number \(remove the quotes\) \(file x.yaml:2\)/,
    ],
    [
      'a truth in quotes',
      'x.toml',
      'on = "true"',
      /on is "true", expected true or false \(remove the quotes\) \(file x.toml:1\)/,
    ],
    [
      'a key in a TOML table',
      'x.toml',
      '\n[inner]\n\na = "x"\n',
      /inner.a is "x", expected a number \(file x.toml:4\)/,
    ],
    ['an unfinished JSON', 'x.json', '{"name": ', /file x.json:1: it ends too early/],
    ['a trailing comma', 'x.json', '{"name": "a",}', /expected a text in double quotes/],
    ['garbage after JSON', 'x.json', '{} {}', /something follows the end/],
    ['deep JSON', 'x.json', '{"map":'.repeat(1) + '['.repeat(100_000), /nested more than 64 deep/],
    ['deep YAML', 'x.yaml', `map: ${'['.repeat(20_000)}`, /file x.yaml/],
    ['a YAML without sense', 'x.yaml', 'name: [a\nb: }', /file x.yaml/],
    ['a map as key', 'x.yaml', '? {a: 1}\n: 2\n', /a key is not a plain text/],
    ['another ending', 'x.ini', 'name=a', /its name ends in none of .json, .toml, .yaml, .yml/],
    ['group as a text', 'x.yaml', 'inner: hello\n', /inner is "hello", expected keys \(a, list\) \(file x.yaml:1\)/],
  ]
  for (const [name, file, content, message] of wrong) {
    it(`refuses ${name}`, async () => {
      const messages = await check(file, content)
      assert.match(messages.join('\n'), message)
      assert.ok(messages.every((found) => found.length < 300))
    })
  }
})

/** A kilobyte that stands for a billion values. */
function bomb(): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
  for (let index = 1; index < 9; index++) lines.push(`a${index}: &a${index} [${`*a${index - 1}, `.repeat(10)}]`)
  return lines.join('\n')
}
