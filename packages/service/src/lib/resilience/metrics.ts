import type { Metrics } from '../metrics/metrics.ts'
import type { Pipeline, PipelineCounts } from './pipeline.ts'

/** One family per set of metrics, however many pipelines report to it. */
const reporters = new WeakMap<Metrics, (pipeline: Pipeline) => void>()

/** Shows a pipeline in `metrics`. What it counts is read when the metrics are, so that calls pay nothing for it. */
export function reportPipeline(pipeline: Pipeline, metrics: Metrics): void {
  let report = reporters.get(metrics)
  if (report === undefined) {
    report = createReporter(metrics)
    reporters.set(metrics, report)
  }
  report(pipeline)
}

const stateNumbers = { closed: 0, 'half-open': 1, open: 2 } as const

function createReporter(metrics: Metrics): (pipeline: Pipeline) => void {
  const labels = ['pipeline'] as const
  const calls = metrics.counter('resilience_calls_total', {
    help: 'Calls under resilience policies, by how they ended.',
    labels: ['pipeline', 'outcome'],
  })
  const events = metrics.counter('resilience_events_total', {
    help: 'What resilience policies did: retry, hedge, fallback, timeout, budget_exhausted.',
    labels: ['pipeline', 'event'],
  })
  const breaker = metrics.gauge('resilience_breaker_state', {
    help: 'State of a circuit breaker: 0 closed, 1 half-open, 2 open.',
    labels,
  })
  const active = metrics.gauge('resilience_bulkhead_active', { help: 'Calls under way in a bulkhead.', labels })
  const queued = metrics.gauge('resilience_bulkhead_queued', { help: 'Calls waiting for a bulkhead.', labels })
  const limit = metrics.gauge('resilience_concurrency_limit', { help: 'Adaptive limit of calls at once.', labels })

  return (pipeline) => {
    const { name } = pipeline
    let before: PipelineCounts = nothing
    metrics.onCollect(() => {
      const { counts } = pipeline
      const grown = (key: keyof PipelineCounts): number => counts[key] - before[key]
      calls.labels({ pipeline: name, outcome: 'success' }).inc(grown('succeeded'))
      calls.labels({ pipeline: name, outcome: 'failure' }).inc(grown('failed') - grown('rejected'))
      calls.labels({ pipeline: name, outcome: 'rejected' }).inc(grown('rejected'))
      events.labels({ pipeline: name, event: 'retry' }).inc(grown('retries'))
      events.labels({ pipeline: name, event: 'hedge' }).inc(grown('hedges'))
      events.labels({ pipeline: name, event: 'fallback' }).inc(grown('fallbacks'))
      events.labels({ pipeline: name, event: 'timeout' }).inc(grown('timeouts'))
      events.labels({ pipeline: name, event: 'budget_exhausted' }).inc(grown('budgetExhausted'))
      before = { ...counts }
      if (pipeline.breaker) breaker.labels({ pipeline: name }).set(stateNumbers[pipeline.breaker.state])
      if (pipeline.bulkhead) {
        active.labels({ pipeline: name }).set(pipeline.bulkhead.active)
        queued.labels({ pipeline: name }).set(pipeline.bulkhead.queued)
      }
      if (pipeline.concurrency) limit.labels({ pipeline: name }).set(pipeline.concurrency.limit)
    })
  }
}

const nothing: PipelineCounts = {
  calls: 0,
  succeeded: 0,
  failed: 0,
  rejected: 0,
  timeouts: 0,
  retries: 0,
  hedges: 0,
  fallbacks: 0,
  budgetExhausted: 0,
}
