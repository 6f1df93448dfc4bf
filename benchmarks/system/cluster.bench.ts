// Start-up, memory and pod start of the embedded cluster, as a user's machine sees them: real processes, real containers.
//   npm run bench -- cluster [--json] [--save]
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { connectKube, loadKubeconfig } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { Pod } from '@fairlead/kube/types/core-v1'
import { eventually, freePort, repository } from '../../tests/e2e/support/machine.ts'
import { figureOf, report } from '../report.ts'
import type { Figure } from '../report.ts'

// As published: the bundle. From the sources of the repository a process starts some 200 ms later.
const main = join(repository, 'packages', 'cli', 'dist', 'main.js')
const scratch = mkdtempSync(join(tmpdir(), 'fairlead-bench-'))
const imagesDir = join(scratch, 'home', 'images')
const rounds = 7
/** After a start and after pods have begun there is work left for a moment. */
const settleMs = 5_000
const idleMs = 20_000

/** A cluster in a child process of ours. */
class Running implements AsyncDisposable {
  readonly child: ChildProcess
  readonly dir: string
  readonly port: number
  readonly startedAt: number = performance.now()

  constructor(dir: string, port: number, flags: readonly string[]) {
    this.dir = dir
    this.port = port
    const args = [main, 'cluster', 'run']
    this.child = spawn(
      process.execPath,
      [...args, '--dir', dir, '--images', imagesDir, '--port', String(port), ...flags],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, FAIRLEAD_HOME: join(scratch, 'home') },
      },
    )
  }

  static async start(dir: string, ...flags: readonly string[]): Promise<Running> {
    return new Running(dir, await freePort(), flags)
  }

  /** Milliseconds from the start of the process to the first good answer of the API server. */
  async apiReady(): Promise<number> {
    while (!(await isReady(this.port))) await pause(2)
    return performance.now() - this.startedAt
  }

  async client(): Promise<KubeClient> {
    const path = join(this.dir, 'admin.kubeconfig')
    await eventually('the kubeconfig', () => readFileSync(path, 'utf8').includes(`:${this.port}`))
    return connectKube({ kubeconfig: loadKubeconfig({ path }) })
  }

  residentMegabytes(): number {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))?.[1]) / 1024
  }

  /** Processor time this process takes while nobody asks for anything. */
  async idleCpuPercent(): Promise<number> {
    const [startedAt, before] = [performance.now(), this.#cpuMs()]
    await pause(idleMs)
    return (100 * (this.#cpuMs() - before)) / (performance.now() - startedAt)
  }

  #cpuMs(): number {
    const stat = readFileSync(`/proc/${this.child.pid}/stat`, 'utf8')
    const [user, system] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
    // Ticks of user space are a hundredth of a second on all architectures Linux runs Node on.
    return (Number(user) + Number(system)) * 10
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('close', resolve))
    this.child.kill('SIGTERM')
    await ended
  }
}

try {
  execFileSync(process.execPath, [join(repository, 'scripts', 'build-cli.ts')], { cwd: repository })
  const image = buildHello()
  const figures: Figure[] = [...(await measureStart()), ...(await measurePods(image)), ...(await measureMany(image))]
  report('cluster', figures)
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

async function measureStart(): Promise<Figure[]> {
  const empty: number[] = []
  const again: number[] = []
  const idle: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const dir = join(scratch, `empty-${round}`)
    {
      await using cluster = await Running.start(dir)
      empty.push(await cluster.apiReady())
      await (await cluster.client()).resource('v1/Namespace').list()
      // Idle means: the start is over and nothing has been asked for a while.
      await pause(3_000)
      idle.push(cluster.residentMegabytes())
    }
    await using cluster = await Running.start(dir)
    again.push(await cluster.apiReady())
    await cluster.client()
  }
  const full: number[] = []
  const dir = join(scratch, 'full')
  {
    await using cluster = await Running.start(dir)
    await cluster.apiReady()
    await fill(await cluster.client(), 10_000)
  }
  for (let round = 0; round < rounds; round += 1) {
    await using cluster = await Running.start(dir)
    full.push(await cluster.apiReady())
    await cluster.client()
  }
  return [
    figureOf('API ready, new cluster (makes certificates)', 'ms', empty),
    figureOf('API ready, empty cluster', 'ms', again, { atMost: 200 }),
    figureOf('API ready, 10,000 objects', 'ms', full, { atMost: 400 }),
    figureOf('idle memory', 'MiB', idle, { atMost: 120 }),
  ]
}

async function measurePods(image: string): Promise<Figure[]> {
  await using cluster = await Running.start(join(scratch, 'pods'))
  await cluster.apiReady()
  const client = await cluster.client()
  await client.resource('v1/ServiceAccount').list({ namespace: 'default' })
  const single: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    single.push(await startPods(client, image, [`single-${round}`]))
    await removePods(client)
  }
  const fifty: number[] = []
  for (let round = 0; round < 3; round += 1) {
    const names = Array.from({ length: 50 }, (_, index) => `many-${round}-${index}`)
    fifty.push((await startPods(client, image, names)) / 1000)
    await removePods(client)
  }
  return [
    figureOf('pod of a local image, applied to Ready', 'ms', single, { atMost: 500 }),
    figureOf('50 pods of a local image, applied to all Ready', 's', fifty, { atMost: 8 }),
  ]
}

