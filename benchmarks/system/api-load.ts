// The client of the api benchmark, a process of its own: `node api-load.ts`. Reads one task as JSON from each line of standard input and answers with
// one line of JSON. It speaks HTTP/1.1 over TLS by hand: a full client would need more of the machine than the server it measures.
import { createInterface } from 'node:readline'
import { connect } from 'node:tls'
import type { TLSSocket } from 'node:tls'

import { EtcdConnection } from './etcd-connection.ts'
import type { EtcdAddress } from './etcd-connection.ts'

export interface ApiAddress {
  port: number
  ca: string
  token: string
}

export type Task =
  | { task: 'create'; api: ApiAddress; clients: number; ms: number; bytes: number; prefix: string }
  | { task: 'fill'; api: ApiAddress; count: number; bytes: number }
  | { task: 'put'; etcd: EtcdAddress; clients: number; ms: number; bytes: number; prefix: string }
  | { task: 'list'; api: ApiAddress; path: string; times: number }
  | { task: 'get-beside-list'; api: ApiAddress; get: string; list: string; ms: number }
  | { task: 'get-beside-creates'; api: ApiAddress; ms: number; writers: number; bytes?: number }
  | { task: 'watch'; api: ApiAddress; watchers: number; events: number }

createInterface({ input: process.stdin }).on('line', (line) => {
  void answer(JSON.parse(line) as Task).then((result) => console.log(JSON.stringify(result)))
})

async function answer(task: Task): Promise<unknown> {
  switch (task.task) {
    case 'create':
      return await create(task)
    case 'fill':
      return await fill(task)
    case 'put':
      return await put(task)
    case 'list':
      return await list(task)
    case 'get-beside-list':
      return await getBesideList(task)
    case 'get-beside-creates':
      return await getBesideCreates(task)
    case 'watch':
      return await watch(task)
  }
}

/** How many pods were created per second by so many clients, each waiting for its answer before it asks again. */
async function create(task: Task & { task: 'create' }): Promise<{ perSecond: number }> {
  const { api, clients, ms, bytes, prefix } = task
  const path = '/api/v1/namespaces/default/pods'
  let made = 0
  const count = await forAWhile(clients, ms, async () => {
    const connection = await Connection.open(api)
    return {
      work: async () => void (await connection.ask('POST', path, podText(`${prefix}-${(made += 1)}`, bytes))),
      close: () => connection.close(),
    }
  })
  return { perSecond: count / (ms / 1000) }
}

async function fill({ api, count, bytes }: Task & { task: 'fill' }): Promise<{ done: number }> {
  let next = 0
  const path = '/api/v1/namespaces/default/pods'
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      const connection = await Connection.open(api)
      while (next < count) await connection.ask('POST', path, podText(`filled-${(next += 1)}`, bytes))
      connection.close()
    }),
  )
  return { done: count }
}

/** The same of etcd: values of the same size under new keys, over gRPC; clients share eight connections. */
async function put(task: Task & { task: 'put' }): Promise<{ perSecond: number }> {
  const { etcd, clients, ms, bytes, prefix } = task
  const connections = await Promise.all(Array.from({ length: Math.min(clients, 8) }, () => EtcdConnection.open(etcd)))
  let made = 0
  const count = await forAWhile(clients, ms, (index) => {
    const connection = connections[index % connections.length]
    if (connection === undefined) throw new RangeError('There is no connection')
    return Promise.resolve({
      work: () => connection.put(`/registry/pods/default/${prefix}-${(made += 1)}`, podText(prefix, bytes)),
      close: () => undefined,
    })
  })
  for (const connection of connections) connection.close()
  return { perSecond: count / (ms / 1000) }
}

/** Milliseconds from the question to the last byte of the answer. */
async function list({ api, path, times }: Task & { task: 'list' }): Promise<{ ms: number[]; bytes: number }> {
  const connection = await Connection.open(api)
  const taken: number[] = []
  let bytes = 0
  for (let time = 0; time < times; time += 1) {
    const startedAt = performance.now()
    bytes = await connection.ask('GET', path)
    taken.push(performance.now() - startedAt)
  }
  connection.close()
  return { ms: taken, bytes }
}

