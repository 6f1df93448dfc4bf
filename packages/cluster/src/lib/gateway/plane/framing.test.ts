import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, it } from 'node:test'
import { clusterOf, forward, openPlaneBench } from './testing.ts'

const post = (...headers: string[]): string => ['POST / HTTP/1.1', 'Host: a', ...headers, '', ''].join('\r\n')
const get = (...headers: string[]): string => ['GET / HTTP/1.1', ...headers, '', ''].join('\r\n')

/** What clients send that two readers could understand differently (RFC 9112, 11.2), and what they are told. */
const refused: readonly { readonly name: string; readonly sent: string; readonly status: number }[] = [
  {
    name: 'a length and chunks',
    sent: `${post('Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    status: 400,
  },
  {
    name: 'chunks and a length',
    sent: `${post('Transfer-Encoding: chunked', 'Content-Length: 4')}0\r\n\r\n`,
    status: 400,
  },
  { name: 'two lengths', sent: `${post('Content-Length: 4', 'Content-Length: 5')}abcde`, status: 400 },
  { name: 'one length twice', sent: `${post('Content-Length: 4', 'Content-Length: 4')}abcd`, status: 400 },
  { name: 'a list of lengths', sent: `${post('Content-Length: 4, 4')}abcd`, status: 400 },
  { name: 'a length with a sign', sent: `${post('Content-Length: +4')}abcd`, status: 400 },
  { name: 'a negative length', sent: `${post('Content-Length: -1')}abcd`, status: 400 },
  { name: 'a coding like chunked', sent: `${post('Transfer-Encoding: xchunked')}0\r\n\r\n`, status: 501 },
  { name: 'chunks that are not last', sent: `${post('Transfer-Encoding: chunked, identity')}0\r\n\r\n`, status: 400 },
  { name: 'a coding nobody undoes', sent: `${post('Transfer-Encoding: gzip, chunked')}0\r\n\r\n`, status: 501 },
  {
    name: 'two codings',
    sent: `${post('Transfer-Encoding: chunked', 'Transfer-Encoding: identity')}0\r\n\r\n`,
    status: 400,
  },
  { name: 'a space before the colon', sent: `${post('Transfer-Encoding : chunked')}0\r\n\r\n`, status: 400 },
  { name: 'a vertical tab', sent: `${post('Transfer-Encoding: \u000bchunked')}0\r\n\r\n`, status: 400 },
  {
    name: 'chunks of HTTP/1.0',
    sent: 'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    status: 400,
  },
  { name: 'a folded line', sent: get('Host: a', 'X-A: b', ' c'), status: 400 },
  { name: 'a folded coding', sent: `${post('Transfer-Encoding:', ' chunked')}0\r\n\r\n`, status: 400 },
  { name: 'two hosts', sent: get('Host: a', 'hOsT: b'), status: 400 },
  { name: 'one host twice', sent: get('Host: a', 'Host: a'), status: 400 },
  { name: 'no host', sent: get('X-A: b'), status: 400 },
  { name: 'a list of hosts', sent: get('Host: a,b'), status: 400 },
  { name: 'a host with a space', sent: get('Host: a b'), status: 400 },
  { name: 'a host with a user', sent: get('Host: me@a'), status: 400 },
  { name: 'a host with a path', sent: get('Host: a/b'), status: 400 },
  { name: 'lines without CR', sent: 'GET / HTTP/1.1\nHost: a\n\n', status: 400 },
  { name: 'one line without CR', sent: `${get('Host: a', 'X-A: b\nContent-Length: 3')}abc`, status: 400 },
  { name: 'a CR in a value', sent: get('Host: a', 'X-A: b\rContent-Length: 3'), status: 400 },
  { name: 'a NUL in a value', sent: get('Host: a', 'X-A: b\0c'), status: 400 },
  {
    name: 'a LF in a chunk extension',
    sent: `${post('Transfer-Encoding: chunked')}3;a\nx\r\nabc\r\n0\r\n\r\n`,
    status: 400,
  },
  {
    name: 'a chunk size with a prefix',
    sent: `${post('Transfer-Encoding: chunked')}0x3\r\nabc\r\n0\r\n\r\n`,
    status: 400,
  },
  {
    name: 'a chunk size past all numbers',
    sent: `${post('Transfer-Encoding: chunked')}10000000000000003\r\nabc\r\n0\r\n\r\n`,
    status: 400,
  },
  {
    name: 'a chunk longer than its size',
    sent: `${post('Transfer-Encoding: chunked')}3\r\nabcGET\r\n0\r\n\r\n`,
    status: 400,
  },
  {
    name: 'a length behind the body',
    sent: `${post('Transfer-Encoding: chunked')}3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n`,
    status: 400,
  },
  { name: 'a fragment', sent: 'GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n', status: 400 },
  { name: 'a target beyond ASCII', sent: 'GET /\u00ff HTTP/1.1\r\nHost: a\r\n\r\n', status: 400 },
  { name: 'a version nobody has', sent: 'GET / HTTP/2.5\r\nHost: a\r\n\r\n', status: 400 },
  { name: 'a tunnel', sent: 'CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n', status: 405 },
  { name: 'a head of 70 kB', sent: get('Host: a', `X-A: ${'a'.repeat(70_000)}`), status: 431 },
  {
    name: 'a WebSocket for two hosts',
    sent: get('Host: a', 'Host: b', 'Connection: upgrade', 'Upgrade: websocket'),
    status: 400,
  },
]

const accepted: readonly { readonly name: string; readonly sent: string; readonly seen: readonly unknown[] }[] = [
  {
    name: 'chunks',
    sent: `${post('Transfer-Encoding: chunked')}3\r\nabc\r\n0\r\n\r\n`,
    seen: ['POST', '/', 'a', 'abc'],
  },
  {
    name: 'a length its sender calls one of the connection',
    sent: `${post('Connection: content-length', 'Content-Length: 3')}abc`,
    seen: ['POST', '/', 'a', 'abc'],
  },
  {
    name: 'a host its sender calls one of the connection',
    sent: get('Host: a', 'Connection: host'),
    seen: ['GET', '/', 'a', ''],
  },
  {
    name: 'the whole address, which overrules the host',
    sent: 'GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n',
    seen: ['GET', '/x', 'b', ''],
  },
  { name: 'a GET with a body', sent: `${get('Host: a', 'Content-Length: 3')}abc`, seen: ['GET', '/', 'a', 'abc'] },
  {
    name: 'an offer of another protocol with a body',
    sent: `${post('Connection: upgrade', 'Upgrade: other', 'Content-Length: 3')}abc`,
    seen: ['POST', '/', 'a', 'abc'],
  },
  {
    name: 'an offer of HTTP/2',
    sent: get('Host: a', 'Connection: upgrade, http2-settings', 'Upgrade: h2c', 'HTTP2-Settings: AA'),
    seen: ['GET', '/', 'a', ''],
  },
]

void describe('a data plane and the beginnings and ends of requests', () => {
  for (const { name, sent, status } of refused) {
    it(`answers ${status} to ${name}, and the endpoint sees nothing`, async () => {
      await using bench = openPlaneBench()
      let seen = 0
      const endpoint = await bench.serve((incoming, response) => {
        // A request is begun before its chunks are read: it may be, but not be whole.
        incoming
          .resume()
          .on('end', () => seen++)
          .on('error', () => {})
        response.on('error', () => {})
      })
      const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
      assert.match(await speak(port, sent), new RegExp(`^HTTP/1.1 ${status} `))
      assert.equal(seen, 0)
    })
  }

  for (const { name, sent, seen } of accepted) {
    it(`passes on ${name}`, async () => {
      await using bench = openPlaneBench()
      const endpoint = await bench.serve((incoming, response) => {
        let body = ''
        incoming.on('data', (text) => (body += String(text)))
        incoming.on('end', () => {
          response.setHeader('connection', 'close')
          response.end(JSON.stringify([incoming.method, incoming.url, incoming.headers.host, body]))
        })
      })
      const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
      const socket = connect(port, '127.0.0.1')
      socket.write(sent, 'latin1')
      let answered = ''
      while (!answered.includes(']')) answered += String((await once(socket, 'data'))[0])
      socket.destroy()
      assert.deepEqual(JSON.parse(answered.slice(answered.indexOf('['))), seen)
    })
  }

  it('answers requests that are sent before the answers in their order', async () => {
    await using bench = openPlaneBench()
    const endpoint = await bench.serve(({ url }, response) => {
      setTimeout(() => response.end(`<${url}>`), url === '/1' ? 30 : 0)
    })
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
    const asked = ['/1', '/2', '/3'].map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n`)
    const said = await speak(port, `${asked.join('\r\n')}Connection: close\r\n\r\n`)
    assert.deepEqual(said.match(/<.*?>/g), ['</1>', '</2>', '</3>'])
  })
})

/** Everything that is said until the connection ends. */
async function speak(port: number, sent: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let said = ''
  socket.setEncoding('latin1').on('data', (text: string) => (said += text))
  socket.on('error', () => {})
  socket.write(sent, 'latin1')
  await once(socket, 'close', { signal: AbortSignal.timeout(30_000) })
  return said
}
