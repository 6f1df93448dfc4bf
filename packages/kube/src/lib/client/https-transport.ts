import type { Agent, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import * as https from 'node:https'
import type { Duplex } from 'node:stream'

import { connectFailed, deadlineExceeded, streamIdle } from './errors.ts'
import { readBytes } from './transport.ts'
import type { Transport, TransportRequest, TransportResponse } from './transport.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const http = process.getBuiltinModule('node:http')

export interface HttpsTransportOptions {
  /** `https://host:port[/prefix]`; `http://` is spoken in the clear. */
  readonly server: string
  /** PEM of the authorities to trust, asked before every request when a function. Default: Node's own. */
  readonly ca?: string | (() => string | undefined) | undefined
  /** The name to expect in the server's certificate. Default: the host of `server`. */
  readonly serverName?: string | undefined
  /** Accept any certificate. Default false. */
  readonly insecure?: boolean | undefined
  /** An HTTP proxy. Default: that of `env`, unless the server is on this machine. */
  readonly proxyUrl?: string | undefined
  /** Where `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are looked up. Default: nowhere. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** Asked before every request; `refresh` after the server answered 401 to the last ones. Default: anonymous. */
  readonly credentials?: ((options: { readonly refresh: boolean }) => Promise<Credentials>) | undefined
  /** Milliseconds until an answer must be complete. Default 30,000. */
  readonly deadlineMs?: number | undefined
}

/** What proves who asks. */
export interface Credentials {
  readonly headers?: Readonly<Record<string, string | readonly string[]>> | undefined
  /** PEM of the client certificate, with its key. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

const defaultDeadlineMs = 30_000

/** HTTP/1.1 over kept-alive TLS connections. Connection failures are FAIRLEAD_KUBE_CONNECT, late answers FAIRLEAD_KUBE_DEADLINE. */
export function createHttpsTransport(options: HttpsTransportOptions): Transport {
  const base = new URL(options.server)
  const agents = createAgents(options, base)

  async function attempt(request: TransportRequest, refresh: boolean): Promise<TransportResponse> {
    const credentials = (await options.credentials?.({ refresh })) ?? {}
    const agent = agents.for(credentials)
    return sendOnce(request, { base, agent, credentials, deadlineMs: deadlineOf(request, options.deadlineMs) })
  }

  return {
    async send(request) {
      request.signal?.throwIfAborted()
      const response = await attempt(request, false)
      if (response.status !== 401 || options.credentials === undefined) {
        return response
      }
      // A token may have been rotated or have expired between two requests: ask for it once more.
      await readBytes(response.body)
      return attempt(request, true)
    },
    async close() {
      agents.close()
    },
  }
}

interface Agents {
  for(credentials: Credentials): Agent
  close(): void
}

interface Keys extends Credentials {
  readonly ca: string | undefined
}

/**
 * One agent per client certificate and authority, for connections made with one must not serve another. When they are rotated
 * the idle connections are closed; what is under way goes on to its end.
 */
function createAgents(options: HttpsTransportOptions, base: URL): Agents {
  const proxyEnv = proxyEnvOf(options, base)
  // Shorter than the idle timeout of servers (90 s upstream): they do not close what we are about to use.
  const shared = { keepAlive: true, maxFreeSockets: 16, timeout: 60_000, ...(proxyEnv !== undefined && { proxyEnv }) }
  const caOf = typeof options.ca === 'function' ? options.ca : () => options.ca as string | undefined
  let current: { readonly agent: Agent; readonly keys: Keys } | undefined

  function createAgent({ cert, key, ca }: Keys): Agent {
    return base.protocol === 'http:'
      ? new http.Agent(shared)
      : new https.Agent({
          ...shared,
          ca,
          cert,
          key,
          rejectUnauthorized: options.insecure !== true,
          minVersion: 'TLSv1.2',
          ...(options.serverName !== undefined && { servername: options.serverName }),
        })
  }

  return {
    for({ cert, key }) {
      const ca = caOf()
      const keys = current?.keys
      if (current === undefined || keys?.cert !== cert || keys?.key !== key || keys?.ca !== ca) {
        if (current !== undefined) retire(current.agent)
        current = { agent: createAgent({ cert, key, ca }), keys: { cert, key, ca } }
      }
      return current.agent
    },
    close: () => current?.agent.destroy(),
  }
}

function retire(agent: Agent): void {
  agent.maxFreeSockets = 0
  for (const socket of Object.values(agent.freeSockets).flat()) {
    socket?.destroy()
  }
}

/** Proxies as Go's `ProxyFromEnvironment` finds them: never for this machine. */
function proxyEnvOf({ proxyUrl, env = {} }: HttpsTransportOptions, base: URL): Record<string, string> | undefined {
  if (proxyUrl !== undefined) {
    return { HTTPS_PROXY: proxyUrl, HTTP_PROXY: proxyUrl }
  }
  if (/^(?:localhost|127\..*|\[::1\])$/.test(base.hostname)) {
    return undefined
  }
  const names = ['HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY'].flatMap((name) => [name, name.toLowerCase()])
  const found = names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const]))
  return found.length === 0 ? undefined : Object.fromEntries(found)
}

