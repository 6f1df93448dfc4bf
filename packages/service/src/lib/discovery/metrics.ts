import type { Metrics } from '../metrics/metrics.ts'
import type { BalancerCounts, BalancerHealth } from './balancer.ts'

interface Reported {
  readonly name: string
  readonly counts: Readonly<BalancerCounts>
  health(): BalancerHealth
}

type Reporter = (balancer: Reported) => () => void

/** One family per set of metrics, however many balancers report to it. */
const reporters = new WeakMap<Metrics, Reporter>()

/** Shows a balancer in `metrics`, read when they are. Returns what ends it. */
export function reportBalancer(balancer: Reported, metrics: Metrics): () => void {
  let report = reporters.get(metrics)
  if (report === undefined) {
    report = createReporter(metrics)
    reporters.set(metrics, report)
  }
  return report(balancer)
}

function createReporter(metrics: Metrics): Reporter {
  const endpoints = metrics.gauge('discovery_endpoints', {
    help: 'Endpoints of a service: known, used for calls, and ejected for their failures.',
    labels: ['service', 'state'],
  })
  const up = metrics.gauge('discovery_up', {
    help: 'Whether endpoints of a service could be looked up (1) or those of before are used (0).',
    labels: ['service'],
  })
  const events = metrics.counter('discovery_events_total', {
    help: 'What happened to the endpoints of a service: update, error (of a lookup), ejection.',
    labels: ['service', 'event'],
  })
  const picks = metrics.counter('discovery_picks_total', {
    help: 'Calls for which an endpoint of a service was picked.',
    labels: ['service'],
  })
  return (balancer) => {
    const { name: service, counts } = balancer
    let before: BalancerCounts = { picks: 0, ejections: 0, updates: 0, errors: 0 }
    return metrics.onCollect(() => {
      const health = balancer.health()
      endpoints.labels({ service, state: 'known' }).set(health.known)
      endpoints.labels({ service, state: 'used' }).set(health.used)
      endpoints.labels({ service, state: 'ejected' }).set(health.ejected)
      up.labels({ service }).set(health.error === undefined ? 1 : 0)
      picks.labels({ service }).inc(counts.picks - before.picks)
      events.labels({ service, event: 'update' }).inc(counts.updates - before.updates)
      events.labels({ service, event: 'error' }).inc(counts.errors - before.errors)
      events.labels({ service, event: 'ejection' }).inc(counts.ejections - before.ejections)
      before = { ...counts }
    })
  }
}
