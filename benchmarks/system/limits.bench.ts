// What the API server does at its limits: 10,000 open watches, a watcher that never reads, and a list of 100,000 objects
// that is read slowly while others create. Memory, and what somebody else waits for meanwhile.
//   npm run bench -- limits [--json] [--save]
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { connect } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { setTimeout as pause } from 'node:timers/promises'
import { figureOf, report } from '../report.ts'
import type { Figure } from '../report.ts'
import type { ApiAddress } from './api-load.ts'

const flags = ['--conditions=@fairlead/source', '--disable-warning=ExperimentalWarning']
const scratch = mkdtempSync(join(tmpdir(), 'fairlead-bench-limits-'))
const watches = 10_000
const objects = 100_000
const configMaps = '/api/v1/namespaces/default/configmaps'

/** A program beside this one; it ends when its input does. */
class Beside implements AsyncDisposable {
  readonly #child: ReturnType<typeof spawn>
  readonly #lines: Interface
  readonly #iterator: AsyncIterator<string>

  constructor(file: string, args: readonly string[] = []) {
    const path = fileURLToPath(new URL(file, import.meta.url))
    this.#child = spawn(process.execPath, [...flags, path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    if (this.#child.stdout === null) throw new TypeError('The program has no output')
    this.#lines = createInterface({ input: this.#child.stdout })
    this.#iterator = this.#lines[Symbol.asyncIterator]()
  }

  async line<T>(): Promise<T> {
    const { value, done } = await this.#iterator.next()
    if (done === true) throw new Error('The program has ended')
    return JSON.parse(value) as T
  }

  async run<T>(task: object): Promise<T> {
    this.#child.stdin?.write(`${JSON.stringify(task)}\n`)
    return await this.line<T>()
  }

  /** Resident memory; `peak`: the most it ever was. */
  megabytes(peak = false): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8')
    return Number(new RegExp(`${peak ? 'VmHWM' : 'VmRSS'}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1000
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.stdin?.end()
    if (this.#child.exitCode === null) await ended
  }
}

try {
  report('limits', [...(await openWatches()), ...(await neverReading()), ...(await slowList())])
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

async function openWatches(): Promise<Figure[]> {
  await using server = new Beside('api-server.ts', [join(scratch, 'watches'), 'memory'])
  const api = await server.line<ApiAddress>()
  await using load = new Beside('api-load.ts')
  const before = server.megabytes()
  const sockets: TLSSocket[] = []
  while (sockets.length < watches) {
    sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => openWatch(api)))))
  }
  await pause(2000)
  const perWatch = ((server.megabytes() - before) * 1000) / watches
  const quick = await load.run<{ p50: number; p99: number }>({ task: 'get-beside-creates', api, ms: 3000, writers: 1 })
  for (const socket of sockets) socket.destroy()
  return [
    figureOf('memory per open watch, TLS and HTTP, 10,000 of them', 'kB', [perWatch]),
    figureOf('get beside 10,000 watches that are told of what one client writes, p99', 'ms', [quick.p99], {
      atMost: 100,
    }),
  ]
}

async function neverReading(): Promise<Figure[]> {
  await using server = new Beside('api-server.ts', [join(scratch, 'deaf'), 'memory'])
  const api = await server.line<ApiAddress>()
  await using load = new Beside('api-load.ts')
  const deaf = await Promise.all(Array.from({ length: 10 }, () => openWatch(api)))
  for (const socket of deaf) socket.pause()
  const quick = await load.run<{ p99: number }>({ task: 'get-beside-creates', api, ms: 8000, writers: 16, bytes: 8000 })
  const peak = server.megabytes(true)
  for (const socket of deaf) socket.destroy()
  return [
    figureOf('get beside 10 watchers that never read and 16 writers, p99', 'ms', [quick.p99], { atMost: 100 }),
    figureOf('resident memory meanwhile, at most', 'MB', [peak]),
  ]
}

async function slowList(): Promise<Figure[]> {
  await using server = new Beside('api-server.ts', [join(scratch, 'list'), 'memory'])
  const api = await server.line<ApiAddress>()
  await using load = new Beside('api-load.ts')
  await load.run({ task: 'fill', api, count: objects, bytes: 1000 })
  await pause(2000)
  const before = server.megabytes()
  const reader = await ask(api, '/api/v1/pods')
  reader.pause()
  const quick = await load.run<{ p99: number }>({ task: 'get-beside-creates', api, ms: 5000, writers: 4 })
  const more = server.megabytes() - before
  reader.destroy()
  return [
    figureOf('get beside a list of 100,000 that nobody reads and 4 writers, p99', 'ms', [quick.p99], { atMost: 100 }),
    figureOf('memory that list and the writes take', 'MB', [more]),
  ]
}

/** Resolves when the answer has begun. */
async function ask({ port, ca, token }: ApiAddress, path: string): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', ca, ALPNProtocols: ['http/1.1'] })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.on('error', reject).once('data', () => resolve())
  socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n\r\n`)
  await promise
  // What comes is thrown away: the client is not what is measured.
  socket.on('data', () => undefined)
  return socket
}

async function openWatch(api: ApiAddress): Promise<TLSSocket> {
  return await ask(
    api,
    `${configMaps}?watch=true&resourceVersion=0&sendInitialEvents=false&resourceVersionMatch=NotOlderThan`,
  )
}
