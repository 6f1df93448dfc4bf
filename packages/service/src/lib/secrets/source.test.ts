import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import type { TestContext } from 'node:test'
import { createLogger } from '../log/logger.ts'
import type { SecretReading } from './driver.ts'
import { ProviderFault } from './fault.ts'
import { createHandle } from './handle.ts'
import { parseSecretReference } from './reference.ts'
import { createSource } from './source.ts'
import type { SecretSource, SourceOptions } from './source.ts'

/** A provider whose answers the test decides, and a source on it. */
interface Bench {
  answer: () => SecretReading | Promise<SecretReading>
  reads: number
  previous: SecretReading | undefined
  time: number
  readonly lines: Record<string, unknown>[]
  readonly closing: AbortController
  readonly source: SecretSource
}

const reference = parseSecretReference('vault://secret/db#password')
const down = (): never => {
  throw new ProviderFault('unavailable', 'it is sealed', 'Unseal it')
}
const value = (password: string, rest: Partial<SecretReading> = {}): SecretReading => ({
  value: { password },
  version: undefined,
  ...rest,
})

function createBench(options: Partial<SourceOptions> = {}): Bench {
  const lines: Record<string, unknown>[] = []
  const sink = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>), flush() {} }
  const closing = new AbortController()
  const source = createSource(reference, {
    cacheMs: 1000,
    refreshMs: 0,
    maxStaleMs: 10_000,
    negativeMs: 500,
    timeoutMs: 1000,
    now: () => bench.time,
    random: () => 0,
    log: createLogger({ sink }),
    signal: closing.signal,
    onAttempt: () => {},
    loadDriver: async () => ({
      provider: 'Vault',
      async read(_reference, { previous }) {
        bench.reads += 1
        bench.previous = previous
        return await bench.answer()
      },
    }),
    ...options,
  })
  const bench: Bench = { answer: () => value('one'), reads: 0, previous: undefined, time: 0, lines, closing, source }
  return bench
}

const handleOf = (bench: Bench) =>
  createHandle(reference, bench.source, {
    provider: () => 'Vault',
    log: undefined,
    now: () => bench.time,
    signal: bench.closing.signal,
  })

/** Lets promises that are settled run what waits for them. */
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve()
}

