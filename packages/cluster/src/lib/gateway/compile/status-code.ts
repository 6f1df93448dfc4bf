/** A final status of HTTP that an object names; `fallback` for what is none, which neither API server nor definition refuse. */
export function statusCodeOf(code: number | undefined, fallback: number): number {
  return code !== undefined && Number.isInteger(code) && code >= 200 && code <= 599 ? code : fallback
}
