import { finished, Readable } from 'node:stream'
import type { Duplex, Writable } from 'node:stream'

import { createMessageStream, createWebSocketKey, WebSocket } from '../streaming/websocket.ts'
import { SpdySession } from '../streaming/spdy.ts'
import type { Status } from '../types/generated/meta-v1.ts'
import type { KubeClient } from './client.ts'
import { streamBroken } from './errors.ts'
import { KubeError } from './kube-error.ts'

/** Streams of a program in a pod, as the caller has them. */
export interface PodStreamOptions {
  /** Default: the client's. */
  readonly namespace?: string | undefined
  /** Default: the only one; throws KubeError when there are several. */
  readonly container?: string | undefined
  /** Its end is the end of the program's input. Default: there is none. */
  readonly stdin?: Readable | undefined
  /** Left open at the end. Default: what the program says is thrown away. */
  readonly stdout?: Writable | undefined
  /** Left open at the end; unused with `tty`. */
  readonly stderr?: Writable | undefined
  /** Run at a terminal. Default false. */
  readonly tty?: boolean | undefined
  /** Sizes of the caller's terminal: the first at once, the others as they change. */
  readonly sizes?: AsyncIterable<TerminalSize> | undefined
  readonly signal?: AbortSignal | undefined
}

/** In characters. */
export interface TerminalSize {
  readonly columns: number
  readonly rows: number
}

/**
 * Runs a program in a container and resolves with its exit code (`pods/exec` by WebSocket, `v5.channel.k8s.io`). Throws KubeError
 * when it cannot be started and `FAIRLEAD_KUBE_STREAM` when the connection breaks before its end.
 */
export async function execInPod(
  client: KubeClient,
  pod: string,
  command: readonly string[],
  options: PodStreamOptions = {},
): Promise<number> {
  return await runStreams(client, pod, 'exec', command, options)
}

/** Joins the streams of a running container until it ends (`pods/attach`); resolves with 0, for the API tells no exit code. */
export async function attachToPod(client: KubeClient, pod: string, options: PodStreamOptions = {}): Promise<void> {
  await runStreams(client, pod, 'attach', [], options)
}

/** Ways into the ports of one pod. */
export interface PortForwarder extends AsyncDisposable {
  /** Opens one connection to a port, as a program in the pod would by `localhost`. It is destroyed with the pod's reason when refused. */
  connect(port: number): Duplex
  /** Resolves when the connection to the cluster is gone. */
  readonly ended: Promise<void>
}

