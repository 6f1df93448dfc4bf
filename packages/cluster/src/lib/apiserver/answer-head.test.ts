import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { HeadWriter } from './answer-head.ts'

const heads = new HeadWriter(120_000)

describe('HeadWriter', () => {
  it('writes the lines that node:http writes', () => {
    const [first, ...lines] = (heads.render({ status: 201, headers: { 'content-type': 'a/b' } }, 7) ?? '').split('\r\n')
    assert.equal(first, 'HTTP/1.1 201 Created')
    const named = lines.map((line) => line.replace(/^(Date): \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/, '$1'))
    assert.deepEqual(named, [
      'cache-control: no-cache, private',
      'content-type: a/b',
      'content-length: 7',
      'Date',
      'Connection: keep-alive',
      'Keep-Alive: timeout=120',
      '',
      '',
    ])
  })

  for (const { name, status = 200, headers = {} } of [
    { name: 'a status that has no body', status: 304 },
    { name: 'a status nobody knows', status: 299 },
    { name: 'an interim status', status: 101 },
    { name: 'a header with two values', headers: { warning: ['a', 'b'] } },
    { name: 'a header beyond ASCII', headers: { warning: '\u00e4' } },
    { name: 'a line break in a header', headers: { warning: 'a\r\nx: b' } },
    { name: 'a length that is not ours', headers: { 'Content-Length': '1' } },
    { name: 'the end of the connection', headers: { connection: 'close' } },
  ]) {
    it(`leaves ${name} to others`, () => assert.equal(heads.render({ status, headers }, 1), undefined))
  }
})