/** Times of single reads by one client while another reads a long list again and again. */
async function getBesideList(task: Task & { task: 'get-beside-list' }): Promise<{ p50: number; p99: number }> {
  const { api, get, list: path, ms } = task
  const [reader, lister] = [await Connection.open(api), await Connection.open(api)]
  const until = performance.now() + ms
  const taken: number[] = []
  async function listOn(): Promise<void> {
    while (performance.now() < until) await lister.ask('GET', path)
  }
  async function readOn(): Promise<void> {
    while (performance.now() < until) {
      const startedAt = performance.now()
      await reader.ask('GET', get)
      taken.push(performance.now() - startedAt)
    }
  }
  await Promise.all([listOn(), readOn()])
  reader.close()
  lister.close()
  taken.sort((a, b) => a - b)
  return { p50: at(taken, 0.5), p99: at(taken, 0.99) }
}

/** Times of single reads by one client while others create config maps. */
async function getBesideCreates(
  task: Task & { task: 'get-beside-creates' },
): Promise<{ p50: number; p99: number; made: number }> {
  const { api, ms, writers, bytes = 100 } = task
  const path = '/api/v1/namespaces/default/configmaps'
  const reader = await Connection.open(api)
  const until = performance.now() + ms
  const taken: number[] = []
  let made = 0
  const value = 'v'.repeat(bytes)
  async function createOn(): Promise<void> {
    const writer = await Connection.open(api)
    while (performance.now() < until) await writer.ask('POST', path, configMapText(`beside-${(made += 1)}`, value))
    writer.close()
  }
  async function readOn(): Promise<void> {
    await reader.ask('POST', path, configMapText('read-again'))
    while (performance.now() < until) {
      const startedAt = performance.now()
      await reader.ask('GET', `${path}/read-again`)
      taken.push(performance.now() - startedAt)
    }
  }
  await Promise.all([readOn(), ...Array.from({ length: writers }, createOn)])
  reader.close()
  taken.sort((a, b) => a - b)
  return { p50: at(taken, 0.5), p99: at(taken, 0.99), made }
}

/** Deliveries per second: every watcher is told of every event. */
async function watch(task: Task & { task: 'watch' }): Promise<{ perSecond: number; lastMs: number }> {
  const { api, watchers, events } = task
  const path = '/api/v1/namespaces/default/configmaps'
  const expected = watchers * events
  const { promise: allTold, resolve: tell } = Promise.withResolvers<void>()
  let told = 0
  const open = await Promise.all(
    Array.from({ length: watchers }, () =>
      Connection.watch(
        api,
        `${path}?watch=true&resourceVersion=0&sendInitialEvents=false&resourceVersionMatch=NotOlderThan`,
        (lines) => {
          told += lines
          if (told >= expected) tell()
        },
      ),
    ),
  )
  const writers = await Promise.all(Array.from({ length: 8 }, () => Connection.open(api)))
  const startedAt = performance.now()
  let next = 0
  await Promise.all(
    writers.map(async (writer) => {
      while (next < events) await writer.ask('POST', path, configMapText(`watched-${watchers}-${(next += 1)}`))
    }),
  )
  await allTold
  const lastMs = performance.now() - startedAt
  for (const connection of [...open, ...writers]) connection.close()
  return { perSecond: expected / (lastMs / 1000), lastMs }
}

interface Worker {
  work(): Promise<void>
  close(): void
}

