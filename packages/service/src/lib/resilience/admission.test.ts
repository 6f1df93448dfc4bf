import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createMetrics } from '../metrics/metrics.ts'
import { createAdmission } from './admission.ts'
import { createManualClock } from './clock.ts'

const request = (url: string): { method: string; url: string; headers: Record<string, string> } => ({
  method: 'GET',
  url,
  headers: {},
})

describe('createAdmission', () => {
  it('refuses with 503, Retry-After and x-envoy-overloaded beyond the limit, and lets health through', () => {
    const metrics = createMetrics()
    using admission = createAdmission({ concurrency: 2, shed: false, retryAfterSeconds: 3, metrics })
    const [first, second] = [admission.admit(request('/a')), admission.admit(request('/b'))]
    assert.ok(first.isAdmitted && second.isAdmitted)
    const third = admission.admit(request('/c?x=1'))
    assert.partialDeepStrictEqual(third, {
      isAdmitted: false,
      status: 503,
      reason: 'limit',
      headers: { 'retry-after': '3', 'x-envoy-overloaded': 'true' },
    })
    for (const path of ['/health', '/livez?verbose', '/readyz', '/metrics'])
      assert.equal(admission.admit(request(path)).isAdmitted, true)
    assert.deepEqual(admission.health(), { status: 'degraded', limit: 2, active: 2 })
    first.release()
    first.release()
    const next = admission.admit(request('/c'))
    assert.equal(next.isAdmitted, true)
    assert.equal(admission.admit(request('/d')).isAdmitted, false)
    assert.match(metrics.render(), /http_requests_rejected_total\{reason="limit"\} 2/)
    assert.match(metrics.render(), /http_concurrency_limit 2/)
  })

  it('keeps a share for a partition', () => {
    using admission = createAdmission({
      concurrency: 4,
      shed: false,
      partitions: { checkout: 0.5 },
      partitionOf: ({ url }) => (url?.startsWith('/checkout') ? 'checkout' : undefined),
    })
    for (let index = 0; index < 4; index += 1) assert.ok(admission.admit(request('/search')).isAdmitted)
    assert.equal(admission.admit(request('/search')).isAdmitted, false)
    assert.equal(admission.admit(request('/checkout')).isAdmitted, true)
    assert.equal(admission.admit(request('/checkout')).isAdmitted, true)
    assert.equal(admission.admit(request('/checkout')).isAdmitted, false)
  })

  it('adapts: refuses more when answers become slow', async () => {
    const clock = createManualClock()
    using admission = createAdmission({ concurrency: 'vegas', shed: false, clock })
    const round = async (ms: number): Promise<void> => {
      const permits = Array.from({ length: admission.limiter?.limit ?? 0 }, () => admission.admit(request('/')))
      await clock.advance(ms)
      for (const permit of permits) if (permit.isAdmitted) permit.release()
    }
    for (let index = 0; index < 20; index += 1) await round(1001)
    const before = admission.limiter?.limit ?? 0
    for (let index = 0; index < 20; index += 1) await round(3000)
    assert.ok((admission.limiter?.limit ?? 0) < before, `${admission.limiter?.limit} after ${before}`)
  })

  it('refuses when the process is overloaded, the unimportant first', async () => {
    const clock = createManualClock()
    let used = 0
    using admission = createAdmission({
      concurrency: false,
      shed: { cpus: 1, cpuMs: () => used },
      priorityOf: ({ url }) => (url === '/pay' ? 1 : 0),
      clock,
    })
    // What a process at its best has under way: two calls of 50 ms at a time.
    for (let index = 0; index < 40; index += 1) {
      const permits = [admission.admit(request('/')), admission.admit(request('/'))]
      await clock.advance(50)
      for (const permit of permits) if (permit.isAdmitted) permit.release()
    }
    for (let index = 0; index < 60; index += 1) admission.admit(request('/'))
    for (let round = 0; round < 16; round += 1) {
      used += 250
      await clock.advance(250)
      const done = admission.admit(request('/pay'))
      if (done.isAdmitted) done.release()
    }
    for (let index = 0; index < 40; index += 1) {
      const done = admission.admit(request('/pay'))
      if (done.isAdmitted) done.release()
    }
    assert.partialDeepStrictEqual(admission.admit(request('/')), { isAdmitted: false, reason: 'overload' })
    assert.equal(admission.admit(request('/pay')).isAdmitted, true)
    assert.equal(admission.admit(request('/readyz')).isAdmitted, true)
  })
})