describe('createSource', () => {
  let bench: Bench
  beforeEach(() => {
    bench = createBench()
  })

  it('asks once for everybody, and again when the value is old', async () => {
    await Promise.all([bench.source.get(), bench.source.get(), bench.source.get()])
    bench.time = 999
    await bench.source.get()
    assert.equal(bench.reads, 1)
    bench.time = 1000
    await bench.source.get()
    assert.equal(bench.reads, 2)
  })

  it('gives out the last value while the provider is down, and says so once', async () => {
    await bench.source.get()
    bench.answer = down
    for (let minute = 1; minute <= 5; minute += 1) {
      bench.time = minute * 1500
      assert.deepEqual((await bench.source.get()).value, { password: 'one' })
    }
    assert.equal(bench.source.state, 'stale')
    assert.equal(bench.source.ageMs, 7500)
    assert.deepEqual(
      bench.lines.map(({ level, msg }) => [level, msg]),
      [['warn', 'secret cannot be read again, the last value is used']],
    )
    bench.answer = () => value('one')
    bench.time = 60_000
    await bench.source.get()
    assert.equal(bench.source.state, 'fresh')
    assert.equal(bench.lines.at(-1)?.['msg'], 'secret provider answers again')
    assert.equal(bench.lines.length, 2)
  })

  it('gives out no value that is older than maxStaleMs, nor a lease that has ended', async () => {
    await bench.source.get()
    bench.answer = down
    bench.time = 10_001
    await assert.rejects(bench.source.get(), { code: 'FAIRLEAD_SERVICE_SECRET_UNAVAILABLE' })

    const leased = createBench()
    leased.answer = () => value('leased', { refreshMs: 2000, expiresMs: 3000 })
    await leased.source.get()
    leased.answer = down
    leased.time = 2999
    await leased.source.get()
    leased.time = 3001
    await assert.rejects(leased.source.get(), {
      message: 'Cannot read secret "vault://secret/db#password" of Vault: it is sealed',
    })
  })

  it('believes a refusal for a while, and does not let everybody wait for a provider that is down', async () => {
    bench.answer = () => {
      throw new ProviderFault('absent', 'nothing there', 'Create it')
    }
    for (const time of [0, 100, 499]) {
      bench.time = time
      await assert.rejects(bench.source.get(), { code: 'FAIRLEAD_SERVICE_SECRET_ABSENT', hint: 'Create it' })
    }
    assert.equal(bench.reads, 1)
    bench.time = 500
    await assert.rejects(bench.source.get())
    assert.equal(bench.reads, 2)

    const sealed = createBench()
    sealed.answer = down
    for (const time of [0, 499, 500, 1499, 1500]) {
      sealed.time = time
      await assert.rejects(sealed.source.get(), { code: 'FAIRLEAD_SERVICE_SECRET_UNAVAILABLE' })
    }
    // Half a second after the first failure, a second after the next one.
    assert.equal(sealed.reads, 3)
  })

  it('hears of a change of the value, and not of a new version of the same', async () => {
    const changes: unknown[] = []
    bench.source.onChange((after, before) => changes.push([after.value, before.value, after.version, before.version]))
    bench.answer = () => value('one', { version: 'a' })
    await bench.source.refresh()
    bench.answer = () => value('one', { version: 'b' })
    await bench.source.refresh()
    assert.equal(bench.source.version, 'b')
    bench.answer = () => value('two', { version: 'c' })
    await bench.source.refresh()
    assert.deepEqual(changes, [[{ password: 'two' }, { password: 'one' }, 'c', 'b']])
  })

  it('counts changes where the provider has no versions', async () => {
    await bench.source.refresh()
    bench.answer = () => value('two')
    await bench.source.refresh()
    await bench.source.refresh()
    assert.equal(bench.source.version, '2')
  })

  it('reads again in the background, up to a fifth early, a lease at its own time, a failing one soon', async (t: TestContext) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const background = createBench({ refreshMs: 1000, random: () => 0.5 })
    await background.source.get()
    t.mock.timers.tick(899)
    await settle()
    assert.equal(background.reads, 1)
    background.answer = () => value('one', { refreshMs: 100 })
    t.mock.timers.tick(1)
    await settle()
    assert.equal(background.reads, 2)
    background.answer = down
    t.mock.timers.tick(90)
    await settle()
    assert.equal(background.reads, 3)
    assert.deepEqual(background.previous?.refreshMs, 100)
    t.mock.timers.tick(450)
    await settle()
    assert.equal(background.reads, 4)
    background.closing.abort()
    await background.source.close(AbortSignal.abort())
    t.mock.timers.tick(100_000)
    await settle()
    assert.equal(background.reads, 4)
  })

  it('gives up on a reading that does not end', async (t: TestContext) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    bench.answer = () => new Promise(() => {})
    const reading = bench.source.get()
    const refused = assert.rejects(reading, {
      code: 'FAIRLEAD_SERVICE_SECRET_UNAVAILABLE',
      message: 'Cannot read secret "vault://secret/db#password" of Vault: it did not answer in time',
    })
    await settle()
    t.mock.timers.tick(3000)
    await refused
  })

  it('refuses to read after the end', async () => {
    await bench.source.get()
    bench.closing.abort()
    await assert.rejects(bench.source.get(), { code: 'FAIRLEAD_SERVICE_SECRET_CLOSED' })
    await assert.rejects(bench.source.refresh(), { code: 'FAIRLEAD_SERVICE_SECRET_CLOSED' })
  })
})

