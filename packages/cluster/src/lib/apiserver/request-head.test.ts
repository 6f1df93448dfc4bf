import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { HeadReader } from './request-head.ts'

const usual = [
  'POST /api/v1/pods?dryRun=All HTTP/1.1',
  'Host: localhost',
  'content-length: 12',
  'Accept: a/b, c/d;q=0.5',
]

function read(...lines: string[]): ReturnType<HeadReader['read']> {
  return new HeadReader().read(lines.join('\r\n'))
}

describe('HeadReader', () => {
  it('reads a usual head', () => {
    assert.deepEqual(read(...usual), {
      method: 'POST',
      target: '/api/v1/pods?dryRun=All',
      fields: { headers: { host: 'localhost', 'content-length': '12', accept: 'a/b, c/d;q=0.5' }, bodyBytes: 12 },
    })
  })

  it('takes a head without content-length for one without a body, and an empty value for one', () => {
    const head = read('GET / HTTP/1.1', 'host:', 'Connection: Keep-Alive')
    assert.deepEqual(head?.fields, { headers: { host: '', connection: 'Keep-Alive' }, bodyBytes: 0 })
  })

  it('reads the same lines once', () => {
    const heads = new HeadReader()
    const [, ...lines] = usual
    const [first, second] = ['GET /a HTTP/1.1', 'GET /b HTTP/1.1'].map((line) =>
      heads.read([line, ...lines].join('\r\n')),
    )
    assert.equal(first?.fields, second?.fields)
    assert.deepEqual([first?.target, second?.target], ['/a', '/b'])
    assert.equal(heads.read('GET /a HTTP/1.1\r\nhost: a\r\nhost: b'), undefined)
    assert.deepEqual(heads.read('GET /a HTTP/1.1\r\nhost: a')?.fields.headers, { host: 'a' })
  })

  const get = 'GET / HTTP/1.1'
  for (const { name, lines } of [
    { name: 'HTTP/1.0', lines: ['GET / HTTP/1.0', 'host: a'] },
    { name: 'the start of HTTP/2', lines: ['PRI * HTTP/2.0', 'host: a'] },
    { name: 'another method', lines: ['OPTIONS / HTTP/1.1', 'host: a'] },
    { name: 'an absolute target', lines: ['GET http://a/ HTTP/1.1', 'host: a'] },
    { name: 'a blank in the target', lines: ['GET /a b HTTP/1.1', 'host: a'] },
    { name: 'bytes beyond ASCII in the target', lines: ['GET /\u00e4 HTTP/1.1', 'host: a'] },
    { name: 'no host', lines: [get, 'accept: a'] },
    { name: 'no line at all', lines: [get] },
    { name: 'an empty line before it', lines: ['', get, 'host: a'] },
    { name: 'a name twice', lines: [get, 'host: a', 'Host: a'] },
    { name: 'two lengths', lines: [get, 'host: a', 'content-length: 1', 'content-length: 2'] },
    { name: 'a list of lengths', lines: [get, 'host: a', 'content-length: 1, 1'] },
    { name: 'a length with a sign', lines: [get, 'host: a', 'content-length: +1'] },
    { name: 'an empty length', lines: [get, 'host: a', 'content-length:'] },
    { name: 'a hexadecimal length', lines: [get, 'host: a', 'content-length: 0x1'] },
    { name: 'an endless length', lines: [get, 'host: a', `content-length: ${'9'.repeat(30)}`] },
    { name: 'a body in chunks', lines: [get, 'host: a', 'Transfer-Encoding: chunked'] },
    { name: 'an upgrade', lines: [get, 'host: a', 'Connection: Upgrade', 'Upgrade: websocket'] },
    { name: 'the last request', lines: [get, 'host: a', 'connection: close'] },
    { name: 'an expectation', lines: [get, 'host: a', 'Expect: 100-continue'] },
    { name: 'a folded line', lines: [get, 'host: a', 'accept: a', ' b'] },
    { name: 'a blank before the colon', lines: [get, 'host : a'] },
    { name: 'two blanks before the value', lines: [get, 'host:  a'] },
    { name: 'a blank behind the value', lines: [get, 'host: a '] },
    { name: 'a tab', lines: [get, 'host:\ta'] },
    { name: 'a line feed alone', lines: [get, 'host: a\nx: b'] },
    { name: 'a carriage return alone', lines: [get, 'host: a\rx: b'] },
    { name: 'a null byte', lines: [get, 'host: a\0'] },
    { name: 'bytes beyond ASCII in a value', lines: [get, 'host: \u00e4'] },
    { name: 'a name no client uses', lines: [get, 'host: a', '__proto__: a'] },
    { name: 'a line without a colon', lines: [get, 'host: a', 'accept'] },
  ]) {
    it(`leaves ${name} to others`, () => assert.equal(read(...lines), undefined))
  }
})
