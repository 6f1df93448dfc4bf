import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { rewriteHtml } from './rewrite-html.ts'

const prefix = '/api/v1/namespaces/shop/pods/web/proxy'

async function rewrite(...chunks: string[]): Promise<string> {
  async function* pieces(): AsyncGenerator<Buffer> {
    for (const chunk of chunks) yield Buffer.from(chunk)
  }
  const parts: Buffer[] = []
  for await (const part of rewriteHtml(pieces(), prefix, 'cluster:6443')) parts.push(part)
  return Buffer.concat(parts).toString()
}

const cases = [
  { name: 'a place on the server', html: '<a href="/next">', expected: `<a href="${prefix}/next">` },
  {
    name: 'every attribute that holds one',
    html: `<video src='/v' poster=/p>`,
    expected: `<video src='${prefix}/v' poster=${prefix}/p>`,
  },
  {
    name: 'a place with the name of the server',
    html: '<img src="https://cluster:6443/i.png">',
    expected: `<img src="${prefix}/i.png">`,
  },
  { name: 'no relative place', html: '<a href="next?x=/1">', expected: '<a href="next?x=/1">' },
  { name: 'no place elsewhere', html: '<a href="https://example.org/">', expected: '<a href="https://example.org/">' },
  {
    name: 'no place that is below the proxy already',
    html: `<a href="${prefix}/x">`,
    expected: `<a href="${prefix}/x">`,
  },
  { name: 'no other attribute', html: '<a title="/next">é</a>', expected: '<a title="/next">é</a>' },
  { name: 'no text', html: 'href="/next" < 3', expected: 'href="/next" < 3' },
]

describe('rewriteHtml', () => {
  for (const { name, html, expected } of cases) {
    it(`changes ${name}`, async () => assert.equal(await rewrite(html), expected))
  }

  it('finds a link whose tag comes in pieces', async () => {
    assert.equal(await rewrite('text <a hr', 'ef="/ne', 'xt">more</a>'), `text <a href="${prefix}/next">more</a>`)
  })
})