function deadlineOf(
  request: TransportRequest,
  defaultMs: number = defaultDeadlineMs,
): { headMs: number; wholeMs: number } {
  const wholeMs = request.deadlineMs ?? (/[?&](?:watch|follow)=(?:true|1)\b/.test(request.path) ? 0 : defaultMs)
  return { headMs: wholeMs === 0 ? defaultMs : wholeMs, wholeMs }
}

interface Connection {
  readonly base: URL
  readonly agent: Agent
  readonly credentials: Credentials
  readonly deadlineMs: { headMs: number; wholeMs: number }
}

function sendOnce(request: TransportRequest, connection: Connection, canRetry = true): Promise<TransportResponse> {
  const { base, agent, credentials, deadlineMs } = connection
  const { signal, body } = request
  const { promise, resolve, reject } = Promise.withResolvers<TransportResponse>()
  const sent = (base.protocol === 'http:' ? http : https).request({
    agent,
    method: request.method,
    host: base.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: base.port === '' ? undefined : Number(base.port),
    path: `${base.pathname.replace(/\/+$/, '')}${request.path}`,
    headers: {
      'user-agent': 'fairlead',
      ...request.headers,
      ...(credentials.headers as OutgoingHttpHeaders | undefined),
      ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }),
    },
  })
  let received: IncomingMessage | undefined
  // Whoever waits gets the reason: the request before the answer's head, its body's reader after.
  const destroy = (reason: Error): void => {
    ;(received ?? sent).destroy(reason)
  }
  const expire = (): void => {
    destroy(deadlineExceeded(request.method, request.path, deadlineMs.headMs))
  }
  const timer = setTimeout(expire, deadlineMs.headMs)
  const abort = (): void => {
    destroy(abortReason(signal))
  }
  signal?.addEventListener('abort', abort, { once: true })
  const settle = (): void => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }

  sent.on('error', (error: NodeJS.ErrnoException) => {
    settle()
    if (signal?.aborted === true) {
      reject(abortReason(signal))
    } else if (canRetry && sent.reusedSocket && request.method === 'GET' && error.code === 'ECONNRESET') {
      // The server closed the idle connection while the request was on its way.
      resolve(sendOnce(request, connection, false))
    } else {
      reject(toConnectError(error, base))
    }
  })
  sent.on('response', (response) => {
    received = response
    if (deadlineMs.wholeMs === 0) {
      clearTimeout(timer)
      response.socket.setKeepAlive(true, 30_000)
    }
    const { idleMs } = request
    if (idleMs !== undefined) {
      // Half-open: the other side is gone, or a proxy keeps the connection and forgot what it was for.
      response.setTimeout(idleMs, () => destroy(streamIdle(request.method, request.path, idleMs)))
    }
    response.once('close', settle)
    resolve({
      status: response.statusCode ?? 0,
      headers: joinHeaders(response),
      body: readBody(response, signal, base),
    })
  })
  sent.on('upgrade', (response: IncomingMessage, socket: Duplex, head: Buffer) => {
    settle()
    if (request.upgrade === true) {
      if (head.length > 0) socket.unshift(head)
      const status = response.statusCode ?? 101
      return resolve({
        status,
        headers: joinHeaders(response),
        body: readBody(response, undefined, base),
        connection: socket,
      })
    }
    socket.destroy()
    reject(
      connectFailed(base.origin, `status ${response.statusCode}`, 'Use a client that speaks this protocol', undefined),
    )
  })
  sent.end(body)
  return promise
}

function joinHeaders(response: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined) {
      headers[name] = Array.isArray(value) ? value.join(', ') : value
    }
  }
  return headers
}

async function* readBody(
  response: IncomingMessage,
  signal: AbortSignal | undefined,
  base: URL,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* response as AsyncIterable<Uint8Array>
  } catch (error) {
    signal?.throwIfAborted()
    throw toConnectError(error as NodeJS.ErrnoException, base)
  }
}

function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason
  return reason instanceof Error ? reason : new DOMException('This operation was aborted', 'AbortError')
}

const startHint = 'Check that the cluster runs and that the kubeconfig context names it'
const trustHint = 'Check certificate-authority-data of the kubeconfig cluster against the server'

const states: ReadonlyMap<string, readonly [state: string, hint: string]> = new Map([
  ['ECONNREFUSED', ['connection refused', startHint]],
  ['ECONNRESET', ['connection reset', startHint]],
  ['EPIPE', ['connection closed', startHint]],
  ['ETIMEDOUT', ['connection timed out', startHint]],
  ['ENOTFOUND', ['host name not found', startHint]],
  ['EAI_AGAIN', ['host name not resolved', 'Check the network connection']],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', ['certificate is self-signed', trustHint]],
  ['SELF_SIGNED_CERT_IN_CHAIN', ['certificate chain is not trusted', trustHint]],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', ['certificate is not trusted', trustHint]],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', ['certificate is not trusted', trustHint]],
  ['CERT_HAS_EXPIRED', ['certificate has expired', 'Renew the certificate of the API server']],
  [
    'ERR_TLS_CERT_ALTNAME_INVALID',
    ['certificate is for another name', 'Set tls-server-name in the kubeconfig cluster'],
  ],
])

function toConnectError(error: NodeJS.ErrnoException, base: URL): Error {
  if (error.code?.startsWith('FAIRLEAD_') === true) {
    return error
  }
  const [state, hint] = states.get(error.code ?? '') ?? [error.message, startHint]
  return connectFailed(base.origin, state, hint, error)
}
