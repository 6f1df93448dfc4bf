import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createRouteTable } from './router.ts'
import type { RouteMatch } from './router.ts'

const answer = (): string => 'x'

function createTable() {
  const table = createRouteTable()
  table.router
    .get('/', answer)
    .get('/products', answer)
    .post('/products', answer)
    .get('/products/:sku', answer)
    .get('/products/new', answer)
    .delete('/products/:sku', answer)
    .get('/products/:sku/reviews/:id', answer)
    .get('/files/*', answer)
    .get('/files/index', answer)
    .put('/:any/reviews', answer)
  return table
}

describe('createRouteTable', () => {
  const found = (template: string, params = {}): unknown => ({ kind: 'found', template, params })
  const rows: readonly { name: string; method?: string; path: string; expected: unknown }[] = [
    { name: 'the root', path: '/', expected: found('/') },
    { name: 'a fixed path', path: '/products', expected: found('/products') },
    { name: 'a parameter', path: '/products/mug', expected: found('/products/:sku', { sku: 'mug' }) },
    { name: 'fixed before parameter', path: '/products/new', expected: found('/products/new') },
    {
      name: 'the parameter, when the fixed one lacks the method',
      method: 'DELETE',
      path: '/products/new',
      expected: found('/products/:sku', { sku: 'new' }),
    },
    {
      name: 'two parameters',
      path: '/products/mug/reviews/7',
      expected: found('/products/:sku/reviews/:id', { sku: 'mug', id: '7' }),
    },
    {
      name: 'a decoded parameter',
      path: '/products/caf%C3%A9%2F1',
      expected: found('/products/:sku', { sku: 'café/1' }),
    },
    { name: 'the rest of a path', path: '/files/a/b%20c', expected: found('/files/*', { '*': 'a/b c' }) },
    { name: 'fixed before rest', path: '/files/index', expected: found('/files/index') },
    {
      name: 'a parameter tried after a fixed dead end',
      method: 'PUT',
      path: '/products/reviews',
      expected: found('/:any/reviews', { any: 'products' }),
    },
    { name: 'GET for HEAD', method: 'HEAD', path: '/products', expected: found('/products') },
    { name: 'nothing for a trailing slash', path: '/products/', expected: { kind: 'not-found' } },
    { name: 'nothing for an unknown path', path: '/nowhere', expected: { kind: 'not-found' } },
    {
      name: 'what would be allowed',
      method: 'PATCH',
      path: '/products',
      expected: { kind: 'method-not-allowed', allow: 'GET, HEAD, OPTIONS, POST' },
    },
    { name: 'malformed percent-encoding', path: '/products/%E0%A4%A', expected: { kind: 'malformed' } },
    { name: 'nothing of the prototype', path: '/__proto__', expected: { kind: 'not-found' } },
  ]
  const table = createTable()
  for (const { name, method = 'GET', path, expected } of rows) {
    it(`finds ${name}`, () => assert.deepEqual(summarise(table.match(method, path)), expected))
  }

  it('keeps parameter names of different methods apart', () => {
    const other = createRouteTable()
    other.router.get('/a/:id', answer).post('/a/:name', answer)
    assert.deepEqual(summarise(other.match('POST', '/a/x')), found('/a/:name', { name: 'x' }))
  })

  for (const [path, state] of [
    ['products', 'does not begin'],
    ['/a/:', 'no proper name'],
    ['/a/:x/:x', 'same name'],
    ['/a/*/b', 'not its last segment'],
    ['/products/:id', '/products/:sku is there already'],
  ] as const) {
    it(`refuses ${path}`, () => {
      assert.throws(() => createTable().router.get(path, answer), {
        code: 'FAIRLEAD_SERVICE_ROUTE',
        message: new RegExp(state.replaceAll('*', String.raw`\*`)),
      })
    })
  }
})

function summarise(match: RouteMatch): unknown {
  if (match.kind === 'found') return { kind: match.kind, template: match.route.template, params: match.params }
  return match.kind === 'method-not-allowed' ? { kind: match.kind, allow: match.allow } : match
}
