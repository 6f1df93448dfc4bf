import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { MOST_BODY_BYTES, parseAnswer } from './http-answer.ts'
import type { ParsedAnswer } from './http-answer.ts'

const ok = 'HTTP/1.1 200 OK\r\n'

/** What is made of an answer that arrives whole. */
function read(text: string, isEnded = false): string {
  return told(parseAnswer(text, isEnded))
}

function told(parsed: ParsedAnswer): string {
  if (parsed.state === 'partial') return 'partial'
  if (parsed.state === 'broken') return `broken: ${parsed.reason}`
  const { status, location, body } = parsed.answer
  return [status, location, body].filter((part) => part !== undefined && part !== '').join(' ')
}

describe('parseAnswer', () => {
  const rows: readonly (readonly [name: string, text: string, isEnded: boolean, expected: string])[] = [
    ['a body of known length', `${ok}Content-Length: 4\r\n\r\nwell`, false, '200 well'],
    ['a body that is not all there', `${ok}content-length: 5\r\n\r\nwell`, false, 'partial'],
    ['a body that ends early', `${ok}content-length: 5\r\n\r\nwell`, true, 'broken: unexpected EOF'],
    ['a body that ends with the connection', `${ok}\r\nwell`, true, '200 well'],
    ['a body without an end so far', `${ok}\r\nwell`, false, 'partial'],
    ['more than the body', `${ok}content-length: 2\r\n\r\nwell`, false, '200 we'],
    ['no body', `${ok}content-length: 0\r\n\r\n`, false, '200'],
    ['a status that has none', 'HTTP/1.1 204 No Content\r\n\r\n', false, '204'],
    ['a status without words', 'HTTP/1.0 503\r\ncontent-length: 0\r\n\r\n', false, '503'],
    ['chunks', `${ok}Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nwe\r\n2\r\nll\r\n0\r\n\r\n`, false, '200 well'],
    ['chunks to come', `${ok}transfer-encoding: chunked\r\n\r\n2\r\nwe\r\n`, false, 'partial'],
    ['chunks that never come', `${ok}transfer-encoding: chunked\r\n\r\n2\r\nwe`, true, 'broken: unexpected EOF'],
    ['a redirect', 'HTTP/1.1 302 Found\r\nLOCATION:  /on \r\ncontent-length: 0\r\n\r\n', false, '302 /on'],
    ['interim answers', `HTTP/1.1 100 Continue\r\n\r\n${ok}content-length: 1\r\n\r\n!`, false, '200 !'],
    ['lines that end by LF', 'HTTP/1.1 200 OK\ncontent-length: 1\n\n!', false, '200 !'],
    ['half a head', 'HTTP/1.1 200 OK\r\ncontent-le', false, 'partial'],
    ['half a head, and no more', 'HTTP/1.1 200 OK\r\ncontent-le', true, 'broken: unexpected EOF'],
    ['nothing', '', true, 'broken: EOF'],
    [
      'another protocol',
      'SSH-2.0-OpenSSH\r\n',
      false,
      'broken: net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0-OpenSSH"',
    ],
    [
      'a status that is none',
      'HTTP/1.1 2000 OK\r\n\r\n',
      false,
      'broken: net/http: HTTP/1.x transport connection broken: malformed HTTP response "HTTP/1.1 2000 OK"',
    ],
  ]
  for (const [name, text, isEnded, expected] of rows)
    it(`reads ${name}`, () => assert.equal(read(text, isEnded), expected))

  it('reads no more of a body than kubelets do', () => {
    const long = 'x'.repeat(MOST_BODY_BYTES + 1)
    assert.equal(read(`${ok}\r\n${long}`), `200 ${long.slice(1)}`)
    assert.equal(
      read(`${ok}transfer-encoding: chunked\r\n\r\n${long.length.toString(16)}\r\n${long}`),
      `200 ${long.slice(1)}`,
    )
  })

  it('gives a head without an end up', () => {
    assert.match(read(`${ok}x: ${'x'.repeat(70_000)}`), /headers exceeded/)
  })

  it('gives a body up that has nothing but what is told of its chunks', () => {
    const chunked = `${ok}transfer-encoding: chunked\r\n\r\n`
    assert.match(read(`${chunked}${'1'.repeat(100_000)}`), /too much non-data/)
    assert.match(read(`${chunked}${`1;${'x'.repeat(1000)}\r\ny\r\n`.repeat(100)}`), /too much non-data/)
    assert.match(read(`${chunked}${'1\r\nx\r\n'.repeat(MOST_BODY_BYTES)}`), /^200 x+$/)
  })

  it('gives the same however the answer is cut', () => {
    for (const [, text, , expected] of rows.filter(([, , isEnded, it]) => !isEnded && !/partial|broken/.test(it))) {
      for (let end = 0; end < text.length; end += 1) {
        const seen = read(text.slice(0, end))
        assert.ok(seen === 'partial' || seen === expected, `${JSON.stringify(text.slice(0, end))}: ${seen}`)
      }
    }
  })
})
