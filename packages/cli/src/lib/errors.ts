/** Every code of an error thrown by this package. */
type Code =
  | 'FAIRLEAD_CLI_CLUSTER_ABSENT'
  | 'FAIRLEAD_CLI_CLUSTER_DIED'
  | 'FAIRLEAD_CLI_CLUSTER_HELD'
  | 'FAIRLEAD_CLI_CLUSTER_STUCK'
  | 'FAIRLEAD_CLI_CONFIG_ABSENT'
  | 'FAIRLEAD_CLI_CONFIG_LOAD'
  | 'FAIRLEAD_CLI_HOME'
  | 'FAIRLEAD_CLI_IMAGE_REFUSED'
  | 'FAIRLEAD_CLI_INIT'
  | 'FAIRLEAD_CLI_INPUT'
  | 'FAIRLEAD_CLI_NOT_FOUND'
  | 'FAIRLEAD_CLI_PORT_FORBIDDEN'
  | 'FAIRLEAD_CLI_PORT_IN_USE'
  | 'FAIRLEAD_CLI_USAGE'

/** The command line cannot be understood. */
export function usage(message: string, hint: string): TypeError {
  return withCode(new TypeError(message), 'FAIRLEAD_CLI_USAGE', hint)
}

/** A command needs the embedded cluster, and it is not running. */
export function clusterAbsent(): Error {
  return withCode(
    new Error('Cannot connect to cluster "embedded": it is not running'),
    'FAIRLEAD_CLI_CLUSTER_ABSENT',
    'Start it with fairlead cluster start or fairlead up, or name another with --context',
  )
}

/** The background process of the cluster ended before it was ready. `lines` are the last of its log. */
export function clusterDied(state: string, logFile: string, lines: readonly string[], cause?: unknown): Error {
  const details = cause ?? (lines.length > 0 ? new Error(lines.join('\n')) : undefined)
  return withCode(
    new Error(`Cannot start cluster "embedded": ${state}`, { cause: details }),
    'FAIRLEAD_CLI_CLUSTER_DIED',
    `Read its log in ${logFile}; fairlead doctor checks this machine`,
  )
}

/** The cluster was stopped by another command, or its process died, while this one worked with it. */
export function clusterGone(logFile: string): Error {
  return withCode(
    new Error('Cannot go on with cluster "embedded": its process ended meanwhile'),
    'FAIRLEAD_CLI_CLUSTER_DIED',
    `Run the same command again, unless you stopped it; its log is ${logFile}`,
  )
}

/** The background process does not do what it was told in time. */
export function clusterStuck(act: string, pid: number, logFile: string): Error {
  return withCode(
    new Error(`Cannot ${act} cluster "embedded": process ${pid} does not answer in time`),
    'FAIRLEAD_CLI_CLUSTER_STUCK',
    `Read its log in ${logFile}, or end it with kill -9 ${pid}; no acknowledged write is lost by that`,
  )
}

/** Pods of the stopped cluster could not be cleared away: what they have mounted is in its folder. */
export function clusterHeld(dir: string): Error {
  return withCode(
    new Error(`Cannot remove cluster "embedded": something is still mounted below "${dir}"`),
    'FAIRLEAD_CLI_CLUSTER_HELD',
    'Run the same command again: it ends what is left of the pods; findmnt shows what is mounted',
  )
}

/** A port is taken by somebody else. */
export function portInUse(port: number, what: string, holder: string | undefined, hint: string): Error {
  const state = holder === undefined ? 'the port is in use' : `the port is in use by ${holder}`
  return withCode(new Error(`Cannot use port "${port}" for ${what}: ${state}`), 'FAIRLEAD_CLI_PORT_IN_USE', hint)
}

/** The user may not listen at this port. */
export function portForbidden(port: number, what: string): Error {
  return withCode(
    new Error(`Cannot use port "${port}" for ${what}: this user may not listen at it`),
    'FAIRLEAD_CLI_PORT_FORBIDDEN',
    'Set "public" to a port from 1024 on',
  )
}

/** A folder of ours cannot be made or written. `variable` moves it. */
export function homeUnusable(dir: string, variable: string, cause: unknown): Error {
  return withCode(
    new Error(`Cannot write to folder "${dir}": it cannot be made, or this user may not write to it`, { cause }),
    'FAIRLEAD_CLI_HOME',
    `Set ${variable} to a folder you may write to`,
  )
}

/** Nothing of this name exists. */
export function notFound(subject: string, state: string, hint: string): Error {
  return withCode(new Error(`Cannot find "${subject}": ${state}`), 'FAIRLEAD_CLI_NOT_FOUND', hint)
}

/** No service of the app has a `config`. */
export function configAbsent(dir: string): Error {
  return withCode(
    new Error(`Cannot check configuration of "${dir}": no service in it has any`),
    'FAIRLEAD_CLI_CONFIG_ABSENT',
    'Give service({...}) a config made by defineConfig, of @fairlead/service/config',
  )
}

/** A service cannot be loaded to ask for its configuration. `said` is what it wrote to stderr. */
export function configUnreadable(dir: string, state: string, said: string): Error {
  const lines = said.trim().split('\n').slice(-12).join('\n')
  return withCode(
    new Error(`Cannot load service "${dir}": ${state}`, lines === '' ? {} : { cause: new Error(lines) }),
    'FAIRLEAD_CLI_CONFIG_LOAD',
    'Its main module may do no more than wire and call run(service); see what it said above',
  )
}

/** A file that an option names cannot be used. */
export function inputUnreadable(file: string, state: string, cause?: unknown): Error {
  return withCode(
    new Error(`Cannot read "${file}": ${state}`, { cause }),
    'FAIRLEAD_CLI_INPUT',
    'Check the path and what is in it',
  )
}

/** An image may not run by a policy. */
export function imageNotAllowed(reference: string, state: string): Error {
  return withCode(
    new Error(`Cannot allow image "${reference}": ${state}`),
    'FAIRLEAD_CLI_IMAGE_REFUSED',
    'Sign it with fairlead image sign, or change the policy',
  )
}

/** A new service cannot be written there. */
export function initRefused(dir: string, state: string, hint: string): Error {
  return withCode(new Error(`Cannot write a service into "${dir}": ${state}`), 'FAIRLEAD_CLI_INIT', hint)
}

function withCode<E extends Error>(error: E, code: Code, hint: string): E & { code: Code; hint: string } {
  return Object.assign(error, { code, hint })
}
