import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { getHeapSnapshot } from 'node:v8'
import { messageOf } from '../errors.ts'
import { isLoggerName, isLogLevel } from '../log/levels.ts'
import type { LogLevel } from '../log/levels.ts'
import type { Logger } from '../log/logger.ts'
import { refuse } from './access.ts'
import { recordCpuProfile } from './profile.ts'
import { describeHandles, getReport, renderRedacted } from './state.ts'

export interface DebugOptions {
  /** Whose levels can be changed; it is also told who used what. */
  readonly log: Logger
  /** What callers that are not on this machine must have as `Authorization: Bearer`. Default: none may. */
  readonly token?: string | undefined
  /** The configuration in effect, with the origin of each value. Redacted once more before it is shown. */
  readonly config?: (() => unknown) | undefined
  /** Default 60. */
  readonly maxProfileSeconds?: number | undefined
}

/** Endpoints to look into a running process. */
export interface Debug {
  /** Method and path of each, for an index. */
  readonly paths: readonly string[]
  /** Answers a request below `/debug`; false when it is for somebody else. */
  handle(request: IncomingMessage, response: ServerResponse): boolean
  /** Ends what is running, with what there is by then. Nothing is begun afterwards. */
  stop(): void
}

interface Call {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly query: URLSearchParams
  /** Aborts when the caller goes away or the service stops. */
  readonly signal: AbortSignal
}

const maxBodyBytes = 64 * 1024

/** Creates the endpoints; mount them on an admin listener, never on the port that takes traffic. */
export function createDebug(options: DebugOptions): Debug {
  const { log } = options
  const stopping = new AbortController()
  const busy = new Set<string>()
  const token = options.token === '' ? undefined : options.token
  const endpoints = new Map<string, (call: Call) => unknown>([
    ['GET /debug/log-levels', () => levelsOf(log)],
    ['PUT /debug/log-levels', async (call) => changeLevels(log, await readJson(call.request))],
    ['GET /debug/handles', () => describeHandles()],
    ['GET /debug/report', () => getReport()],
    ['POST /debug/heap-snapshot', alone('heap-snapshot', sendHeapSnapshot)],
    ['POST /debug/cpu-profile', alone('cpu-profile', (call) => sendCpuProfile(call, options.maxProfileSeconds ?? 60))],
    ['POST /debug/gc', () => collectGarbage()],
  ])
  if (options.config) endpoints.set('GET /debug/config', options.config)
  const paths = [...endpoints.keys()]

  /** Both stop the process for a while or slow it down: one at a time. */
  function alone(name: string, work: (call: Call) => Promise<void>): (call: Call) => Promise<void> {
    return async (call) => {
      if (busy.has(name)) throw new DebugFault(409, `A ${name} is being taken already`)
      busy.add(name)
      try {
        await work(call)
      } finally {
        busy.delete(name)
      }
    }
  }
  const serve = async (
    key: string,
    request: IncomingMessage,
    response: ServerResponse,
    search: string,
  ): Promise<void> => {
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const signal = AbortSignal.any([gone.signal, stopping.signal])
    try {
      const answer = await endpoints.get(key)?.({ request, response, query: new URLSearchParams(search), signal })
      if (!response.headersSent && !response.destroyed) sendText(response, 200, renderRedacted(answer ?? {}))
    } catch (error) {
      if (response.headersSent) response.destroy()
      else if (error instanceof DebugFault) sendProblem(response, error.status, error.message)
      else {
        log.error('debug endpoint failed', { endpoint: key, err: error })
        sendProblem(response, 500, messageOf(error))
      }
    }
  }

  return {
    paths,
    handle(request, response) {
      const [path = '/', search = ''] = (request.url ?? '/').split('?', 2)
      if (path !== '/debug' && !path.startsWith('/debug/')) return false
      response.setHeader('cache-control', 'no-store')
      response.setHeader('x-content-type-options', 'nosniff')
      const peer = request.socket.remoteAddress
      const refusal = refuse({ peer, headers: request.headers }, token)
      const key = `${request.method} ${path}`
      if (refusal !== undefined) {
        log.warn('debug request refused', { endpoint: key.slice(0, 100), peer, status: refusal.status })
        if (refusal.status === 401) response.setHeader('www-authenticate', 'Bearer')
        sendProblem(response, refusal.status, refusal.detail)
      } else if (stopping.signal.aborted) sendProblem(response, 503, 'The service is stopping')
      else if (endpoints.has(key)) {
        log.info('debug endpoint used', { endpoint: key, peer })
        void serve(key, request, response, search)
      } else {
        const allow = paths.filter((known) => known.endsWith(` ${path}`)).map((known) => known.split(' ', 1).join(''))
        if (allow.length > 0) response.setHeader('allow', allow.join(', '))
        sendProblem(response, allow.length > 0 ? 405 : 404, `There is ${paths.join(', ')}`)
      }
      return true
    },
    stop: () => stopping.abort(),
  }
}

