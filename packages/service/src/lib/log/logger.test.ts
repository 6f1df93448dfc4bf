import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createLogger } from './logger.ts'
import type { Logger, LoggerOptions } from './logger.ts'
import { createFileSink } from './sink.ts'

function capture(options: LoggerOptions = {}): { readonly log: Logger; readonly lines: string[] } {
  const lines: string[] = []
  return {
    lines,
    log: createLogger({ now: () => 0, sink: { write: (line) => void lines.push(line), flush: () => {} }, ...options }),
  }
}

describe('createLogger', () => {
  it('writes one object per line', () => {
    const { log, lines } = capture({ fields: { service: 'test' } })
    log.info('product sold', { sku: 'a"b', quantity: 2, gone: undefined })
    assert.deepEqual(lines, [
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","msg":"product sold","service":"test","sku":"a\\"b","quantity":2}\n',
    ])
  })

  it('lets the later of two fields win, and no field replace the line’s own', () => {
    const { log, lines } = capture({ context: () => ({ a: 1, b: 1 }) })
    log.child({ a: 0 }).info('m', { b: 2, level: 'x', msg: 'y' })
    assert.deepEqual(JSON.parse(lines[0] ?? ''), {
      time: '1970-01-01T00:00:00.000Z',
      level: 'info',
      msg: 'm',
      a: 1,
      b: 2,
      level_: 'x',
      msg_: 'y',
    })
  })

  it('writes errors with their causes', () => {
    const { log, lines } = capture()
    log.error('failed', { err: new TypeError('outer', { cause: Object.assign(new Error('inner'), { code: 'EX' }) }) })
    const { err } = JSON.parse(lines[0] ?? '') as { err: Record<string, unknown> }
    assert.partialDeepStrictEqual(err, { type: 'TypeError', message: 'outer', cause: { message: 'inner', code: 'EX' } })
  })

  it('writes what JSON cannot hold as text, and never throws', () => {
    const { log, lines } = capture()
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    const trap = {
      get boom(): never {
        throw new Error('trap')
      },
    }
    log.info('odd', { circular, trap, big: 1n, nan: Number.NaN, fn: () => 1, symbol: Symbol('s'), text: 'line\nfeed' })
    assert.equal(lines[0]?.split('\n').length, 2)
    assert.partialDeepStrictEqual(JSON.parse(lines[0] ?? ''), {
      big: '1',
      nan: 'NaN',
      symbol: 'Symbol(s)',
      text: 'line\nfeed',
    })
  })

  it('changes the level of a logger and its children at once', () => {
    const { log, lines } = capture({ level: 'warn' })
    const child = log.child({})
    child.info('no')
    log.level = 'info'
    child.info('yes')
    log.level = 'silent'
    child.fatal('no')
    assert.equal(lines.length, 1)
    assert.equal(log.isEnabled('fatal'), false)
  })

  it('writes for people when asked to', () => {
    const { log, lines } = capture({ format: 'pretty' })
    log.warn('careful', { count: 3, err: new Error('why') })
    assert.match(lines[0] ?? '', /00:00:00\.000.*WARN.*careful.*count=.*3.*err=.*why\n {4}Error: why\n/)
  })
})

describe('createFileSink', () => {
  it('writes everything on flush, and by itself at the end of the turn', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sink-'))
    const file = join(dir, 'log')
    const fd = openSync(file, 'w')
    const sink = createFileSink(fd)
    sink.write('one\n')
    assert.equal(readFileSync(file, 'utf8'), '')
    sink.flush()
    assert.equal(readFileSync(file, 'utf8'), 'one\n')
    sink.write('two\n')
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    assert.equal(readFileSync(file, 'utf8'), 'one\ntwo\n')
    closeSync(fd)
    rmSync(dir, { recursive: true })
  })

  it(
    'neither throws nor grows without bound on a full disk',
    { skip: process.platform !== 'linux' && '/dev/full is on Linux only' },
    () => {
      const fd = openSync('/dev/full', 'w')
      const sink = createFileSink(fd, { maxPendingBytes: 100 })
      for (let line = 0; line < 100; line++) sink.write(`line ${line}\n`)
      sink.flush()
      sink.flush()
      closeSync(fd)
    },
  )
})
