import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { describe, it, mock } from 'node:test'
import { Secret } from '../secrets/secret.ts'
import { parseLogLevels } from './levels.ts'
import { createLogger } from './logger.ts'
import type { LogFields, Logger, LoggerOptions } from './logger.ts'
import { accessMessage } from './presets.ts'
import { redactUrls } from './redact.ts'
import { readLogSettings } from './settings.ts'

interface Captured {
  readonly log: Logger
  readonly lines: string[]
  readonly last: () => Record<string, unknown>
}

function capture(options: LoggerOptions = {}): Captured {
  const lines: string[] = []
  return {
    lines,
    last: () => JSON.parse(lines.at(-1) ?? '') as Record<string, unknown>,
    log: createLogger({ now: () => 0, sink: { write: (line) => void lines.push(line), flush: () => {} }, ...options }),
  }
}

function line(fields: LogFields, options?: LoggerOptions): Record<string, unknown> {
  const { log, last } = capture(options)
  log.info('m', fields)
  const { time: _time, level: _level, msg: _msg, ...rest } = last()
  return rest
}

describe('parseLogLevels', () => {
  for (const [text, expected] of [
    ['info', { root: 'info' }],
    ['WARN, db = debug', { root: 'warn', db: 'debug' }],
    ['db=debug,http.client=silent', { db: 'debug', 'http.client': 'silent' }],
    ['loud', undefined],
    ['info,info', undefined],
    ['db=', undefined],
    ['=info', undefined],
    ['a=b=info', undefined],
    ['a b=info', undefined],
    ['info,', undefined],
  ] as const)
    it(`reads ${JSON.stringify(text)}`, () => assert.deepEqual(parseLogLevels(text), expected))
})

describe('readLogSettings', () => {
  it('reads the environment, a terminal wants the pretty form', () => {
    assert.deepEqual(readLogSettings({ LOG_LEVEL: 'warn,db=trace', LOG_FORMAT: 'ECS', LOG_SAMPLING: '5/10' }, true), {
      level: 'warn',
      levels: { db: 'trace' },
      format: 'ecs',
      sampling: { first: 5, thereafter: 10 },
      project: undefined,
    })
    assert.equal(readLogSettings({}, true).format, 'pretty')
    assert.equal(readLogSettings({ LOG_LEVEL: ' ' }, undefined).level, 'info')
  })
  for (const env of [{ LOG_LEVEL: 'db=loud' }, { LOG_FORMAT: 'xml' }, { LOG_SAMPLING: '5' }, { LOG_SAMPLING: '-1/2' }])
    it(`refuses ${JSON.stringify(env)}`, () =>
      assert.throws(() => readLogSettings(env, false), { code: 'FAIRLEAD_SERVICE_SETTING' }))
})

describe('named loggers', () => {
  it('follow the longest name that has a level', () => {
    const { log, lines, last } = capture({ level: 'warn', levels: { db: 'debug' } })
    const pool = log.named('db').named('pool')
    pool.debug('yes')
    assert.equal(last()['logger'], 'db.pool')
    log.named('http').info('no')
    log.named('dbx').info('no')
    log.levels.set('db.pool', 'error')
    pool.warn('no')
    log.levels.set('db.pool', undefined)
    log.levels.set('db', undefined)
    pool.info('no')
    pool.level = 'info'
    pool.child({ a: 1 }).info('yes')
    assert.equal(lines.length, 2)
    assert.equal(log.level, 'warn')
  })

  it('refuse names and levels that are none', () => {
    const { log } = capture()
    const code = 'FAIRLEAD_SERVICE_LOG'
    assert.throws(() => log.named('a b'), { code })
    assert.throws(() => (log.level = 'loud' as 'info'), { code })
    assert.throws(() => createLogger({ level: 'loud' as 'info' }), { code })
    assert.throws(() => createLogger({ redact: { paths: ['a..b'] } }), { code })
    assert.throws(() => createLogger({ maxLineLength: 10 }), { code })
  })

  it('do not fill memory when names are made from input', () => {
    const { log } = capture()
    for (let name = 0; name < 5000; name++) log.named(`n${name}`)
    assert.ok(Object.keys(log.levels.effective).length <= 1000)
  })
})

