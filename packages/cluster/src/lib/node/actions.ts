import { connect } from 'node:net'
import type { Container, HTTPGetAction, LifecycleHandler, Probe } from '@fairlead/kube/types/core-v1'

import { getHttp } from './actions/http-get.ts'
import type { HttpGet } from './actions/http-get.ts'
import { describeTrouble, plainAnswer, renderAddress } from './actions/trouble.ts'

/** What probes and hooks act upon. */
export interface ActionTarget {
  readonly container: Container
  readonly podIp: string
  /** Runs a program in the container; `exitCode` is undefined when it took too long. */
  exec(args: readonly string[], timeoutMs: number): Promise<{ exitCode?: number | undefined; output: string }>
}

/** Whether an action succeeded, and in words why not. */
export interface ActionResult {
  readonly ok: boolean
  readonly message: string
  /** It succeeded, and {@link message} says what is odd about that. */
  readonly isWarning?: boolean | undefined
}

type Action = Pick<Probe, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'>

/** Runs a hook once, as kubelets do: an HTTP server has only to answer. Never throws: a failure is a result. */
export async function runHook(hook: LifecycleHandler, target: ActionTarget, timeoutMs: number): Promise<ActionResult> {
  const { httpGet } = hook
  if (httpGet === undefined) return await runProbe(hook, target, timeoutMs)
  return await orFailure(() => callHttp(httpGet, target, timeoutMs))
}

/** Asks a container once how it is. Never throws: a failure is a result. */
export async function runProbe(action: Action, target: ActionTarget, timeoutMs: number): Promise<ActionResult> {
  return await orFailure(() => act(action, target, timeoutMs))
}

async function orFailure(run: () => Promise<ActionResult>): Promise<ActionResult> {
  try {
    return await run()
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : String(error) }
  }
}

async function act(action: Action, target: ActionTarget, timeoutMs: number): Promise<ActionResult> {
  if (action.exec) return await runExec(action.exec.command ?? [], target, timeoutMs)
  if (action.httpGet) return await probeHttp(action.httpGet, target, timeoutMs)
  if (action.tcpSocket) {
    const { host, port } = action.tcpSocket
    return await openTcp(host || target.podIp, portOf(port, target.container), timeoutMs)
  }
  if (action.grpc) return await checkGrpc(target.podIp, action.grpc.port, action.grpc.service ?? '', timeoutMs)
  return { ok: true, message: '' }
}

async function runExec(args: readonly string[], target: ActionTarget, timeoutMs: number): Promise<ActionResult> {
  const { exitCode, output } = await target.exec(args, timeoutMs)
  if (exitCode === undefined) return { ok: false, message: `command timed out after ${timeoutMs / 1000}s` }
  return { ok: exitCode === 0, message: output.trim().slice(0, 1024) || `command exited with code ${exitCode}` }
}

/** The number of a port given by number or by name. */
function portOf(port: number | string, container: Container): number {
  const named = container.ports?.find(({ name }) => name === port)?.containerPort
  const number = named ?? Number(port)
  if (Number.isInteger(number) && number > 0 && number < 65_536) return number
  throw new RangeError(`Cannot use port "${port}": the container has no port of this name`)
}

async function probeHttp(action: HTTPGetAction, target: ActionTarget, timeoutMs: number): Promise<ActionResult> {
  const got = await getHttp(toGet(action, target, 'probe'), timeoutMs)
  if ('trouble' in got) return { ok: false, message: got.trouble }
  const { status, body } = got
  if (status < 200 || status >= 400) return { ok: false, message: `HTTP probe failed with statuscode: ${status}` }
  if (status < 300) return { ok: true, message: '' }
  const text = Buffer.from(body, 'latin1').toString()
  return { ok: true, message: `Probe terminated redirects, Response body: ${text}`, isWarning: true }
}

/** Whatever is answered, the hook has been told. */
async function callHttp(action: HTTPGetAction, target: ActionTarget, timeoutMs: number): Promise<ActionResult> {
  const get = toGet(action, target, 'lifecycle')
  const got = await getHttp(get, timeoutMs)
  if (!('trouble' in got)) return { ok: true, message: '' }
  if (!got.trouble.endsWith(plainAnswer)) return { ok: false, message: got.trouble }
  // As kubelets do for those who said HTTPS while nobody looked.
  const headers = get.headers.filter(({ name }) => name.toLowerCase() !== 'authorization')
  const again = await getHttp({ ...get, isTls: false, headers }, timeoutMs)
  return 'trouble' in again ? { ok: false, message: got.trouble } : { ok: true, message: '' }
}

function toGet(action: HTTPGetAction, { container, podIp }: ActionTarget, purpose: 'probe' | 'lifecycle'): HttpGet {
  return {
    isTls: action.scheme === 'HTTPS',
    host: action.host || podIp,
    port: portOf(action.port, container),
    path: action.path ?? '/',
    headers: action.httpHeaders ?? [],
    userAgent: `kube-${purpose}/1.36`,
  }
}

function openTcp(host: string, port: number, timeoutMs: number): Promise<ActionResult> {
  const { promise, resolve } = Promise.withResolvers<ActionResult>()
  const socket = connect({ host, port })
  const finish = (ok: boolean, message: string): void => {
    socket.destroy()
    resolve({ ok, message })
  }
  socket.setTimeout(timeoutMs, () => finish(false, `dial tcp ${renderAddress(host, port)}: i/o timeout`))
  socket.on('connect', () => finish(true, ''))
  socket.on('error', (error) => finish(false, describeTrouble(error, host, port)))
  return promise
}

/** `grpc.health.v1.Health/Check` (gRPC Health Checking Protocol); `SERVING` is status 1. */
function checkGrpc(host: string, port: number, service: string, timeoutMs: number): Promise<ActionResult> {
  const { promise, resolve } = Promise.withResolvers<ActionResult>()
  // Few clusters have such a probe, and all would wait for the module and keep it: 7 ms and 5 MB.
  const { connect: http2Connect } = process.getBuiltinModule('node:http2')
  const session = http2Connect(`http://${host}:${port}`)
  const finish = (ok: boolean, message: string): void => {
    clearTimeout(timer)
    session.destroy()
    resolve({ ok, message })
  }
  const timer = setTimeout(() => finish(false, 'timeout: health rpc did not complete'), timeoutMs)
  session.on('error', (error) => finish(false, error.message))
  const stream = session.request({
    ':method': 'POST',
    ':path': '/grpc.health.v1.Health/Check',
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  const name = Buffer.from(service)
  const message =
    name.byteLength === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.of(0x0a), varint(name.byteLength), name])
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.byteLength, 1)
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => {
    if (chunks.length < 64) chunks.push(chunk)
  })
  stream.on('error', (error) => finish(false, error.message))
  stream.on('end', () => {
    // Five bytes of frame, then field 1 (tag 0x08) with the status.
    const answer = Buffer.concat(chunks)
    const status = answer[5] === 0x08 ? (answer[6] ?? 0) : 0
    finish(status === 1, `service unhealthy (responded with "${servingStatuses[status] ?? status}")`)
  })
  stream.end(Buffer.concat([head, message]))
  return promise
}

const servingStatuses = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN']

/** A number as protocol buffers write it: seven bits in each byte, the lowest first. */
function varint(value: number): Buffer {
  return value < 128 ? Buffer.of(value) : Buffer.concat([Buffer.of((value & 127) | 128), varint(value >>> 7)])
}
