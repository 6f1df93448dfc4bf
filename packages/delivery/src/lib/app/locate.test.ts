import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { locateKey } from './locate.ts'

const source = `import { defineApp } from '@fairlead/delivery/app'

// services: { orders: { replicas: 1 } }
const shared: Record<string, string> = { LOG_LEVEL: 'info' }

export default defineApp({
  name: 'shop', /* two
  lines */
  services: {
    catalog: { env: shared, replicas: 1 },
    'orders': {
      env: { URL: \`http://\${'x'}:
80\`, LATE: cond ? 'a' : 'b' },
      replicaz: 2,
    },
  },
})
`

describe('locateKey', () => {
  const cases = [
    { name: 'finds a key of the outermost object', path: ['name'], line: 7 },
    { name: 'counts the lines of comments', path: ['services'], line: 9 },
    { name: 'finds a quoted key', path: ['services', 'orders'], line: 11 },
    { name: 'tells equal keys of two objects apart', path: ['services', 'catalog', 'replicas'], line: 10 },
    { name: 'counts the lines of templates', path: ['services', 'orders', 'replicaz'], line: 14 },
    {
      name: 'finds a value built elsewhere by the tail of its path',
      path: ['services', 'catalog', 'env', 'LOG_LEVEL'],
      line: 4,
    },
    { name: 'gives up on a key that is nowhere', path: ['services', 'orders', 'nowhere'], line: undefined },
  ]
  for (const { name, path, line } of cases) it(name, () => assert.equal(locateKey(source, path), line))

  it('reads JSON', () => {
    assert.equal(
      locateKey('{\n  "services": {\n    "a": { "port": 1 },\n    "b": { "port": 2 }\n  }\n}', [
        'services',
        'b',
        'port',
      ]),
      4,
    )
  })
})