class DebugFault extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

function levelsOf({ levels }: Logger): unknown {
  return { configured: levels.configured, effective: levels.effective }
}

/** `{ "root": "info", "db": "debug", "http": null }`: null takes a level back. Either all are changed or none. */
function changeLevels(log: Logger, wanted: unknown): unknown {
  if (typeof wanted !== 'object' || wanted === null || Array.isArray(wanted))
    throw new DebugFault(400, 'Send an object of levels by name: {"root":"info","db":"debug"}')
  const changes = Object.entries(wanted).map(([name, level]): [string, LogLevel | undefined] => {
    if (!isLoggerName(name)) throw new DebugFault(400, `"${name.slice(0, 100)}" is not the name of a logger`)
    if (level === null) return [name, undefined]
    if (typeof level !== 'string' || !isLogLevel(level))
      throw new DebugFault(400, `The level of "${name}" is not a level`)
    return [name, level]
  })
  if (changes.length > 100) throw new DebugFault(400, 'At most 100 levels at a time')
  for (const [name, level] of changes) log.levels.set(name, level)
  log.warn('log levels changed', { levels: wanted })
  return levelsOf(log)
}

async function sendHeapSnapshot({ response, signal }: Call): Promise<void> {
  // It is built in memory beside the heap, in one go.
  const needed = process.memoryUsage().heapUsed
  if (process.availableMemory() < needed)
    throw new DebugFault(
      507,
      `A heap snapshot needs about ${needed} bytes of memory, ${process.availableMemory()} are left`,
    )
  response.writeHead(200, download('heapsnapshot'))
  await pipeline(getHeapSnapshot(), response, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error
    response.destroy()
  })
}

async function sendCpuProfile({ response, query, signal }: Call, maxSeconds: number): Promise<void> {
  const seconds = Number(query.get('seconds') ?? '10')
  if (!(seconds > 0 && seconds <= maxSeconds))
    throw new DebugFault(400, `"seconds" is a number above 0 and up to ${maxSeconds}`)
  const profile = await recordCpuProfile(seconds, signal)
  if (response.destroyed) return
  response.writeHead(200, download('cpuprofile'))
  response.end(profile)
}

function collectGarbage(): unknown {
  const { gc } = globalThis
  if (gc === undefined) throw new DebugFault(501, 'Start Node with --expose-gc')
  const before = process.memoryUsage().heapUsed
  const startedAt = performance.now()
  gc()
  return { before, after: process.memoryUsage().heapUsed, durationMs: Math.round(performance.now() - startedAt) }
}

function download(extension: string): Record<string, string> {
  const name = `${process.pid}-${Date.now()}.${extension}`
  return { 'content-type': 'application/json', 'content-disposition': `attachment; filename="${name}"` }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length
    if (size > maxBodyBytes) throw new DebugFault(413, `The body is above ${maxBodyBytes} bytes`)
    parts.push(part)
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString())
  } catch {
    throw new DebugFault(400, 'The body is not JSON')
  }
}

function sendProblem(response: ServerResponse, status: number, detail: string): void {
  sendText(response, status, JSON.stringify({ status, detail }), 'application/problem+json')
}

function sendText(response: ServerResponse, status: number, text: string, type = 'application/json'): void {
  if (response.destroyed) return
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) })
  response.end(text)
}
