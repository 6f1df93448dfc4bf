import type { Decision } from './plan.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** How Node is started, and what was decided for it. */
export interface LaunchPlan {
  /** For Node, in front of the program. */
  readonly nodeArguments: readonly string[]
  /** To be added to the environment. */
  readonly variables: Readonly<Record<string, string>>
  /** One per decision, for the log. */
  readonly lines: readonly LaunchLine[]
}
export interface LaunchLine {
  readonly setting: string
  readonly value: number | string | undefined
  readonly reason: string
}

/** What process managers and servers that run several processes read. */
const workersVariable = 'WEB_CONCURRENCY'

/** Where a diagnostic report goes when the heap is exhausted. */
const reportArguments = [
  '--report-on-fatalerror',
  // One line of JSON, for whatever collects the logs.
  '--report-compact',
  // Secrets are in the environment, and a look at every network interface can hang on a resolver.
  '--report-exclude-env',
  '--report-exclude-network',
]

/**
 * Turns decisions into arguments and variables. What the user has set stays: `given` are the arguments Node already
 * has, and NODE_OPTIONS counts as well. Pure.
 */
export function planLaunch(decisions: readonly Decision[], given: readonly string[], env: Environment): LaunchPlan {
  const flags = [...given, ...(env['NODE_OPTIONS'] ?? '').split(/\s+/)].map(flagName)
  const nodeArguments: string[] = []
  const variables: Record<string, string> = {}
  const lines: LaunchLine[] = []
  for (const { setting, value, reason } of decisions) {
    const by = setter(setting, flags, env)
    if (by !== undefined) lines.push({ setting, value: 'as given', reason: `${by} is set, which counts` })
    else lines.push({ setting, value, reason })
    if (by !== undefined || value === undefined) continue
    if (setting === 'UV_THREADPOOL_SIZE') variables[setting] = String(value)
    else if (setting === 'workers') variables[workersVariable] = String(value)
    else nodeArguments.push(`--${setting}=${value}`)
  }
  if (flags.includes('--report-on-fatalerror')) {
    const reason = '--report-on-fatalerror is set, which counts'
    return { nodeArguments, variables, lines: [...lines, { setting: 'report', value: 'as given', reason }] }
  }
  const directory = env['FAIRLEAD_REPORT_DIRECTORY']
  nodeArguments.push(...reportArguments, ...reportTarget(directory))
  lines.push({
    setting: 'report',
    value: directory === undefined ? 'stderr' : `${directory}/report.json`,
    reason: directory ? 'FAIRLEAD_REPORT_DIRECTORY, one file that the next report overwrites' : 'the log is collected',
  })
  return { nodeArguments, variables, lines }
}

function reportTarget(directory: string | undefined): string[] {
  return directory ? [`--report-directory=${directory}`, '--report-filename=report.json'] : ['--report-filename=stderr']
}

/** V8 takes underscores for dashes. */
function flagName(argument: string): string {
  return (argument.split('=', 1)[0] ?? '').replaceAll('_', '-')
}

/** What of the user's decides the setting already. */
function setter(setting: Decision['setting'], flags: readonly string[], env: Environment): string | undefined {
  if (setting === 'UV_THREADPOOL_SIZE') return env[setting] === undefined ? undefined : setting
  if (setting === 'workers') return env[workersVariable] === undefined ? undefined : workersVariable
  const rivals =
    setting === 'max-old-space-size'
      ? ['--max-old-space-size', '--max-old-space-size-percentage', '--max-heap-size']
      : ['--max-semi-space-size', '--max-heap-size']
  return rivals.find((rival) => flags.includes(rival))
}