describe('createHandle', () => {
  let bench: Bench
  beforeEach(() => {
    bench = createBench()
  })

  it('hears of changes of its own field only', async () => {
    const handle = handleOf(bench)
    const changes: string[] = []
    const stop = handle.onChange(({ current, previous }) => changes.push(`${previous.reveal()}>${current.reveal()}`))
    bench.answer = () => ({ value: { password: 'one', user: 'a' }, version: undefined })
    await handle.refresh()
    bench.answer = () => ({ value: { user: 'b', password: 'one' }, version: undefined })
    await handle.refresh()
    bench.answer = () => value('two')
    await handle.refresh()
    stop()
    bench.answer = () => value('three')
    await handle.refresh()
    assert.deepEqual(changes, ['one>two'])
  })

  it('tells which fields there are when its own is not, and never the value', async () => {
    bench.answer = () => ({ value: '{"user":"planted-1","pass":"planted-2"}', version: undefined })
    await assert.rejects(handleOf(bench).get(), {
      message: 'Cannot read secret "vault://secret/db#password" of Vault: it has no field "password"',
      hint: 'It has "user", "pass": name one of these',
    })
    for (const text of ['planted', '["planted"]', '"planted"']) {
      const other = createBench()
      other.answer = () => ({ value: text, version: undefined })
      await assert.rejects(handleOf(other).get(), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'FAIRLEAD_SERVICE_SECRET_FORMAT')
        assert.doesNotMatch(`${error.stack} ${String(error.cause)}`, /planted/)
        return true
      })
    }
  })

  it('gives bytes, text and JSON', async () => {
    const bytes = Buffer.from([0xff, 0x00])
    bench.answer = () => ({ value: { password: bytes }, version: undefined })
    assert.deepEqual(Buffer.from((await handleOf(bench).getBytes()).reveal()), bytes)
    await assert.rejects(handleOf(bench).get(), {
      code: 'FAIRLEAD_SERVICE_SECRET_FORMAT',
      hint: 'Use getBytes() for it',
    })
    const other = createBench()
    other.answer = () => value('[1,2]')
    const sum = await handleOf(other).getJson((parsed) => (parsed as number[]).reduce((one, two) => one + two))
    assert.equal(sum.reveal(), 3)
  })

  it('accepts the value before for a while', async () => {
    const handle = handleOf(bench)
    const accepted = async () => (await handle.getAccepted(5000)).map((secret) => secret.reveal())
    assert.deepEqual(await accepted(), ['one'])
    bench.answer = () => value('two')
    await handle.refresh()
    assert.deepEqual(await accepted(), ['two', 'one'])
    bench.time = 5000
    assert.deepEqual(await accepted(), ['two'])
  })
})

describe('SecretHandle.use', () => {
  it('makes the new one, lets the old one go on for the overlap, then releases it', async (t: TestContext) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const bench = createBench()
    const handle = handleOf(bench)
    const released: string[] = []
    const pool = await handle.use((secret) => `pool ${secret.reveal()}`, {
      release: (made) => void released.push(made),
      overlapMs: 1000,
    })
    assert.equal(pool.current, 'pool one')
    bench.answer = () => value('two')
    await handle.refresh()
    await settle()
    assert.equal(pool.current, 'pool two')
    t.mock.timers.tick(999)
    assert.deepEqual(released, [])
    t.mock.timers.tick(1)
    assert.deepEqual(released, ['pool one'])
    await pool[Symbol.asyncDispose]()
    assert.deepEqual(released, ['pool one', 'pool two'])
  })

  it('keeps the old one where the new one cannot be made, and tries again', async (t: TestContext) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const bench = createBench({ cacheMs: 1_000_000 })
    const handle = handleOf(bench)
    let isRefused = false
    await using pool = await handle.use((secret) => {
      if (isRefused) throw new Error('the database does not know it yet')
      return secret.reveal()
    })
    isRefused = true
    bench.answer = () => value('two')
    await handle.refresh()
    await settle()
    assert.equal(pool.current, 'one')
    isRefused = false
    t.mock.timers.tick(1000)
    await settle()
    assert.equal(pool.current, 'two')
  })
})