/** As many pods as one machine is given in practice, and what the cluster takes while nothing happens. */
async function measureMany(image: string): Promise<Figure[]> {
  const count = 200
  // A node takes 110 pods, as a kubelet's does.
  await using cluster = await Running.start(join(scratch, 'many'), '--nodes', '2')
  await cluster.apiReady()
  const client = await cluster.client()
  await client.resource('v1/ServiceAccount').list({ namespace: 'default' })
  await pause(settleMs)
  const empty = await cluster.idleCpuPercent()
  const names = Array.from({ length: count }, (_, index) => `full-${index}`)
  const seconds = (await startPods(client, image, names)) / 1000
  await pause(settleMs)
  const full = await cluster.idleCpuPercent()
  const megabytes = cluster.residentMegabytes()
  return [
    figureOf(`${count} pods of a local image, applied to all Ready`, 's', [seconds]),
    figureOf('processor time of an idle cluster, no pods, of one core', '%', [empty], { atMost: 1 }),
    figureOf(`processor time of an idle cluster, ${count} pods probed every second, of one core`, '%', [full]),
    figureOf(`memory with ${count} pods`, 'MiB', [megabytes]),
  ]
}

/** Milliseconds from the first create to the last pod Ready, as a watch tells it. */
async function startPods(client: KubeClient, image: string, names: readonly string[]): Promise<number> {
  const stop = new AbortController()
  const pods = client.resource('v1/Pod')
  const { metadata } = await pods.list({ namespace: 'default' })
  const version = metadata.resourceVersion
  const watch = pods.watch({
    namespace: 'default',
    signal: stop.signal,
    ...(version ? { resourceVersion: version } : {}),
  })
  const startedAt = performance.now()
  const creating = Promise.all(names.map((name) => pods.create(helloPod(name, image), { namespace: 'default' })))
  const waiting = new Set(names)
  for await (const { object } of watch) {
    if (object.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')) {
      waiting.delete(object.metadata?.name ?? '')
    }
    if (waiting.size === 0) break
  }
  const elapsed = performance.now() - startedAt
  stop.abort()
  await creating
  return elapsed
}

async function removePods(client: KubeClient): Promise<void> {
  const pods = client.resource('v1/Pod')
  const { items } = await pods.list({ namespace: 'default' })
  await Promise.all(
    items.map((pod) => pods.delete(pod.metadata?.name ?? '', { namespace: 'default', gracePeriodSeconds: 0 })),
  )
  await eventually('no pods', async () => (await pods.list({ namespace: 'default' })).items.length === 0, 120_000)
}

async function fill(client: KubeClient, count: number): Promise<void> {
  const maps = client.resource('v1/ConfigMap')
  const data = { payload: 'x'.repeat(3_500) }
  for (let from = 0; from < count; from += 100) {
    const batch = Array.from({ length: 100 }, (_, index) => ({ metadata: { name: `map-${from + index}` }, data }))
    await Promise.all(batch.map((map) => maps.create(map, { namespace: 'default' })))
  }
}

function helloPod(name: string, image: string): Pod {
  const readinessProbe = { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 }
  const resources = { requests: { cpu: '1m', memory: '16Mi' } }
  return {
    metadata: { name },
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: 'main', image, readinessProbe, resources }] },
  }
}

function buildHello(): string {
  const dir = join(scratch, 'hello')
  mkdirSync(dir)
  const source = "require('node:http').createServer((request, response) => response.end('hello')).listen(8080)\n"
  writeFileSync(join(dir, 'main.js'), source)
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'hello', version: '1.0.0', main: 'main.js' }))
  const lock = {
    name: 'hello',
    version: '1.0.0',
    lockfileVersion: 3,
    packages: { '': { name: 'hello', version: '1.0.0' } },
  }
  writeFileSync(join(dir, 'package-lock.json'), JSON.stringify(lock))
  const launcher = join(repository, 'packages', 'cli', 'bin', 'fairlead.mjs')
  const env = { ...process.env, FAIRLEAD_HOME: join(scratch, 'home') }
  const built = JSON.parse(
    execFileSync(process.execPath, [launcher, 'build', dir, '--json'], { encoding: 'utf8', env }),
  )
  return built.images[0].reference
}

function isReady(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = request(
      { host: '127.0.0.1', port, path: '/readyz', rejectUnauthorized: false, timeout: 1_000 },
      (response) => {
        response.resume()
        resolve(response.statusCode === 200)
      },
    )
    probe.once('error', () => resolve(false))
    probe.end()
  })
}
