import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { readSeries } from './exposition.ts'
import { PodMetrics } from './pod-metrics.ts'
import { scrapeTargetOf } from './scrape-target.ts'

const everything = (): boolean => true

describe('readSeries', () => {
  it('reads labels with anything in them, and passes over other names and what is no number', () => {
    const text = [
      '# TYPE jobs gauge',
      'jobs 3',
      String.raw`jobs{queue="a,b}\"c\\\n",} 4.5e1 1700000000000`,
      'jobs{queue="x"} NaN',
      'jobs{queue="broken} 1',
      'jobs_total 100',
      'jobsx 7',
    ].join('\n')
    assert.deepEqual(
      [...readSeries(text, new Set(['jobs', 'none']))],
      [
        [
          'jobs',
          [
            { labels: {}, value: 3 },
            { labels: { queue: 'a,b}"c\\\n' }, value: 45 },
          ],
        ],
      ],
    )
  })
})

describe('scrapeTargetOf', () => {
  const pod = (annotations: Record<string, string>, phase = 'Running'): Parameters<typeof scrapeTargetOf>[0] => ({
    metadata: { annotations },
    spec: { containers: [{ name: 'a', ports: [{ containerPort: 8080 }] }] },
    status: { phase, podIP: '10.0.0.1' },
  })

  it('goes by the annotations', () => {
    assert.deepEqual(scrapeTargetOf(pod({ 'prometheus.io/scrape': 'true' })), {
      host: '10.0.0.1',
      port: 8080,
      path: '/metrics',
    })
    const all = { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '9000', 'prometheus.io/path': '/m?x=1' }
    assert.deepEqual(scrapeTargetOf(pod(all)), { host: '10.0.0.1', port: 9000, path: '/m?x=1' })
  })

  it('is none for pods that do not run, do not want it, or ask for what is not possible', () => {
    assert.equal(scrapeTargetOf(pod({})), undefined)
    assert.equal(scrapeTargetOf(pod({ 'prometheus.io/scrape': 'true' }, 'Pending')), undefined)
    for (const port of ['http', '0', '70000']) {
      assert.equal(scrapeTargetOf(pod({ 'prometheus.io/scrape': 'true', 'prometheus.io/port': port })), undefined)
    }
  })
})

describe('PodMetrics', () => {
  function openWorld(): { texts: Record<string, string>; clock: { now: number }; metrics: PodMetrics } {
    const texts: Record<string, string> = {}
    const clock = { now: 1_000_000 }
    const scrape = async ({ host }: { host: string }): Promise<string> => texts[host] ?? Promise.reject(new Error(host))
    return { texts, clock, metrics: new PodMetrics({ scrape, now: () => clock.now }) }
  }
  const pods = ['a', 'b'].map((host) => ({ uid: host, target: { host, port: 80, path: '/metrics' } }))

  it('adds up the series of a gauge that have the labels, of the pods that answer', async () => {
    const { texts, metrics } = openWorld()
    texts['a'] = 'jobs{queue="x"} 2\njobs{queue="y"} 3\n'
    const read = async (isCounted: (labels: Readonly<Record<string, string>>) => boolean): Promise<unknown> =>
      [...(await metrics.read(pods, 'jobs', isCounted))].map(([uid, { value }]) => [uid, value])
    assert.deepEqual(await read(everything), [['a', 5]])
    assert.deepEqual(await read(({ queue }) => queue === 'y'), [['a', 3]])
    assert.deepEqual(await read(({ queue }) => queue === 'z'), [])
  })

  it('has rates of counters from the second question on, also where one began again', async () => {
    const { texts, clock, metrics } = openWorld()
    const ask = async (): Promise<unknown> => {
      const found = await metrics.read(pods, 'http_requests_per_second', everything)
      return [...found].map(([uid, { value, windowSeconds }]) => [uid, value, windowSeconds])
    }
    texts['a'] = 'http_requests_total{code="200"} 1000\nhttp_requests_total{code="500"} 50\n'
    assert.deepEqual(await ask(), [])
    clock.now += 15_000
    texts['a'] = 'http_requests_total{code="200"} 1300\nhttp_requests_total{code="500"} 15\n'
    assert.deepEqual(await ask(), [['a', 21, 15]])
    // Two who ask do not shrink the window of each other.
    clock.now += 500
    assert.deepEqual(await ask(), [['a', 315 / 15.5, 16]])
    clock.now += 400_000
    assert.deepEqual(await ask(), [])
  })

  it('takes a gauge of that very name before a counter', async () => {
    const { texts, metrics } = openWorld()
    texts['a'] = 'requests 7\nrequests_total 100\n'
    const [found] = [...(await metrics.read(pods, 'requests', everything)).values()]
    assert.equal(found?.value, 7)
  })
})
