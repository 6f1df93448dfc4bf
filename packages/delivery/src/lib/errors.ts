/** Every code of an error thrown by this package. */
type Code =
  | 'FAIRLEAD_DELIVERY_APP_ABSENT'
  | 'FAIRLEAD_DELIVERY_APP_INVALID'
  | 'FAIRLEAD_DELIVERY_APP_LOAD'
  | 'FAIRLEAD_DELIVERY_APP_SYNTAX'
  | 'FAIRLEAD_DELIVERY_OWNERSHIP'
  | 'FAIRLEAD_DELIVERY_SERVICE_FAILED'
  | 'FAIRLEAD_DELIVERY_TIMEOUT'

/** Neither a config file nor a `package.json` in the folder. */
export function appAbsent(dir: string): Error {
  return withCode(
    new Error(`Cannot load app "${dir}": no fairlead.config.ts and no package.json in this folder`),
    'FAIRLEAD_DELIVERY_APP_ABSENT',
    'Name the folder of an app, or write a fairlead.config.ts into this one',
  )
}

/** The definition has problems; one line each. */
export function appInvalid(file: string, problems: readonly string[]): AggregateError {
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
  return withCode(
    new AggregateError(
      problems.map((problem) => new TypeError(problem)),
      `Cannot load app "${file}": ${count}`,
    ),
    'FAIRLEAD_DELIVERY_APP_INVALID',
    'Correct the file and run the command again',
  )
}

/** The config file does not parse. `where` is `file:line`, or the file alone when the line is not known. */
export function appSyntax(where: string, reason: string, cause: unknown): SyntaxError {
  return withCode(
    new SyntaxError(`Cannot parse app "${where}": ${reason}`, { cause }),
    'FAIRLEAD_DELIVERY_APP_SYNTAX',
    'Correct the syntax at this place; types are stripped, so no enums, namespaces or parameter properties',
  )
}

/** The config file threw while it was evaluated, or exports nothing. */
export function appLoad(where: string, state: string, cause?: unknown): Error {
  return withCode(
    new Error(`Cannot load app "${where}": ${state}`, { cause }),
    'FAIRLEAD_DELIVERY_APP_LOAD',
    'The file must run by itself and have a default export, such as defineApp({ ... })',
  )
}

/** An object of the same name exists and belongs to somebody else. */
export function ownedByAnother(subject: string, owner: string): Error {
  return withCode(
    new Error(`Cannot apply "${subject}": it exists and belongs to ${owner}`),
    'FAIRLEAD_DELIVERY_OWNERSHIP',
    'Rename the service, or give the app another "namespace"',
  )
}

/** A service cannot become ready by waiting. `details` are lines for the person: what was seen, the last log lines. */
export function serviceFailed(
  failures: readonly { service: string; reason: string; details: readonly string[]; hint: string }[],
): Error {
  const [first] = failures
  const subject = failures.map(({ service }) => service).join('", "')
  const error = new AggregateError(
    failures.map(({ service, reason, details }) => new Error([`${service}: ${reason}`, ...details].join('\n'))),
    `Cannot start "${subject}": ${first?.reason ?? 'it failed'}`,
  )
  return withCode(error, 'FAIRLEAD_DELIVERY_SERVICE_FAILED', first?.hint ?? 'Look at the logs of the service')
}

/** The deadline passed before every service was ready. */
export function notReadyInTime(
  waiting: readonly { service: string; state: string; details: readonly string[] }[],
  deadlineMs: number,
): Error {
  const error = new AggregateError(
    waiting.map(({ service, state, details }) => new Error([`${service}: ${state}`, ...details].join('\n'))),
    `Cannot wait longer for "${waiting.map(({ service }) => service).join('", "')}": not ready after ${deadlineMs / 1000} s`,
  )
  return withCode(
    error,
    'FAIRLEAD_DELIVERY_TIMEOUT',
    'Look at the logs and the events of the pods, or allow more time with --timeout',
  )
}

function withCode<E extends Error>(error: E, code: Code, hint: string): E & { code: Code; hint: string } {
  return Object.assign(error, { code, hint })
}
