import type { Health, HealthReport } from './health.ts'

export interface HealthAnswer {
  readonly status: 200 | 503
  readonly body: unknown
}

type Endpoint = (health: Health) => Promise<HealthAnswer>

const endpoints = new Map<string, Endpoint>([
  ['/health/live', live],
  ['/livez', live],
  ['/health/ready', ready],
  ['/readyz', ready],
  ['/ready', ready],
  ['/health/startup', startup],
  ['/startupz', startup],
  ['/health', detailed],
  ['/healthz', detailed],
])

/** What answers at a health path, or undefined for every other path. */
export function findHealthEndpoint(path: string): Endpoint | undefined {
  return endpoints.get(path)
}

/** Says only that the event loop turns. Components have no say: restarting this process would not mend them. */
async function live(health: Health): Promise<HealthAnswer> {
  return { status: 200, body: { status: 'UP', state: health.state } }
}

async function startup(health: Health): Promise<HealthAnswer> {
  return health.state === 'starting'
    ? { status: 503, body: { status: 'OUT_OF_SERVICE', state: health.state } }
    : { status: 200, body: { status: 'UP', state: health.state } }
}

/** Names what is down, without the error text: this path may be reachable from outside. */
async function ready(health: Health): Promise<HealthAnswer> {
  const report = await health.report()
  const down = Object.entries(report.components).flatMap(([name, { status }]) => (status === 'DOWN' ? [name] : []))
  return {
    status: httpStatus(report),
    body: { status: report.status, state: report.state, ...(down.length > 0 ? { down } : {}) },
  }
}

async function detailed(health: Health): Promise<HealthAnswer> {
  const report = await health.report()
  return { status: httpStatus(report), body: report }
}

function httpStatus(report: HealthReport): 200 | 503 {
  return report.status === 'UP' || report.status === 'DEGRADED' ? 200 : 503
}
