/** Of one connection, never passed on (RFC 9110, 7.6.1). `expect` is answered by whoever gets it first. */
const ofConnection = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'te',
  'expect',
  'http2-settings',
])

/** Whether a header, named in lower case, is between two neighbours only. */
export function isOfConnection(name: string): boolean {
  return ofConnection.has(name)
}
