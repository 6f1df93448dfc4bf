import assert from 'node:assert/strict'
import {
  chmodSync,
  mkdirSync,
  mkdtempDisposableSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { resource } from '../lifecycle/resource.ts'
import { startResources } from '../lifecycle/start.ts'
import { createLogger } from '../log/logger.ts'
import { createMetrics } from '../metrics/metrics.ts'
import { createAtomicWriter } from './atomic-writer.fixture.ts'
import { diffKeys } from './changes.ts'
import { defineConfig } from './define.ts'
import { findMountedFiles } from './mounts.ts'
import { openConfig } from './open.ts'
import type { Config } from './open.ts'
import { readSources } from './read.ts'
import { flags, integer, secret, text } from './values.ts'
import { watchDirectories } from './watch.ts'

const definition = defineConfig(
  {
    name: text(),
    pool: { size: integer({ default: 1 }), max: integer({ default: 9 }) },
    features: flags({ beta: false }),
    key: secret({ optional: true }),
  },
  { env: 'APP_' },
)

function temporary(): Disposable & { readonly dir: string } {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-config-'))
  return { dir: folder.path, [Symbol.dispose]: () => folder.remove() }
}

/** Waits for a condition, looking often; a test that waits for ever is ended by the runner. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(2)
}

function collectLog(): { readonly lines: Record<string, unknown>[]; readonly log: ReturnType<typeof createLogger> } {
  const lines: Record<string, unknown>[] = []
  const sink = { write: (line: string) => void lines.push(JSON.parse(line)), flush() {} }
  return { lines, log: createLogger({ sink, level: 'debug' }) }
}

describe('openConfig', () => {
  it('throws every problem in one error', async () => {
    await assert.rejects(
      openConfig(definition, { env: { APP_POOL__SIZE: 'x' } }),
      (error: Error & { problems?: unknown[] }) => {
        assert.equal(
          error.message,
          [
            'Cannot load configuration: 2 problems',
            '  name is missing, expected a text. Set the variable APP_NAME',
            '  pool.size is "x", expected a whole number (env APP_POOL__SIZE)',
          ].join('\n'),
        )
        assert.equal(error.problems?.length, 2)
        return true
      },
    )
  })

  it('follows a ConfigMap through the swaps of the kubelet, and tells which keys changed', async () => {
    using folder = temporary()
    const writer = createAtomicWriter(folder.dir)
    await writer.write({ name: 'one', 'pool.size': '1', key: 'a' })
    const metrics = createMetrics()
    const { lines, log } = collectLog()
    await using config = await openConfig(definition, { dir: folder.dir, env: {}, log, metrics, debounceMs: 5 })
    const before = config.value
    const pool: string[][] = []
    config.onChange(['pool'], ({ changed }) => pool.push([...changed]))
    config.onChange(() => Promise.reject(new Error('listener')))
    const all: unknown[] = []
    const forget = config.onChange((change) =>
      all.push([change.previous.name, change.value.name, change.changed, change.version]),
    )

    await writer.write({ name: 'two', 'pool.size': '1', key: 'a' })
    await until(() => config.value.name === 'two')
    await writer.write({ name: 'two', 'pool.size': '5', key: 'b' })
    await until(() => config.value.pool.size === 5)
    forget()
    assert.deepEqual(all, [
      ['one', 'two', ['name'], 2],
      ['two', 'two', ['pool.size', 'key'], 3],
    ])
    assert.deepEqual(pool, [['pool.size', 'key']])
    assert.equal(before.name, 'one')
    assert.throws(() => Object.assign(config.value.pool, { size: 7 }), TypeError)
    assert.equal(config.origin('pool.size'), `file ${folder.dir}/pool.size`)
    assert.match(metrics.render(), /config_reloads_total 3\n[^]*config_reload_failures_total 0\n/)
    await until(() => lines.filter(({ msg }) => msg === 'a listener of the configuration failed').length === 2)
  })

  it('refuses what is not valid, keeps the old value, says so once, and recovers', async () => {
    using folder = temporary()
    const writer = createAtomicWriter(folder.dir)
    await writer.write({ 'app.yaml': 'name: one' })
    const metrics = createMetrics()
    const { lines, log } = collectLog()
    await using config = await openConfig(definition, { dir: folder.dir, env: {}, log, metrics, debounceMs: 5 })
    assert.deepEqual(config.health(), { status: 'up' })
    await writer.write({ 'app.yaml': 'name: two\npool: { size: many }' })
    await until(() => config.health().status === 'degraded')
    assert.equal(config.value.name, 'one')
    await assert.rejects(config.reload(), { code: 'FAIRLEAD_SERVICE_CONFIG' })
    assert.throws(
      () => config.check(),
      /Cannot reload configuration: 1 problem\n {2}pool.size is "many", expected a whole number \(file .*app.yaml:2\)/,
    )
    assert.equal(config.describe().problems[0]?.key, 'pool.size')
    assert.match(metrics.render(), /config_reload_failures_total 1\n/)
    assert.equal(lines.filter(({ level }) => level === 'error').length, 1)
    await writer.write({ 'app.yaml': 'name: three' })
    await until(() => config.value.name === 'three')
    assert.deepEqual([config.health().status, config.describe().problems, config.describe().version], ['up', [], 2])
  })

  it('comes through hundreds of swaps, invalid ones between, with values that were written together', async () => {
    using folder = temporary()
    const writer = createAtomicWriter(folder.dir)
    const write = (n: number): Promise<void> =>
      writer.write({ name: `n${n}`, 'pool.size': String(n), 'pool.max': String(n) })
    await write(0)
    await using config = await openConfig(definition, { dir: folder.dir, env: {}, debounceMs: 1 })
    const seen: number[] = []
    config.onChange(({ value }) => {
      assert.deepEqual([value.name, value.pool.max], [`n${value.pool.size}`, value.pool.size])
      seen.push(value.pool.size)
    })
    for (let n = 1; n <= 400; n++) {
      if (n % 7 === 0) await writer.write({ name: `n${n}`, 'pool.size': 'broken', 'pool.max': String(n) })
      else await write(n)
      if (n % 50 === 0) await until(() => seen.at(-1) === n || n % 7 === 0)
    }
    await write(401)
    await until(() => config.value.pool.size === 401)
    assert.ok(seen.length > 8, `saw ${seen.length}`)
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    )
    assert.ok(seen.every((n) => n % 7 !== 0))
    assert.equal(config.health().status, 'up')
  })

  it('keeps its value while the directory is gone, and goes on when it is back', async () => {
    using folder = temporary()
    const dir = join(folder.dir, 'a', 'mounted')
    mkdirSync(dir, { recursive: true })
    const lenient = defineConfig({ name: text({ default: 'default' }) }, { dir })
    writeFileSync(join(dir, 'name'), 'one')
    await using config = await openConfig(lenient, { env: {}, debounceMs: 2 })
    rmSync(join(folder.dir, 'a'), { recursive: true })
    await until(() => config.health().status === 'degraded')
    assert.equal(config.value.name, 'one')
    mkdirSync(dir, { recursive: true })
    writeFileSync(join(dir, 'name'), 'two')
    await until(() => config.value.name === 'two')
    assert.equal(config.health().status, 'up')
    renameSync(dir, join(folder.dir, 'elsewhere'))
    mkdirSync(dir)
    writeFileSync(join(dir, 'name'), 'three')
    await until(() => config.value.name === 'three')
  })

  it('waits for a directory that is not there yet, and takes a file written in pieces when it is whole', async () => {
    using folder = temporary()
    const dir = join(folder.dir, 'late')
    const optional = defineConfig({ a: integer({ default: 0 }), b: integer({ default: 0 }) }, { dir })
    await using config = await openConfig(optional, { env: {}, debounceMs: 1 })
    mkdirSync(dir)
    writeFileSync(join(dir, 'x.json'), '{ "a": 1,')
    await until(() => config.health().status === 'degraded')
    assert.equal(config.value.a, 0)
    writeFileSync(join(dir, 'x.json'), ' "b": 2 }', { flag: 'a' })
    await until(() => config.value.b === 2)
    assert.deepEqual(config.value, { a: 1, b: 2 })
  })

  it('polls where the system refuses to watch', async () => {
    using folder = temporary()
    writeFileSync(join(folder.dir, 'name'), 'one')
    const { lines, log } = collectLog()
    const watch = (() => {
      throw Object.assign(new Error('System limit for number of file watchers reached'), { code: 'ENOSPC' })
    }) as never
    await using config = await openConfig(definition, { dir: folder.dir, env: {}, log, watch, fallbackPollMs: 5 })
    writeFileSync(join(folder.dir, 'name'), 'two')
    await until(() => config.value.name === 'two')
    assert.equal(lines.filter(({ msg }) => msg === 'configuration is polled: the system refuses to watch it').length, 1)
  })

  it('gives the changes as an iterable that ends with the configuration, and joins those nobody took', async () => {
    using folder = temporary()
    const write = (name: string, size: number): void =>
      writeFileSync(join(folder.dir, 'x.json'), JSON.stringify({ name, pool: { size } }))
    write('a', 1)
    const config = await openConfig(definition, { dir: folder.dir, env: {}, follow: false })
    const changes = config.changes()[Symbol.asyncIterator]()
    const first = changes.next()
    write('b', 1)
    await config.reload()
    assert.deepEqual((await first).value.changed, ['name'])
    write('c', 1)
    await config.reload()
    write('c', 2)
    await config.reload()
    const second = (await changes.next()).value
    assert.deepEqual([second.previous.name, second.changed, second.value.pool.size], ['b', ['name', 'pool.size'], 2])
    const third = changes.next()
    await config[Symbol.asyncDispose]()
    assert.equal((await third).done, true)
    const aborted = config.changes({ signal: AbortSignal.abort() })[Symbol.asyncIterator]()
    assert.equal((await aborted.next()).done, true)
  })

  it('ends everything when it is closed', async () => {
    using folder = temporary()
    writeFileSync(join(folder.dir, 'name'), 'one')
    const active = (): number =>
      process.getActiveResourcesInfo().filter((kind) => kind === 'FSEventWrap' || kind === 'Timeout').length
    const before = active()
    const config = await openConfig(definition, { dir: folder.dir, env: {}, debounceMs: 1 })
    await config[Symbol.asyncDispose]()
    writeFileSync(join(folder.dir, 'name'), 'two')
    assert.equal((await config.reload()).name, 'one')
    assert.equal(active(), before)
  })

  it('is a resource that others need: by value, or alive', async () => {
    const log = createLogger({ level: 'silent' })
    const name = resource({ config: definition }, ({ config }) => config.name)
    const live = resource(
      { config: definition.live },
      ({ config }): Config<{ readonly name: string }>['value'] => config.value,
    )
    const running = await startResources({ name, live }, { log, env: { APP_NAME: 'x' } })
    assert.deepEqual([running.values.name, running.values.live.name], ['x', 'x'])
    assert.equal(running.started.filter(({ resource: started }) => started === definition.live).length, 1)
    await running.stop()
    await assert.rejects(startResources({ name }, { log, env: {} }), {
      code: 'FAIRLEAD_SERVICE_START',
      message: /name is missing/,
    })
  })
})

describe('readSources', () => {
  it('tells what cannot be read, of every wrong kind, and never waits', async () => {
    using folder = temporary()
    const at = (name: string): string => join(folder.dir, name)
    mkdirSync(at('folder.yaml'))
    mkdirSync(at('mounted'))
    mkdirSync(at('mounted/inner'))
    writeFileSync(at('binary.json'), Buffer.from([123, 0, 125]))
    writeFileSync(at('latin.json'), Buffer.from([0x7b, 0xe9, 0x7d]))
    writeFileSync(at('huge.yaml'), 'x'.repeat(1024 * 1024 + 1))
    writeFileSync(at('shut.yaml'), 'a: 1')
    chmodSync(at('shut.yaml'), 0)
    symlinkSync('circle.yaml', at('circle.yaml'))
    const files = [
      'none.yaml',
      'folder.yaml',
      'binary.json',
      'latin.json',
      'huge.yaml',
      'circle.yaml',
      'shut.yaml',
    ].map(at)
    const { faults = [] } = await readSources({
      files: [...files, { path: at('optional.yaml'), optional: true }, '/dev/zero', '/dev/null/x'],
      dir: [at('mounted'), at('absent'), at('huge.yaml')],
    })
    const isRoot = process.getuid?.() === 0
    assert.deepEqual(
      faults.map(({ origin, message }) => `${origin.replace(`${folder.dir}/`, '')}: ${message}`),
      [
        'file none.yaml: it is not there',
        'file folder.yaml: it is a directory, expected a file',
        'file binary.json: it is binary, expected text',
        'file latin.json: it is not UTF-8 text',
        'file huge.yaml: it has more than 1048576 bytes',
        'file circle.yaml: its symbolic links lead in a circle',
        ...(isRoot ? [] : ['file shut.yaml: this user may not read it']),
        'file /dev/zero: it is no regular file',
        'file /dev/null/x: it is a file, expected a directory',
        'file mounted/inner: it is a directory, expected a file',
        'directory huge.yaml: it is a file, expected a directory',
      ],
    )
  })
})

describe('watchDirectories', () => {
  it('leaves no file of its own, and is quiet when nothing happens', async () => {
    using folder = temporary()
    let count = 0
    using _ = watchDirectories([folder.dir, join(folder.dir, 'none', 'deep')], () => (count += 1), { debounceMs: 1 })
    writeFileSync(join(folder.dir, 'x'), 'x')
    await until(() => count > 0)
    assert.deepEqual(readdirSync(folder.dir), ['x'])
  })
})

describe('findMountedFiles', () => {
  it('finds files that are mounted one by one (subPath)', () => {
    const table = [
      '36 35 8:1 /var/lib/kubelet/pods/1/volumes/kubernetes.io~configmap/c /etc/whole ro,relatime - ext4 /dev/sda1 rw',
      '37 35 8:1 /var/lib/kubelet/pods/1/volume-subpaths/c/app/0 /etc/one/app\\040x.yaml ro,relatime - ext4 /dev/sda1 rw',
      '38 35 8:1 /x /etc/file.yaml ro,relatime - ext4 /dev/sda1 rw',
    ].join('\n')
    const found = findMountedFiles(table, {
      files: ['/etc/file.yaml', '/etc/whole/a'],
      dirs: ['/etc/one', '/etc/whole'],
    })
    assert.deepEqual(found, ['/etc/one/app x.yaml', '/etc/file.yaml'])
  })
})

describe('diffKeys', () => {
  it('takes lists as one value, and looks into secrets', () => {
    assert.deepEqual(diffKeys({ a: [1], b: { c: 1, d: 1 } }, { a: [1, 2], b: { c: 1, e: 1 } }), ['a', 'b.d', 'b.e'])
    assert.deepEqual(diffKeys({ a: [{ b: 1 }] }, { a: [{ b: 1 }] }), [])
  })
})
