/** Metrics of a CVSS vector by name; `undefined` when it does not start as expected, or names a metric twice. */
export function parseVector(vector: string, start: RegExp): ReadonlyMap<string, string> | undefined {
  const [version = '', ...parts] = vector.trim().replace(/\/$/, '').split('/')
  if (!start.test(version)) return undefined
  const metrics = new Map<string, string>()
  for (const part of parts) {
    const match = /^([A-Z]+):([A-Za-z]+)$/.exec(part)
    const [, name = '', value = ''] = match ?? []
    if (!match || metrics.has(name)) return undefined
    metrics.set(name, value)
  }
  return metrics
}
