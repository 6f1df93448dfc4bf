/** An address as Go prints it. */
export function renderAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Names of failures as the kernel's are known to those who read kubelets' events. */
const names: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network is unreachable',
  ETIMEDOUT: 'connection timed out',
  ECONNRESET: 'connection reset by peer',
  EPIPE: 'broken pipe',
}

/** What a server without TLS has said to a client with. */
export const plainAnswer = 'http: server gave HTTP response to HTTPS client'

/** Why there is no connection, or no longer, in the words of a kubelet. */
export function describeTrouble(error: NodeJS.ErrnoException, host: string, port: number): string {
  const { code = '', syscall, message } = error
  if (code === 'EPROTO' && message.includes('wrong version number')) return plainAnswer
  if (syscall === 'getaddrinfo') return `dial tcp: lookup ${host}: no such host`
  const name = names[code]
  if (name === undefined) return message
  const address = renderAddress(host, port)
  return syscall === 'connect'
    ? `dial tcp ${address}: connect: ${name}`
    : `${syscall ?? 'read'} tcp ${address}: ${name}`
}
