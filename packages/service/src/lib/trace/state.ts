/** A list of vendors' values, as `TraceState` of @opentelemetry/api has it: unchangeable, the newest first. */
export interface TraceState {
  set(key: string, value: string): TraceState
  unset(key: string): TraceState
  get(key: string): string | undefined
  serialize(): string
}

/** `text` is a `tracestate` header. Sets with invalid keys or values are ignored, as is what goes beyond 32 members. */
export function createTraceState(text: string): TraceState {
  const members = text
    .split(',')
    .map((member) => member.trim())
    .filter((member) => member.includes('='))
  const without = (key: string): string[] => members.filter((member) => !member.startsWith(`${key}=`))
  return {
    set: (key, value) =>
      isValid(key, value)
        ? createTraceState([`${key}=${value}`, ...without(key)].slice(0, 32).join(','))
        : createTraceState(text),
    unset: (key) => createTraceState(without(key).join(',')),
    get: (key) => members.find((member) => member.startsWith(`${key}=`))?.slice(key.length + 1),
    serialize: () => members.join(','),
  }
}

function isValid(key: string, value: string): boolean {
  return (
    /^[a-z0-9][a-z0-9_\-*/@]{0,255}$/.test(key) &&
    /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/.test(value)
  )
}
