// The API server beside etcd on the same disk, in the same run: writes, lists, watches, memory and start-up.
//   npm run bench -- api [--json] [--save]
// The peer is Debian's etcd-server, as control planes run it (fsync of each batch): what a Kubernetes API server can write at most. It is asked over
// TLS with client certificates, which is how kubeadm and others set it up and how our server is always asked, and once more over plain TCP.
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { setTimeout as pause } from 'node:timers/promises'
import { rolldown } from 'rolldown'
import { eventually, freePort } from '../../tests/e2e/support/machine.ts'
import { loadPki } from '../../packages/cluster/src/lib/pki.ts'
import { figureOf, median, report } from '../report.ts'
import type { Figure } from '../report.ts'
import type { ApiAddress, Task } from './api-load.ts'
import { EtcdConnection } from './etcd-connection.ts'
import type { EtcdAddress } from './etcd-connection.ts'

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
  readonly address: EtcdAddress

  private constructor(name: string, address: EtcdAddress, peerPort: number, tls: readonly string[]) {
    this.address = address
    const scheme = address.tls === undefined ? 'http' : 'https'
    const [own, peer] = [`${scheme}://127.0.0.1:${address.port}`, `http://127.0.0.1:${peerPort}`]
    this.#child = spawn(
      'etcd',
      [
        ['--data-dir', join(scratch, name)],
        ['--listen-client-urls', own, '--advertise-client-urls', own],
        ['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
        ['--quota-backend-bytes', String(8 << 30), '--log-level', 'error'],
        tls,
      ].flat(),
      { stdio: 'ignore' },
    )
  }

  static async start(): Promise<Etcd> {
    return await Etcd.#started(new Etcd('etcd', { port: await freePort() }, await freePort(), []))
  }

  /** As kubeadm starts it: nobody is served without a certificate of its authority. */
  static async startWithTls(): Promise<Etcd> {
    const dir = join(scratch, 'etcd-tls')
    const { ca, server, admin } = await loadPki(dir)
    const files = { 'trusted-ca-file': ca, 'cert-file': server.certificate, 'key-file': server.key }
    const flags = Object.entries(files).flatMap(([flag, text]) => {
      writeFileSync(join(dir, flag), text, { mode: 0o600 })
      return [`--${flag}`, join(dir, flag)]
    })
    const address = { port: await freePort(), tls: { ca, cert: admin.certificate, key: admin.key } }
    return await Etcd.#started(new Etcd('etcd-tls/data', address, await freePort(), [...flags, '--client-cert-auth']))
  }

  static async #started(etcd: Etcd): Promise<Etcd> {
    await eventually('etcd', async () => {
      const connection = await EtcdConnection.open(etcd.address)
      await connection.put('ready', 'yes').finally(() => connection.close())
      return true
    })
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
  await using plain = await Etcd.start()
  await using etcd = await Etcd.startWithTls()
  const { server, api } = await ApiServer.start(join(scratch, 'writes'))
  await using running = server
  const figures: Figure[] = []
  for (const clients of [1, 16, 64]) {
    const rates = { ours: [] as number[], etcd: [] as number[], plain: [] as number[] }
    for (let round = 0; round < rounds; round += 1) {
      const common = { clients, ms: 2000, bytes: podBytes, prefix: `c${clients}-${round}` }
      const put = async ({ address }: Etcd): Promise<number> =>
        (await load.run<{ perSecond: number }>({ task: 'put', etcd: address, ...common })).perSecond
      rates.plain.push(await put(plain))
      rates.etcd.push(await put(etcd))
      rates.ours.push((await load.run<{ perSecond: number }>({ task: 'create', api, ...common })).perSecond)
    }
    figures.push(...writeFigures(clients, rates))
  }
  void running
  return figures
}

function writeFigures(
  clients: number,
  { ours, etcd, plain }: Record<'ours' | 'etcd' | 'plain', readonly number[]>,
): Figure[] {
  const name = `durable creates of 1.5 kB pods, ${clients} ${clients === 1 ? 'client' : 'clients'}`
  const over = (theirs: readonly number[]): number[] =>
    ours.map((value, round) => value / (theirs[round] ?? Number.NaN))
  const target = clients === 64 ? { atLeast: 1.5 } : undefined
  return [
    { ...figureOf(name, '/s', ours), peer: { name: 'etcd put', value: median(etcd) } },
    figureOf(`${name}, over etcd's put`, 'x', over(etcd), target),
    figureOf(`${name}, over etcd's put without TLS`, 'x', over(plain)),
  ]
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