describe('redaction', () => {
  it('hides well-known names wherever they stand', () => {
    const secret = 'hunter2'
    const text = JSON.stringify(
      line({
        password: secret,
        DB_PASSWORD: secret,
        user: { accessToken: secret, 'x-api-key': secret, list: [{ client_secret: secret }] },
        headers: new Headers({ authorization: `Bearer ${secret}`, cookie: secret }),
        map: new Map([['Set-Cookie', secret]]),
        err: Object.assign(new Error('no'), { config: { headers: { Authorization: secret } } }),
        url: new URL(`postgres://app:${secret}@db/orders?token=${secret}`),
        text: `cannot reach redis://:${secret}@cache:6379/0, giving up`,
        typed: new Secret(secret),
        deep: { typed: new Secret(secret) },
      }),
    )
    assert.doesNotMatch(text, /hunter2/)
    assert.match(text, /postgres:\/\/app:\[redacted\]@db\/orders/)
  })

  it('keeps what is no secret', () => {
    const fields = { password: false, tokens: 3, secretary: 'Ann', mail: 'a@b.example', hasToken: true, token: null }
    assert.deepEqual(line(fields), fields)
    assert.deepEqual(line({ pageToken: 'p2' }, { redact: { keep: ['page_token'] } }), { pageToken: 'p2' })
  })

  for (const [path, fields, expected] of [
    ['ssn_', { a: { SSN: 1 } }, { a: { SSN: '[redacted]' } }],
    [
      'user.email',
      { user: { email: 'e', name: 'n' }, email: 'e' },
      { user: { email: '[redacted]', name: 'n' }, email: 'e' },
    ],
    [
      '*.pin',
      { a: { pin: 1 }, pin: 2, b: { c: { pin: 3 } } },
      { a: { pin: '[redacted]' }, pin: 2, b: { c: { pin: 3 } } },
    ],
    ['**.iban', { iban: 1, a: { b: { iban: 2 } } }, { iban: '[redacted]', a: { b: { iban: '[redacted]' } } }],
    [
      'users[*].phone',
      { users: [{ phone: 1 }, { phone: 2 }] },
      { users: [{ phone: '[redacted]' }, { phone: '[redacted]' }] },
    ],
    ['list[1]', { list: [1, 2] }, { list: [1, '[redacted]'] }],
    ['headers["x.key"]', { headers: { 'x.key': 1 } }, { headers: { 'x.key': '[redacted]' } }],
    ['err.detail', { err: Object.assign(new Error('m'), { detail: 'd' }) }, undefined],
  ] as const)
    it(`hides ${path}`, () => {
      const found = line(fields, { redact: { paths: [path] } })
      if (expected !== undefined) assert.deepEqual(found, expected)
      else assert.equal((found['err'] as Record<string, unknown>)['detail'], '[redacted]')
    })

  it('hides what a logger carries, and what the pretty form shows', () => {
    for (const format of ['json', 'pretty', 'google', 'aws', 'ecs'] as const) {
      const { log, lines } = capture({ format })
      const err = Object.assign(
        new Error('no', { cause: Object.assign(new Error('at http://u:hunter2@h'), { token: 'hunter2' }) }),
        {
          password: 'hunter2',
        },
      )
      log
        .child({ token: 'hunter2', nested: { secret: 'hunter2' } })
        .error('http://u:hunter2@h/', { err, password: 'hunter2' })
      assert.doesNotMatch(lines.join(''), /hunter2/, format)
    }
  })

  it('takes a time that grows with the length of the text', () => {
    // The time this thread worked: the machine may have other work.
    const before = process.threadCpuUsage()
    for (const text of [
      '://'.repeat(5000),
      `://${':'.repeat(16_000)}`,
      `://${'a'.repeat(16_000)}`,
      '?token='.repeat(2000),
    ])
      redactUrls(`${text}://`)
    const { user, system } = process.threadCpuUsage(before)
    assert.ok((user + system) / 1000 < 1000)
  })
})

