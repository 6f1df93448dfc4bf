import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ServiceStatus } from '@fairlead/delivery'
import { renderServices } from './status.ts'

const web: ServiceStatus = {
  app: 'shop',
  service: 'web',
  namespace: 'default',
  version: '1.0.0',
  replicas: 1,
  readyReplicas: 1,
  outdatedReplicas: 0,
  restarts: 0,
  image: 'web:2',
  url: 'http://127.0.0.1:8080',
  createdAt: '2026-01-01T00:00:00Z',
}

describe('renderServices', () => {
  const now = Date.parse('2026-01-01T00:00:42Z')

  it('is a table with a line per service', () => {
    assert.equal(
      renderServices([web], now),
      [
        'APP   SERVICE  READY  RESTARTS  AGE  URL                    IMAGE',
        'shop  web      1/1    0         42s  http://127.0.0.1:8080  web:2',
      ].join('\n'),
    )
  })

  it('tells when what is ready is a version before', () => {
    assert.match(renderServices([{ ...web, outdatedReplicas: 1 }], now), /web:2 \(still 1 pod of a version before\)$/)
    assert.match(renderServices([{ ...web, outdatedReplicas: 2 }], now), /\(still 2 pods of a version before\)$/)
  })
})
