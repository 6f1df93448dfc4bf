// What a policy costs a call when it has nothing to do: CPU per call over a raw await, against cockatiel and opossum in one run.
// Rounds are interleaved and the least of each counts, as on a shared machine everything else only adds.
import {
  bulkhead,
  circuitBreaker,
  ConsecutiveBreaker,
  handleAll,
  retry,
  timeout,
  TimeoutStrategy,
  wrap,
} from 'cockatiel'
import Opossum from 'opossum'
import {
  createBreaker,
  createBulkhead,
  createConcurrencyLimiter,
  createRateLimiter,
  createThrottle,
  pipeline,
  standardPipeline,
} from '@fairlead/service/resilience'
import { report } from '../report.ts'
import type { Figure } from '../report.ts'

const work = async (): Promise<number> => 1
const rounds = 21
const calls = 40_000

const breaker = createBreaker()
const rolling = createBreaker({
  intervalMs: 30_000,
  bucketMs: 1000,
  readyToTrip: { failureRatio: 0.1, minimumRequests: 100 },
})
const throttle = createThrottle()
const retrying = pipeline({ retry: {} })
const timing = pipeline({ attemptTimeoutMs: 10_000 })
const places = createBulkhead({ maxConcurrent: 10 })
const rate = createRateLimiter({ limit: 1e9 })
const limiter = createConcurrencyLimiter()
const fallback = pipeline({ fallback: () => 0 })
const hedging = pipeline({ hedge: { afterMs: 1000 } })
const standard = standardPipeline()

const theirBreaker = circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(5) })
const theirRetry = retry(handleAll, { maxAttempts: 3 })
const theirTimeout = timeout(10_000, TimeoutStrategy.Aggressive)
const theirBulkhead = bulkhead(10)
const theirPipeline = wrap(
  bulkhead(1000),
  timeout(30_000, TimeoutStrategy.Aggressive),
  theirRetry,
  theirBreaker,
  theirTimeout,
)
const opossum = new Opossum(work, { timeout: false })
const opossumTimeout = new Opossum(work, { timeout: 10_000 })

/** What is measured, by name: ours, and what of the others does the same. */
const subjects: Readonly<Record<string, () => Promise<unknown>>> = {
  raw: work,
  breaker: () => breaker.execute(work),
  'breaker, rolling window': () => rolling.execute(work),
  'breaker, SRE throttle': () => throttle.execute(work),
  retry: () => retrying.execute(work),
  timeout: () => timing.execute(work),
  bulkhead: () => places.execute(work),
  'rate limit': () => rate.execute(work),
  'adaptive limit': () => limiter.execute(work),
  fallback: () => fallback.execute(work),
  hedging: () => hedging.execute(work),
  'standard pipeline': () => standard.execute(work),
  'cockatiel breaker': () => theirBreaker.execute(work),
  'cockatiel retry': () => theirRetry.execute(work),
  'cockatiel timeout': () => theirTimeout.execute(work),
  'cockatiel bulkhead': () => theirBulkhead.execute(work),
  'cockatiel wrap': () => theirPipeline.execute(work),
  'opossum breaker': () => opossum.fire(),
  'opossum with timeout': () => opossumTimeout.fire(),
}

async function cpuPerCall(call: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  for (let index = 0; index < calls; index += 1) await call()
  const { user, system } = process.cpuUsage(before)
  return ((user + system) * 1000) / calls
}

const samples = new Map<string, number[]>(Object.keys(subjects).map((name) => [name, []]))
for (let round = 0; round <= rounds; round += 1) {
  for (const [name, call] of Object.entries(subjects)) {
    const sample = await cpuPerCall(call)
    // The first round is for the compiler.
    if (round > 0) samples.get(name)?.push(sample)
  }
}
const least = (name: string): number => Math.min(...(samples.get(name) ?? []))
const over = (name: string): number => least(name) - least('raw')

const figure = (name: string, target: number | undefined, peer?: string): Figure => ({
  name: `${name}, over a raw await (least of ${rounds})`,
  unit: 'ns',
  value: over(name),
  ...(target === undefined ? {} : { target }),
  ...(peer === undefined ? {} : { peer: { name: peer, value: over(peer) } }),
})

report('resilience', [
  { name: `raw await of an async function (least of ${rounds})`, unit: 'ns', value: least('raw') },
  figure('breaker', 200, 'cockatiel breaker'),
  figure('breaker, rolling window', 200, 'opossum breaker'),
  figure('breaker, SRE throttle', 200),
  figure('retry', 200, 'cockatiel retry'),
  figure('timeout', 200, 'cockatiel timeout'),
  figure('bulkhead', 200, 'cockatiel bulkhead'),
  figure('rate limit', 200),
  figure('adaptive limit', 200),
  figure('fallback', 200),
  figure('hedging', 200),
  figure('standard pipeline', 1000, 'cockatiel wrap'),
  figure('opossum with timeout', undefined),
])
opossum.shutdown()
opossumTimeout.shutdown()