describe('values that are hard to write', () => {
  it('come out as text, each on its own', () => {
    const circular: Record<string, unknown> = { n: 1 }
    circular['self'] = circular
    const found = line({
      circular,
      getter: {
        get boom(): never {
          throw new Error('trap')
        },
        fine: 1,
      },
      json: {
        toJSON: () => {
          throw new Error('no form')
        },
      },
      proxy: new Proxy(
        {},
        {
          ownKeys: () => {
            throw new Error('closed')
          },
        },
      ),
      big: 12n,
      map: new Map<unknown, unknown>([
        [1, 'a'],
        [{}, 'b'],
      ]),
      set: new Set([1, 'x']),
      bytes: Buffer.from('abc'),
      date: new Date(0),
      emitter: new EventEmitter(),
      nothing: [undefined, null, Number.NaN],
    })
    assert.deepEqual(found, {
      circular: { n: 1, self: '[circular]' },
      getter: { boom: '[unreadable: trap]', fine: 1 },
      json: '[unreadable: no form]',
      proxy: '[unreadable: closed]',
      big: '12',
      map: { '1': 'a', '[object]': 'b' },
      set: [1, 'x'],
      bytes: '[3 bytes]',
      date: '1970-01-01T00:00:00.000Z',
      emitter: '[EventEmitter]',
      nothing: [null, null, 'NaN'],
    })
  })

  it('do not keep the other fields from being written', () => {
    const fields = {
      a: 1,
      get b(): never {
        throw new Error('trap')
      },
    }
    assert.deepEqual(line(fields), { a: 1, b: '[unreadable: trap]' })
    assert.deepEqual(
      line(
        new Proxy(
          {},
          {
            ownKeys: () => {
              throw new Error('closed')
            },
          },
        ),
      ),
      {},
    )
  })

  it('are cut: long texts, long lists, deep and wide objects', () => {
    const { log, lines } = capture({ maxLineLength: 8192 })
    let deep: unknown = 'bottom'
    for (let depth = 0; depth < 1000; depth++) deep = { deep }
    const wide = Object.fromEntries(Array.from({ length: 100_000 }, (_, key) => [`key${key}`, 'x'.repeat(50)]))
    log.info('x'.repeat(1e6), { text: 'y'.repeat(1e6) })
    log.info('m', { deep, list: Array.from({ length: 1e5 }, () => 1) })
    log.info('m', { wide, after: 1 })
    log.info('m', wide)
    log.info('\u0000'.repeat(1e6), { text: '\u0000'.repeat(1e6), more: '\u0000'.repeat(1e6) })
    log.child(wide).info('m', wide)
    for (const text of lines) {
      assert.ok(text.length < 2.5 * 8192, `${text.length} ${text.slice(0, 60)}`)
      JSON.parse(text)
    }
    assert.match(lines[0] ?? '', /…\[\d+ more\]/)
  })

  it('stay one line of valid UTF-8, whatever the text', () => {
    const text = 'line\nfeed\r\u2028 "quoted" \\ \ud800 lone \udc00 😀 \u0000'
    const { log, lines } = capture()
    log.info(text, { [text]: text })
    assert.equal(lines[0]?.split(/\n/).length, 2)
    assert.ok(lines[0]?.isWellFormed())
    const { msg } = JSON.parse(lines[0] ?? '') as { msg: string }
    assert.equal(msg, text)
  })

  it('names each field once, the last one wins', () => {
    const { log, lines } = capture({ context: () => ({ request_id: 'r', a: 1 }) })
    log.child({ b: 1, request_id: 'x' }).info('m', { a: 2, b: 2 })
    assert.equal(lines[0]?.match(/"(a|b|request_id)":/g)?.length, 3)
    assert.partialDeepStrictEqual(JSON.parse(lines[0] ?? ''), { a: 2, b: 2, request_id: 'r' })
  })

  it('takes what the types forbid', () => {
    const { log, last } = capture()
    const loose = log as unknown as Record<string, (...args: readonly unknown[]) => void>
    loose['error']?.(new Error('alone'))
    assert.partialDeepStrictEqual(last(), { msg: 'alone', err: { message: 'alone' } })
    loose['error']?.('text', new Error('second'))
    assert.partialDeepStrictEqual(last(), { msg: 'text', err: { message: 'second' } })
    loose['info']?.('text', 7)
    assert.partialDeepStrictEqual(last(), { value: 7 })
    loose['info']?.({ a: 1 }, null)
    assert.equal(last()['msg'], '{ a: 1 }')
  })
})

