import type { IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import type { Container, HTTPGetAction, LifecycleHandler, Probe } from '@fairlead/kube/types/core-v1'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { request: httpRequest } = process.getBuiltinModule('node:http')

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
}

const MAX_BODY_BYTES = 10 * 1024

/** Runs the action of a probe or hook once. Never throws: a failure is a result. */
export async function runAction(
  action: Pick<Probe, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'> & Pick<LifecycleHandler, 'sleep'>,
  target: ActionTarget,
  timeoutMs: number,
): Promise<ActionResult> {
  try {
    if (action.exec) return await runExec(action.exec.command ?? [], target, timeoutMs)
    if (action.httpGet) return await getHttp(action.httpGet, target, timeoutMs)
    if (action.tcpSocket) {
      const { host, port } = action.tcpSocket
      return await openTcp(host || target.podIp, portOf(port, target.container), timeoutMs)
    }
    if (action.grpc) return await checkGrpc(target.podIp, action.grpc.port, action.grpc.service ?? '', timeoutMs)
    return { ok: true, message: '' }
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : String(error) }
  }
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

function getHttp(action: HTTPGetAction, target: ActionTarget, timeoutMs: number): Promise<ActionResult> {
  const { promise, resolve } = Promise.withResolvers<ActionResult>()
  const host = action.host || target.podIp
  const port = portOf(action.port, target.container)
  const path = `/${(action.path ?? '/').replace(/^\//, '')}`
  const isTls = action.scheme === 'HTTPS'
  const url = `${isTls ? 'https' : 'http'}://${host}:${port}${path}`
  const headers: Record<string, string> = { 'user-agent': 'kube-probe/1.36', accept: '*/*', connection: 'close' }
  for (const { name, value } of action.httpHeaders ?? []) headers[name.toLowerCase()] = value
  const options = { host, port, path, headers, agent: false as const, rejectUnauthorized: false }
  const request = (isTls ? httpsRequest : httpRequest)(options, (response: IncomingMessage) => {
    const status = response.statusCode ?? 0
    const ok = status >= 200 && status < 400
    if (ok) {
      response.resume()
      finish({ ok, message: '' })
      return
    }
    let body = ''
    response.setEncoding('utf8').on('data', (text: string) => {
      if (body.length < MAX_BODY_BYTES) body += text
    })
    response.on('end', () => finish({ ok, message: `HTTP probe failed with statuscode: ${status}` }))
  })
  const timer = setTimeout(() => {
    finish({ ok: false, message: `Get "${url}": context deadline exceeded` })
  }, timeoutMs)
  function finish(result: ActionResult): void {
    clearTimeout(timer)
    resolve(result)
    request.destroy()
  }
  request.on('error', (error) => finish({ ok: false, message: `Get "${url}": ${error.message}` }))
  request.end()
  return promise
}

function openTcp(host: string, port: number, timeoutMs: number): Promise<ActionResult> {
  const { promise, resolve } = Promise.withResolvers<ActionResult>()
  const socket = connect({ host, port })
  const finish = (ok: boolean, message: string): void => {
    socket.destroy()
    resolve({ ok, message })
  }
  socket.setTimeout(timeoutMs, () => finish(false, `dial tcp ${host}:${port}: i/o timeout`))
  socket.on('connect', () => finish(true, ''))
  socket.on('error', (error) => finish(false, error.message))
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
  const message = name.byteLength === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.of(0x0a, name.byteLength), name])
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
    finish(status === 1, `service unhealthy (responded with status ${status})`)
  })
  stream.end(Buffer.concat([head, message]))
  return promise
}
