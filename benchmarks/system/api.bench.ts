// The API server beside etcd on the same disk, in the same run: writes, lists, watches, memory and start-up.
//   npm run bench -- api [--json] [--save]
// The peer is Debian's etcd-server, as every control plane runs it (fsync of each batch): what a Kubernetes API server can write at most.
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { setTimeout as pause } from 'node:timers/promises'
import { rolldown } from 'rolldown'
import { eventually, freePort } from '../../tests/e2e/support/machine.ts'
import { figureOf, median, report } from '../report.ts'
import type { Figure } from '../report.ts'
import type { ApiAddress, Task } from './api-load.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'fairlead-bench-api-'))
const rounds = 5
const podBytes = 1500
const largePodBytes = 4000
/** As it is installed: one file, no types to strip. */
const bundled = join(scratch, 'api-server.mjs')

/** A program of ours beside this file, told what to do line by line. */
class Program implements AsyncDisposable {
  readonly child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: Interface
  readonly #waiting: ((line: string) => void)[] = []

  constructor(file: string, args: readonly string[] = []) {
    const flags = ['--conditions=@fairlead/source', '--disable-warning=ExperimentalWarning']
    this.child = spawn(process.execPath, [...flags, resolve(here, file), ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.child.setMaxListeners(0)
    this.#lines = createInterface({ input: this.child.stdout })
    this.#lines.on('line', (line) => this.#waiting.shift()?.(line))
  }

  async line<T>(): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    this.#waiting.push(resolve)
    this.child.once('exit', (code) => reject(new Error(`The program has ended with ${code}`)))
    return JSON.parse(await promise) as T
  }

  async run<T>(task: Task): Promise<T> {
    this.child.stdin.write(`${JSON.stringify(task)}\n`)
    return await this.line<T>()
  }

  residentMegabytes(): number {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))?.[1]) / 1000
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve))
    this.child.stdin.end()
    if (this.child.exitCode === null) await ended
  }
}

class ApiServer extends Program {
  static async start(
    dir: string,
    durability = 'strict',
  ): Promise<{ server: ApiServer; api: ApiAddress & { readyMs: number } }> {
    const server = new ApiServer(bundled, [dir, durability])
    return { server, api: await server.line() }
  }
}

class Etcd implements AsyncDisposable {
  readonly #child: ReturnType<typeof spawn>
  readonly port: number

  private constructor(port: number, peerPort: number) {
    this.port = port
    const [own, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`]
    this.#child = spawn(
      'etcd',
      [
        ['--data-dir', join(scratch, 'etcd')],
        ['--listen-client-urls', own, '--advertise-client-urls', own],
        ['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
        ['--quota-backend-bytes', String(8 << 30), '--log-level', 'error'],
      ].flat(),
      { stdio: 'ignore' },
    )
  }

  static async start(): Promise<Etcd> {
    const etcd = new Etcd(await freePort(), await freePort())
    await eventually('etcd', async () => (await fetch(`http://127.0.0.1:${etcd.port}/health`)).ok)
    return etcd
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGTERM')
    await ended
  }
}

try {
  await bundleServer()
  await using load = new Program('api-load.ts')
  const writes = await measureWrites(load)
  const fanOut = await measureWatches(load)
  const many = [...(await measureObjects(load, 10_000)), ...(await measureObjects(load, 100_000))]
  report('api', [...writes, ...fanOut, ...many])
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

async function bundleServer(): Promise<void> {
  const bundle = await rolldown({
    input: join(here, 'api-server.ts'),
    platform: 'node',
    resolve: { conditionNames: ['@fairlead/source', 'node', 'import'] },
  })
  await bundle.write({ file: bundled, format: 'esm', minify: true, codeSplitting: false })
}

async function measureWrites(load: Program): Promise<Figure[]> {
  if (!existsSync('/usr/bin/etcd')) throw new Error('Cannot measure the peer: there is no etcd, install etcd-server')
  await using etcd = await Etcd.start()
  const { server, api } = await ApiServer.start(join(scratch, 'writes'))
  await using running = server
  const figures: Figure[] = []
  for (const clients of [1, 16, 64]) {
    const ours: number[] = []
    const theirs: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      const common = { clients, ms: 2000, bytes: podBytes, prefix: `c${clients}-${round}` }
      theirs.push((await load.run<{ perSecond: number }>({ task: 'put', etcdPort: etcd.port, ...common })).perSecond)
      ours.push((await load.run<{ perSecond: number }>({ task: 'create', api, ...common })).perSecond)
    }
    const name = `durable creates of 1.5 kB pods, ${clients} ${clients === 1 ? 'client' : 'clients'}`
    figures.push({ ...figureOf(name, '/s', ours), peer: { name: 'etcd put', value: median(theirs) } })
    const ratios = ours.map((value, round) => value / (theirs[round] ?? Number.NaN))
    figures.push(figureOf(`${name}, over etcd's put`, 'x', ratios, clients === 64 ? { atLeast: 1.5 } : undefined))
  }
  void running
  return figures
}

async function measureWatches(load: Program): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const [watchers, events] of [
    [100, 3000],
    [1000, 300],
  ] as const) {
    const rates: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      const { server, api } = await ApiServer.start(join(scratch, `watch-${watchers}-${round}`), 'memory')
      await using running = server
      void running
      rates.push((await load.run<{ perSecond: number }>({ task: 'watch', api, watchers, events })).perSecond)
    }
    const target = watchers === 100 ? { atLeast: 150_000 } : undefined
    figures.push(figureOf(`watch deliveries, ${watchers} watchers`, '/s', rates, target))
  }
  return figures
}

/** Lists, memory and start-up with so many pods of 4 kB. */
async function measureObjects(load: Program, count: number): Promise<Figure[]> {
  const dir = join(scratch, `objects-${count}`)
  const name = `${count.toLocaleString('en')} pods of 4 kB`
  {
    const { server, api } = await ApiServer.start(dir)
    await using running = server
    void running
    await load.run({ task: 'fill', api, count, bytes: largePodBytes })
  }
  const starts: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const { server, api } = await ApiServer.start(dir)
    await using running = server
    void running
    starts.push(api.readyMs)
  }
  const { server, api } = await ApiServer.start(dir)
  await using running = server
  await pause(1000)
  const atRest = running.residentMegabytes()
  const path = '/api/v1/pods'
  const lists = await load.run<{ ms: number[] }>({ task: 'list', api, path, times: count > 50_000 ? 5 : 15 })
  const latency = await load.run<{ p50: number; p99: number }>({
    task: 'get-beside-list',
    api,
    get: '/api/v1/namespaces/default/pods/filled-7',
    list: path,
    ms: 5000,
  })
  const isSmall = count === 10_000
  return [
    figureOf(`list of ${name}`, 'ms', lists.ms, isSmall ? { atMost: 60 } : undefined),
    figureOf(`get beside a client that lists ${name}, p99`, 'ms', [latency.p99], { atMost: 100 }),
    figureOf(`start of the API server, ${name}`, 'ms', starts, { atMost: isSmall ? 400 : 1000 }),
    figureOf(`resident memory, ${name}, after the start`, 'MB', [atRest], { atMost: isSmall ? 150 : 750 }),
    figureOf(`resident memory, ${name}, after lists`, 'MB', [running.residentMegabytes()]),
  ]
}