/** Lets so many workers work for `ms`; how often they did. The first fifth is for getting warm and is not counted. */
async function forAWhile(workers: number, ms: number, open: (index: number) => Promise<Worker>): Promise<number> {
  const all = await Promise.all(Array.from({ length: workers }, (_, index) => open(index)))
  const from = performance.now() + ms / 4
  const until = from + ms
  let count = 0
  await Promise.all(
    all.map(async (worker) => {
      for (;;) {
        await worker.work()
        const now = performance.now()
        if (now > until) break
        if (now > from) count += 1
      }
      worker.close()
    }),
  )
  return count
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** A pod of about `bytes` as JSON: what a Deployment's pods look like, and an annotation that fills it up. */
function podText(name: string, bytes: number): string {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: 'web', tier: 'front' }, annotations: { 'example.com/filler': '' } },
    spec: {
      nodeName: 'node-1',
      containers: [
        {
          name: 'web',
          image: 'registry.example.com/web:1.0.0',
          ports: [{ name: 'http', containerPort: 8080 }],
          env: [{ name: 'PORT', value: '8080' }],
          resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { memory: '128Mi' } },
        },
      ],
    },
  }
  const short = JSON.stringify(pod)
  pod.metadata.annotations['example.com/filler'] = 'x'.repeat(Math.max(0, bytes - short.length))
  return JSON.stringify(pod)
}

function configMapText(name: string, key = 'value'): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { key } })
}

const newline = 0x0a
const brace = 0x7d

/** One connection that stays open; one question at a time. */
class Connection {
  readonly #socket: TLSSocket
  readonly #token: string
  #onData: (data: Buffer) => void = () => undefined

  private constructor(socket: TLSSocket, token: string) {
    this.#socket = socket
    this.#token = token
    socket.on('data', (data) => this.#onData(data))
    socket.on('error', (error) => {
      throw error
    })
  }

  static async open({ port, ca, token }: ApiAddress): Promise<Connection> {
    const socket = connect({ port, host: '127.0.0.1', ca, ALPNProtocols: ['http/1.1'] })
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
    socket.setNoDelay(true)
    return new Connection(socket, token)
  }

  /** Resolves when the server has begun to answer; `onLines` is told how many events came with each read. */
  static async watch(api: ApiAddress, path: string, onLines: (lines: number) => void): Promise<Connection> {
    const connection = await Connection.open(api)
    const { promise: begun, resolve, reject } = Promise.withResolvers<void>()
    let last = 0
    connection.#onData = (data) => {
      const status = data.toString('latin1', 9, 12)
      if (status !== '200') return reject(new Error(`The server answered ${data.toString('latin1', 0, 2000)}`))
      resolve()
      connection.#onData = (piece) => {
        let lines = 0
        for (let end = piece.indexOf(newline); end >= 0; end = piece.indexOf(newline, end + 1)) {
          if ((end === 0 ? last : piece[end - 1]) === brace) lines += 1
        }
        last = piece.at(-1) ?? 0
        if (lines > 0) onLines(lines)
      }
    }
    connection.#send('GET', path)
    await begun
    return connection
  }

  /** Bytes of the answer's body; throws unless it is a success. */
  async ask(method: string, path: string, body?: string): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    let size = 0
    let expected = -1
    let headers = ''
    this.#onData = (data) => {
      size += data.length
      if (expected < 0) {
        headers += data.toString('latin1', 0, 2000)
        const end = headers.indexOf('\r\n\r\n')
        if (end < 0) return
        if (headers[9] !== '2') return reject(new Error(`The server answered ${headers.slice(0, 2000)}`))
        const length = Number(/\r\ncontent-length: (\d+)/i.exec(headers)?.[1])
        expected = end + 4 + length
        if (Number.isNaN(expected)) return reject(new Error('The answer has no length'))
      }
      if (size >= expected) resolve(expected)
    }
    this.#send(method, path, body)
    return await promise
  }

  close(): void {
    this.#socket.destroy()
  }

  #send(method: string, path: string, body = ''): void {
    const length = body === '' ? '' : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`
    this.#socket.write(
      `${method} ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${this.#token}\r\naccept: application/json\r\n${length}\r\n${body}`,
    )
  }
}
