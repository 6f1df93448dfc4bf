import assert from 'node:assert/strict'
import { describe, it, mock } from 'node:test'
import { createLogger } from '../log/logger.ts'
import { createMetrics } from '../metrics/metrics.ts'
import { count } from './check.ts'
import { toHealthJson } from './endpoints.ts'
import { createHealth } from './health.ts'

describe('count', () => {
  for (const { name, answers, options, expected } of [
    { name: 'the first answer decides alone', answers: 'F', options: { failureThreshold: 3 }, expected: 'DOWN' },
    { name: 'too few failures do not count', answers: 'SFF', options: { failureThreshold: 3 }, expected: 'UP' },
    { name: 'enough failures do', answers: 'SFFF', options: { failureThreshold: 3 }, expected: 'DOWN' },
    { name: 'a success in between begins anew', answers: 'SFFSFF', options: { failureThreshold: 3 }, expected: 'UP' },
    {
      name: 'one success is not enough to be up again',
      answers: 'FS',
      options: { successThreshold: 2 },
      expected: 'DOWN',
    },
    { name: 'two are', answers: 'FSS', options: { successThreshold: 2 }, expected: 'UP' },
    { name: 'a failure in between begins anew', answers: 'FSFS', options: { successThreshold: 2 }, expected: 'DOWN' },
    { name: 'by default every answer counts', answers: 'SFS', options: {}, expected: 'UP' },
  ] as const)
    it(name, () => {
      let streak: ReturnType<typeof count> = { status: undefined, failures: 0, successes: 0 }
      for (const answer of answers) streak = count(streak, answer === 'S', options)
      assert.equal(streak.status, expected)
    })
})

describe('checks with a schedule', () => {
  it('ask on their own, answer probes with what they know, and end with the service', async () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
    try {
      let asked = 0
      let isUp = true
      const health = createHealth({ service: 'test' })
      health.state = 'ready'
      health.addCheck('db', () => ((asked += 1), isUp), { intervalMs: 1000 })
      assert.equal((await health.report()).status, 'UP')
      assert.equal(asked, 1)
      isUp = false
      assert.equal((await health.report()).status, 'UP')
      await settle()
      mock.timers.tick(1000)
      await settle()
      assert.equal(asked, 2)
      assert.equal((await health.report()).status, 'DOWN')
      health.stop()
      mock.timers.tick(10_000)
      await settle()
      assert.equal(asked, 2)
    } finally {
      mock.timers.reset()
    }
  })
})

describe('a change', () => {
  it('is one line and a metric; what stays as it is, is neither', async () => {
    const lines: string[] = []
    const log = createLogger({ sink: { write: (line) => void lines.push(line), flush() {} } })
    const metrics = createMetrics()
    let isUp = true
    const health = createHealth({ service: 'test', log, metrics })
    health.state = 'ready'
    const check = (): void => {
      if (!isUp) throw new Error('no answer of postgres://app:hunter2@db/orders')
    }
    const remove = health.addCheck('db', check, { cacheMs: 0 })
    const seen: unknown[] = []
    for (const next of [true, true, false, false, true]) {
      isUp = next
      await health.report()
      const text = metrics.render()
      seen.push([/health_check_status\{check="db"\} (\d)/.exec(text)?.[1], /^health_status (\d)/m.exec(text)?.[1]])
    }
    assert.deepEqual(seen, [
      ['1', '1'],
      ['1', '1'],
      ['0', '0'],
      ['0', '0'],
      ['1', '1'],
    ])
    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as { level: string; msg: string }).level),
      ['error', 'info'],
    )
    assert.doesNotMatch(lines.join(''), /hunter2/)
    remove()
    assert.deepEqual((await health.report()).components, {})
  })
})

describe('toHealthJson', () => {
  it('is the format of the draft', async () => {
    const health = createHealth({ service: 'test', version: '1.2.3', now: () => 0 })
    health.state = 'ready'
    health.addCheck('search', () => false, { critical: false })
    assert.deepEqual(toHealthJson(await health.report()), {
      status: 'warn',
      version: '1.2.3',
      serviceId: 'test',
      description: 'test in development',
      checks: {
        'search:responseTime': [
          {
            componentId: 'search',
            componentType: 'component',
            observedValue: 0,
            observedUnit: 'ms',
            status: 'warn',
            time: '1970-01-01T00:00:00.000Z',
            output: 'the check answered false',
          },
        ],
      },
    })
  })
})

/** Lets promises that are already settled run their course. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve()
}