describe('presets', () => {
  const context = (): LogFields => ({ request_id: 'r1', trace_id: 't1', span_id: 's1' })
  const fields = { service: 'catalog', version: '1.2.3' }
  const access = { method: 'GET', route: '/a/:id', path: '/a/1', status: 200, duration_ms: 12.5 }

  it('google', () => {
    const { log, last } = capture({ format: 'google', project: 'p', context, fields })
    log.warn('m', { labels: { tier: 1 }, severity: 'x' })
    assert.deepEqual(last(), {
      severity: 'WARNING',
      time: '1970-01-01T00:00:00.000Z',
      message: 'm',
      service: 'catalog',
      version: '1.2.3',
      request_id: 'r1',
      'logging.googleapis.com/trace': 'projects/p/traces/t1',
      'logging.googleapis.com/spanId': 's1',
      'logging.googleapis.com/labels': { tier: '1' },
      severity_: 'x',
    })
    log.info(accessMessage, { ...access, trace_sampled: true })
    assert.partialDeepStrictEqual(last(), {
      httpRequest: { requestMethod: 'GET', requestUrl: '/a/1', status: 200, latency: '0.012500s' },
      route: '/a/:id',
      'logging.googleapis.com/trace_sampled': true,
    })
    log.fatal('m', { err: new TypeError('no') })
    assert.equal(last()['severity'], 'CRITICAL')
    assert.match(String(last()['stack_trace']), /^TypeError: no\n/)
  })

  it('aws', () => {
    const { log, last } = capture({ format: 'aws', context, fields })
    log.error('m', { err: Object.assign(new TypeError('no'), { code: 'EX' }) })
    assert.partialDeepStrictEqual(last(), {
      timestamp: '1970-01-01T00:00:00.000Z',
      level: 'ERROR',
      message: 'm',
      requestId: 'r1',
      trace_id: 't1',
      errorType: 'TypeError',
      errorMessage: 'no',
      err: { code: 'EX' },
    })
    assert.ok(Array.isArray(last()['stackTrace']))
  })

  it('ecs', () => {
    const { log, lines, last } = capture({ format: 'ecs', context, fields })
    log.named('db').error('m', { err: Object.assign(new TypeError('no'), { code: 'EX' }) })
    assert.match(lines[0] ?? '', /^\{"@timestamp":"[^"]+","log\.level":"error","message":"m","ecs\.version":"8\.11\.0"/)
    assert.partialDeepStrictEqual(last(), {
      'service.name': 'catalog',
      'service.version': '1.2.3',
      'log.logger': 'db',
      'trace.id': 't1',
      'span.id': 's1',
      'http.request.id': 'r1',
      'error.type': 'TypeError',
      'error.message': 'no',
      'error.code': 'EX',
    })
    log.info(accessMessage, access)
    assert.partialDeepStrictEqual(last(), {
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'url.path': '/a/1',
      'event.duration': 12_500_000,
    })
  })

  it('pretty writes nothing that moves a terminal or makes up lines', () => {
    const { log, lines } = capture({ format: 'pretty', context })
    log.named('db').info('evil \u001b[2J\n00:00 INFO fake', { 'key\n': 'v\u009b2J', list: ['\u001b[0m'] })
    // oxlint-disable-next-line no-control-regex
    const text = (lines[0] ?? '').replaceAll(/\u001b\[\d+m/g, '')
    assert.equal(text.split('\n').length, 2)
    // oxlint-disable-next-line no-control-regex
    assert.doesNotMatch(text, /[\u001b\u009b]/)
    assert.match(text, /\[db\] evil .*request_id=r1 trace_id=t1 span_id=s1\n$/)
  })
})

describe('sampling', () => {
  it('writes the first of a burst, then every so-manieth, and says how many it left out', () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
    try {
      const { log, lines, last } = capture({ sampling: { first: 3, thereafter: 10 }, now: Date.now })
      for (let count = 0; count < 30; count++) log.info('burst')
      assert.equal(lines.length, 5)
      assert.equal(last()['sampled_out'], 9)
      log.error('burst')
      log.info('other')
      assert.equal(lines.length, 7)
      mock.timers.tick(1000)
      assert.partialDeepStrictEqual(last(), {
        msg: 'log lines sampled out',
        of_message: 'burst',
        of_level: 'info',
        count: 7,
      })
      assert.equal(log.stats.sampledOut, 25)
      log.info('burst')
      assert.equal(lines.length, 9)
      for (let count = 0; count < 10; count++) log.fatal('burst')
      assert.equal(lines.length, 19)
    } finally {
      mock.timers.reset()
    }
  })

  it('tells what it left out before the process ends', () => {
    const { log, last } = capture({ sampling: { first: 1, thereafter: 0 } })
    log.info('a')
    log.info('a')
    log.flush()
    assert.partialDeepStrictEqual(last(), { msg: 'log lines sampled out', count: 1 })
  })
})
