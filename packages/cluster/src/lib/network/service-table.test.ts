import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createServiceTable } from './service-table.ts'
import { createMemorySource, makeService, makeSlice } from './testing.ts'

void describe('createServiceTable', () => {
  it('has connections to a port go elsewhere while it is told to, and knows its endpoints meanwhile', async () => {
    const ports = [
      { name: 'http', port: 80, protocol: 'TCP' },
      { name: 'db', port: 5432, protocol: 'TCP' },
    ]
    const services = createMemorySource([
      makeService('web', { clusterIP: '10.80.0.9', ports, sessionAffinity: 'ClientIP' }),
    ])
    const slices = createMemorySource([makeSlice('web', ports, ['10.64.0.2'])])
    const table = createServiceTable(services, slices)
    const seen: string[] = []
    table.onChange((keys) => void seen.push(...keys))
    const backends = (): string[] | undefined =>
      table.entries
        .get('shop/web')
        ?.ports.map(({ redirect, backends: own }) =>
          [redirect?.ip ?? 'none', ...own.map(({ ip }) => ip)].join(' before '),
        )

    table.redirect(new Map([['shop/web/80', { ip: '10.64.0.1', port: 4000 }]]))
    await table.settled()
    assert.deepEqual(backends(), ['10.64.0.1 before 10.64.0.2', 'none before 10.64.0.2'])
    slices.put(makeSlice('web', ports, ['10.64.0.3']))
    await table.settled()
    assert.deepEqual(backends(), ['10.64.0.1 before 10.64.0.3', 'none before 10.64.0.3'])
    table.redirect(new Map())
    await table.settled()
    assert.deepEqual(backends(), ['none before 10.64.0.3', 'none before 10.64.0.3'])
    assert.deepEqual(new Set(seen), new Set(['shop/web']))
    table.close()
  })
})
