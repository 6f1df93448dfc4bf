/** The errors of this package, each code once. The shape `{ code, hint, cause }` is what callers and terminals read. */
export interface ServiceError extends Error {
  readonly code: `FAIRLEAD_SERVICE_${string}`
  readonly hint: string
}

/** Codes of the two classes that callers are expected to catch. */
export const classCodes = { http: 'FAIRLEAD_SERVICE_HTTP', call: 'FAIRLEAD_SERVICE_CALL' } as const

export function definitionInvalid(service: string, state: string): ServiceError {
  return coded(
    new TypeError(`Cannot define service ${quote(service)}: ${state}`),
    'FAIRLEAD_SERVICE_DEFINITION',
    'Correct the argument of service({...})',
  )
}

export function routeInvalid(route: string, state: string): ServiceError {
  return coded(
    new TypeError(`Cannot add route ${quote(route)}: ${state}`),
    'FAIRLEAD_SERVICE_ROUTE',
    'Write routes as "/fixed/:name/*", each once per method',
  )
}

export function answerInvalid(route: string, status: number, state: string): ServiceError {
  return coded(
    new TypeError(`Cannot answer ${quote(route)} with status ${status}: ${state}`),
    'FAIRLEAD_SERVICE_ANSWER',
    'Make the handler return what the schema in response describes, or correct the schema',
  )
}

export function settingInvalid(name: string, value: string, expected: string): ServiceError {
  return coded(
    new RangeError(`Cannot use setting ${quote(name)}: it is ${quote(value)}, expected ${expected}`),
    'FAIRLEAD_SERVICE_SETTING',
    `Set the environment variable ${name} to ${expected}, or remove it`,
  )
}

export function listenFailed(address: string, cause: unknown): ServiceError {
  const inUse = codeOf(cause) === 'EADDRINUSE'
  const state = inUse ? 'another process is listening there' : messageOf(cause)
  const hint = inUse
    ? 'Stop the other process, or choose another port with PORT'
    : 'Choose another address with HOST and PORT'
  return coded(new Error(`Cannot listen on ${quote(address)}: ${state}`, { cause }), 'FAIRLEAD_SERVICE_LISTEN', hint)
}

export function startFailed(resource: string, cause: unknown): ServiceError {
  return coded(
    new Error(`Cannot start resource ${quote(resource)}: ${messageOf(cause)}`, { cause }),
    'FAIRLEAD_SERVICE_START',
    `Look at the cause; resources started before ${quote(resource)} have been stopped again`,
  )
}

export function stopFailed(failures: readonly { readonly name: string; readonly error: unknown }[]): ServiceError {
  const text = failures.map(({ name, error }) => `${quote(name)} (${messageOf(error)})`).join(', ')
  return coded(
    new AggregateError(
      failures.map(({ error }) => error),
      `Cannot stop resources: ${text}`,
    ),
    'FAIRLEAD_SERVICE_STOP',
    'Make the stop step of these resources end in time, or give it a longer stopTimeoutMs',
  )
}

export function timedOut(action: string, subject: string, timeoutMs: number): ServiceError {
  return coded(
    new Error(`Cannot ${action} ${quote(subject)}: not done after ${timeoutMs} ms`),
    'FAIRLEAD_SERVICE_TIMEOUT',
    'Find what it waits for, or allow more time',
  )
}

export function metricInvalid(metric: string, state: string): ServiceError {
  return coded(
    new TypeError(`Cannot use metric ${quote(metric)}: ${state}`),
    'FAIRLEAD_SERVICE_METRIC',
    'See the naming rules of the Prometheus exposition format',
  )
}

/** The one sentence of an unknown thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** An error with what terminals and callers read beside its message. */
export function coded<E extends Error>(error: E, code: ServiceError['code'], hint: string): E & ServiceError {
  return Object.assign(error, { code, hint })
}

/** Names a thing of the caller in a message. */
export function quote(text: string): string {
  return JSON.stringify(text)
}
