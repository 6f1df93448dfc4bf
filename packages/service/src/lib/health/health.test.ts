import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { findHealthEndpoint } from './endpoints.ts'
import { createHealth, overall } from './health.ts'

const up = { status: 'UP', critical: true } as const
const down = { status: 'DOWN', critical: true } as const
const minor = { status: 'DOWN', critical: false } as const

describe('overall', () => {
  for (const [state, components, expected] of [
    ['ready', [], 'UP'],
    ['ready', [up, minor], 'DEGRADED'],
    ['ready', [up, minor, down], 'DOWN'],
    ['starting', [up], 'OUT_OF_SERVICE'],
    ['draining', [minor], 'OUT_OF_SERVICE'],
    ['draining', [down], 'DOWN'],
  ] as const) {
    it(`is ${expected} when ${state} with ${JSON.stringify(components)}`, () =>
      assert.equal(overall(state, components), expected))
  }
})

describe('createHealth', () => {
  const service = 'test'

  it('reports why a component is down', async () => {
    const health = createHealth({ service })
    health.state = 'ready'
    health.addCheck('throws', () => Promise.reject(new Error('no route')))
    health.addCheck('false', () => false, { critical: false })
    health.addCheck('fine', () => undefined)
    const { status, components } = await health.report()
    assert.equal(status, 'DOWN')
    assert.deepEqual(
      Object.entries(components).map(([name, { status: found, error }]) => [name, found, error]),
      [
        ['throws', 'DOWN', 'no route'],
        ['false', 'DOWN', 'the check answered false'],
        ['fine', 'UP', undefined],
      ],
    )
  })

  it('counts a check that takes too long as down, and aborts it', async () => {
    const health = createHealth({ service })
    let aborted: unknown
    health.addCheck(
      'slow',
      (signal) => new Promise(() => signal.addEventListener('abort', () => (aborted = signal.reason))),
      { timeoutMs: 20 },
    )
    const { components } = await health.report()
    assert.equal(components['slow']?.error, 'Cannot check "slow": not done after 20 ms')
    assert.ok(aborted instanceof Error)
  })

  it('asks once for many callers, and again when the answer is old', async () => {
    let time = 0
    let asked = 0
    const health = createHealth({ service, now: () => time })
    health.addCheck('db', async () => void (asked += 1), { cacheMs: 1000 })
    await Promise.all([health.report(), health.report()])
    time = 999
    await health.report()
    assert.equal(asked, 1)
    time = 1000
    await health.report()
    assert.equal(asked, 2)
  })
})

describe('findHealthEndpoint', () => {
  const statuses = async (health: ReturnType<typeof createHealth>): Promise<unknown> =>
    Object.fromEntries(
      await Promise.all(
        ['/health/live', '/health/ready', '/health/startup', '/health'].map(
          async (path) => [path, (await findHealthEndpoint(path)?.(health))?.status] as const,
        ),
      ),
    )

  it('follows the life of a service', async () => {
    const health = createHealth({ service: 'test' })
    assert.deepEqual(await statuses(health), {
      '/health/live': 200,
      '/health/ready': 503,
      '/health/startup': 503,
      '/health': 503,
    })
    health.state = 'ready'
    assert.deepEqual(await statuses(health), {
      '/health/live': 200,
      '/health/ready': 200,
      '/health/startup': 200,
      '/health': 200,
    })
    health.state = 'draining'
    assert.deepEqual(await statuses(health), {
      '/health/live': 200,
      '/health/ready': 503,
      '/health/startup': 200,
      '/health': 503,
    })
  })

  it('names what is down on the readiness path, without the reason', async () => {
    const health = createHealth({ service: 'test' })
    health.state = 'ready'
    health.addCheck('db', () => Promise.reject(new Error('password hunter2')))
    const answer = await findHealthEndpoint('/readyz')?.(health)
    assert.deepEqual(answer, { status: 503, body: { status: 'DOWN', state: 'ready', down: ['db'] } })
  })

  it('knows the aliases and nothing else', () => {
    for (const path of ['/livez', '/readyz', '/healthz', '/ready', '/startupz'])
      assert.ok(findHealthEndpoint(path), path)
    for (const path of ['/', '/health/', '/healthy']) assert.equal(findHealthEndpoint(path), undefined)
  })
})
