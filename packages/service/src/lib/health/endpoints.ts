import { isReady } from './health.ts'
import type { Health, HealthReport } from './health.ts'

export interface HealthAnswer {
  readonly status: 200 | 503
  readonly body: unknown
}

/**
 * What a caller that asks for `application/health+json` gets: the format of draft-inadarei-api-health-check-06, which expired
 * as a draft and lives on in probes and dashboards.
 */
export const healthJsonType = 'application/health+json'

interface HealthJson {
  readonly status: 'pass' | 'warn' | 'fail'
  readonly version: string
  readonly serviceId: string
  readonly description: string
  readonly output?: string | undefined
  readonly checks: Readonly<Record<string, readonly unknown[]>>
}

/** The detailed report as `application/health+json`. */
export function toHealthJson(report: HealthReport): HealthJson {
  const status = report.status === 'UP' ? 'pass' : report.status === 'DEGRADED' ? 'warn' : 'fail'
  const checks = Object.entries(report.components).map(([name, component]) => [
    `${name}:responseTime`,
    [
      {
        componentId: name,
        componentType: 'component',
        observedValue: component.durationMs,
        observedUnit: 'ms',
        status: component.status === 'UP' ? 'pass' : component.critical ? 'fail' : 'warn',
        time: component.checkedAt,
        ...(component.error === undefined ? {} : { output: component.error }),
      },
    ],
  ])
  return {
    status,
    version: report.version,
    serviceId: report.service,
    description: `${report.service} in ${report.environment}`,
    ...(report.status === 'OUT_OF_SERVICE' ? { output: `The service is ${report.state}` } : {}),
    checks: Object.fromEntries(checks) as HealthJson['checks'],
  }
}

/** The paths, for an index. */
export function healthPaths(): readonly string[] {
  return [...endpoints.keys()]
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
  return isReady(report.status) ? 200 : 503
}