/** Opens a way to a pod's ports (`pods/portforward`, SPDY/3.1 in a WebSocket, KEP-4006). Throws KubeError when the pod cannot be reached. */
export async function openPortForward(
  client: KubeClient,
  pod: string,
  options: Pick<PodStreamOptions, 'namespace' | 'signal'> = {},
): Promise<PortForwarder> {
  const { namespace = client.namespace, signal } = options
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/portforward`
  const connection = await upgrade(client, path, 'SPDY/3.1+portforward.k8s.io', signal)
  const session = new SpdySession(createMessageStream(connection, { role: 'client' }), { role: 'client' })
  let lastId = 0
  return {
    ended: session.ended,
    connect(port) {
      lastId += 1
      const headers = { port: String(port), requestid: String(lastId) }
      const error = session.open({ ...headers, streamtype: 'error' })
      const data = session.open({ ...headers, streamtype: 'data' })
      error.end()
      data.on('error', () => {})
      void failWith(error, data)
      return data
    },
    async [Symbol.asyncDispose]() {
      session.destroy()
      connection.destroy()
      await session.ended
    },
  }
}

async function failWith(error: Readable, data: Duplex): Promise<void> {
  let reason = ''
  error.setEncoding('utf8').on('data', (text: string) => (reason += text.slice(0, 4096)))
  await new Promise((resolve) => error.once('end', resolve).once('close', resolve))
  if (reason !== '') data.destroy(streamBroken(reason))
}

const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const

async function runStreams(
  client: KubeClient,
  pod: string,
  subresource: 'exec' | 'attach',
  command: readonly string[],
  options: PodStreamOptions,
): Promise<number> {
  const { signal, tty = false } = options
  const connection = await upgrade(
    client,
    pathOf(client, pod, subresource, command, options),
    'v5.channel.k8s.io',
    signal,
  )
  const outputs = new Map([
    [channels.stdout as number, options.stdout],
    [channels.stderr as number, options.stderr],
  ])
  let verdict: Status | undefined
  const webSocket = new WebSocket(connection, {
    role: 'client',
    onMessage(message) {
      const [channel = 0] = message
      if (message.length < 2) return
      if (channel === channels.error) verdict = JSON.parse(message.toString('utf8', 1)) as Status
      const output = outputs.get(channel)
      if (output === undefined || output.destroyed || output.write(message.subarray(1))) return
      webSocket.pause()
      output.once('drain', () => webSocket.resume())
      output.once('close', () => webSocket.resume())
    },
  })
  const abort = (): void => webSocket.destroy()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    if (options.stdin !== undefined) void sendInput(webSocket, options.stdin)
    if (tty && options.sizes !== undefined) void sendSizes(webSocket, options.sizes)
    await webSocket.ended
    signal?.throwIfAborted()
    return exitCodeOf(verdict)
  } finally {
    signal?.removeEventListener('abort', abort)
    webSocket.destroy()
  }
}

function pathOf(
  client: KubeClient,
  pod: string,
  subresource: string,
  command: readonly string[],
  options: PodStreamOptions,
): string {
  const { namespace = client.namespace, container, stdin, tty = false } = options
  const query = new URLSearchParams(command.map((word): [string, string] => ['command', word]))
  if (container !== undefined) query.set('container', container)
  if (stdin !== undefined) query.set('stdin', 'true')
  query.set('stdout', 'true')
  query.set(tty ? 'tty' : 'stderr', 'true')
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}`
  return `${path}/${subresource}?${query.toString()}`
}

async function upgrade(
  client: KubeClient,
  path: string,
  protocol: string,
  signal: AbortSignal | undefined,
): Promise<Duplex> {
  const headers = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': createWebSocketKey(),
    'sec-websocket-protocol': protocol,
  }
  const { connection, status } = await client.request({ method: 'GET', path, headers, upgrade: true, signal })
  if (connection === undefined) throw streamBroken(`status ${status} where the protocol was to change`)
  return connection
}

async function sendInput(webSocket: WebSocket, stdin: Readable): Promise<void> {
  // Left open: whose it is decides. A terminal's input never ends by itself, so the end of the program ends the reading.
  const stop = (): void => void stdin.off('data', send).pause()
  const send = (chunk: Buffer | string): void => {
    if (webSocket.send([Buffer.of(channels.stdin), Buffer.from(chunk as Buffer)])) return
    stdin.pause()
    void resumeWhenDrained(webSocket, stdin)
  }
  stdin.on('data', send)
  finished(stdin, { writable: false }, () => webSocket.send([Buffer.of(channels.close, channels.stdin)]))
  await webSocket.ended
  stop()
}

async function resumeWhenDrained(webSocket: WebSocket, stdin: Readable): Promise<void> {
  await webSocket.drained()
  if (webSocket.isOpen) stdin.resume()
}

async function sendSizes(webSocket: WebSocket, sizes: AsyncIterable<TerminalSize>): Promise<void> {
  for await (const { columns, rows } of sizes) {
    if (!webSocket.isOpen) return
    const text = JSON.stringify({ Width: columns, Height: rows })
    webSocket.send([Buffer.of(channels.resize), Buffer.from(text)])
  }
}

/** The exit code is a cause of the failure (`NonZeroExitCode`); any other failure is thrown. */
function exitCodeOf(verdict: Status | undefined): number {
  if (verdict === undefined) throw streamBroken('the connection ended before the program')
  if (verdict.status === 'Success') return 0
  const code = verdict.details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message
  if (verdict.reason === 'NonZeroExitCode' && code !== undefined) return Number(code)
  throw new KubeError(verdict, verdict.code ?? 500)
}
