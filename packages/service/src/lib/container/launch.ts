import { writeSync } from 'node:fs'
import { constants } from 'node:os'
import { messageOf } from '../errors.ts'
import type { ServiceError } from '../errors.ts'
import { openCgroup } from './cgroup.ts'
import { launchFailed } from './errors.ts'
import { planLaunch } from './launch-plan.ts'
import type { LaunchPlan } from './launch-plan.ts'
import { planResources } from './plan.ts'

/** Holds the id of the process that was planned, which survives the change of program: planned once is enough. */
const guard = 'FAIRLEAD_LAUNCHED'

/**
 * Starts a program in Node with sizes that fit the container: `node launch.js [node options] program [arguments]`.
 * The program takes the place of this process, same id, nothing in between; where Node cannot do that, and with
 * FAIRLEAD_LAUNCH=spawn, it becomes a child whose signals and exit code are handed through. FAIRLEAD_LAUNCH=off plans
 * nothing. Never returns when the program could be started.
 */
export function launch(parameters: readonly string[], env: NodeJS.ProcessEnv = process.env): void {
  const at = parameters.findIndex((parameter) => !parameter.startsWith('-'))
  const program = parameters[at] ?? ''
  if (at === -1) {
    const hint = 'Write: node launch.js [node options, as --name=value] program.js'
    return fail(launchFailed(program, 'no program is given', hint))
  }
  const mode = env['FAIRLEAD_LAUNCH'] ?? 'exec'
  if (mode !== 'exec' && mode !== 'spawn' && mode !== 'off') {
    const state = `FAIRLEAD_LAUNCH is ${JSON.stringify(mode)}, expected exec, spawn or off`
    return fail(launchFailed(program, state, 'Set it to one of the three, or remove it'))
  }
  const given = [...process.execArgv, ...parameters.slice(0, at)]
  const plan = mode === 'off' || isPlanned(env) ? nothing : planLaunch(decide(), given, env)
  for (const { setting, value, reason } of plan.lines)
    log('info', 'resource planned', { setting, value: value ?? 'unchanged', reason }, env)

  const nodeArguments = [...plan.nodeArguments, ...given, ...parameters.slice(at)]
  const variables = { ...env, ...plan.variables, [guard]: String(process.pid) }
  if (mode === 'spawn' || !replace(nodeArguments, variables)) supervise(program, nodeArguments, variables)
}

const nothing: LaunchPlan = { nodeArguments: [], variables: {}, lines: [] }

function decide(): ReturnType<typeof planResources> {
  return planResources(openCgroup().readLimits())
}

function isPlanned(env: NodeJS.ProcessEnv): boolean {
  return env[guard] === String(process.pid) || env[guard] === String(process.ppid)
}

/** False where Node cannot do it (Windows). */
function replace(nodeArguments: readonly string[], env: NodeJS.ProcessEnv): boolean {
  if (process.execve === undefined) return false
  // It says that it is experimental, which is this package's business and not the user's.
  process.removeAllListeners('warning')
  return process.execve(process.execPath, [process.argv0, ...nodeArguments], env)
}

function supervise(program: string, nodeArguments: readonly string[], env: NodeJS.ProcessEnv): void {
  // Loaded here: it takes milliseconds, and mostly it is not needed.
  const { spawn } = process.getBuiltinModule('node:child_process')
  const child = spawn(process.execPath, nodeArguments, { env, stdio: 'inherit' })
  for (const signal of forwarded) process.on(signal, () => child.kill(signal))
  child.on('error', (error) =>
    fail(launchFailed(program, `Node does not start: ${messageOf(error)}`, 'Look at the cause', error)),
  )
  child.on('exit', (code, signal) => {
    const exitCode = signal === null ? (code ?? 1) : 128 + constants.signals[signal]
    const isAbort = signal === 'SIGABRT' || code === 134
    if (isAbort) log('fatal', 'program aborted: V8 gave up, mostly for want of heap', { exit_code: exitCode }, env)
    else if (signal === 'SIGKILL') log('fatal', 'program killed, mostly for memory', { exit_code: exitCode }, env)
    process.exit(exitCode)
  })
}

const forwarded = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR2', 'SIGWINCH'] as const

/** The service's own logger would cost more than everything else here; the line looks like one of its. */
function log(level: 'info' | 'fatal', msg: string, fields: object, env: NodeJS.ProcessEnv): void {
  const least = env['LOG_LEVEL']?.toLowerCase()
  if (level === 'info' && least !== undefined && ['warn', 'error', 'fatal', 'silent'].includes(least)) return
  try {
    writeSync(1, `${JSON.stringify({ time: new Date().toISOString(), level, msg, ...fields })}\n`)
  } catch {
    // Nobody reads the log, or not fast enough: the program is what matters.
  }
}

/** As the command line shows errors; 2 is its exit code for wrong input. */
function fail({ message, hint, code }: ServiceError): void {
  writeSync(2, `${message}\n  ${hint}\n  ${code}\n`)
  process.exitCode = 2
}
