/** JSON of a body, or undefined when it is none: what came may be the page of a proxy. */
export function parseJson(body: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(body)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A text at `path` of a JSON object, or undefined. */
export function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  let at = value
  for (const key of path) at = isRecord(at) ? at[key] : undefined
  return typeof at === 'string' ? at : undefined
}
