// The embedded gateway splitting traffic 90 to 10, beside Debian's nginx and haproxy (one worker each) doing the same, in turn. The
// proxy has one core, its two endpoints and the client share the other. Throughput: 32 connections that stay open. Added latency: one
// connection, one request after the other, less what the same takes without a proxy.
//   npm run bench -- gateway [--json] [--save]
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { text } from 'node:stream/consumers'
import { figureOf, median, report } from '../report.ts'

const rounds = 10
const roundMs = 500
const sequential = 1_000
const children: ChildProcess[] = []
const dir = mkdtempSync(join(tmpdir(), 'fairlead-gateway-'))

try {
  const backends = [await start(1, ['backend', 'v1']), await start(1, ['backend', 'v2'])]
  const gateway = await start(0, ['gateway', ...backends.map(String)])
  const nginx = await startPeer('nginx', nginxArguments, renderNginx(backends, await freePort()))
  const haproxy = await startPeer('haproxy', haproxyArguments, renderHaproxy(backends, await freePort()))
  const ports = [backends[0] ?? 0, gateway, nginx, haproxy]

  const load = node(1, 'http-load.ts', ports.map(String))
  const counts = createInterface({ input: load.stdout ?? process.stdin })[Symbol.asyncIterator]()
  const rate = async (index: number): Promise<number> => {
    load.stdin?.write(`${index} ${roundMs}\n`)
    return (Number((await counts.next()).value) * 1000) / roundMs
  }
  const rates = ports.map((): number[] => [])
  for (const index of ports.keys()) await rate(index)
  for (let round = 0; round < rounds; round++) {
    for (const [index, list] of rates.entries()) list.push(await rate(index))
  }
  const times = ports.map((): number[] => [])
  for (let round = 0; round < rounds; round++) {
    for (const [index, port] of ports.entries()) times[index]?.push(await latencyOf(port, sequential / rounds))
  }
  const added = (index: number): number[] => (times[index] ?? []).map((ms, round) => ms - (times[0]?.[round] ?? 0))
  const [, ours = [], ofNginx = [], ofHaproxy = []] = rates
  const share = await shareOf(gateway, 10_000)
  report('gateway', [
    {
      ...figureOf('requests through the gateway, 32 connections', 'per second', ours),
      peer: { name: 'nginx', value: median(ofNginx) },
    },
    { ...figureOf('the same beside haproxy', 'per second', ours), peer: { name: 'haproxy', value: median(ofHaproxy) } },
    figureOf(
      'gateway to nginx',
      'x',
      ours.map((value, round) => value / (ofNginx[round] ?? Number.NaN)),
    ),
    figureOf(
      'gateway to haproxy',
      'x',
      ours.map((value, round) => value / (ofHaproxy[round] ?? Number.NaN)),
    ),
    { ...figureOf('added latency, one connection', 'ms', added(1)), peer: { name: 'nginx', value: median(added(2)) } },
    {
      ...figureOf('the same beside haproxy, added latency', 'ms', added(1)),
      peer: { name: 'haproxy', value: median(added(3)) },
    },
    // Three standard deviations of 10,000 draws are 90.
    figureOf('answers of 10,000 that differ from 90 to 10', 'answers', [Math.abs(share - 1_000)], { atMost: 90 }),
  ])
} finally {
  for (const child of children) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
}
process.exit(0)

function node(core: number, file: string, args: readonly string[]): ChildProcess {
  const command = [process.execPath, '--conditions=@fairlead/source', '--disable-warning=ExperimentalWarning']
  return launch(core, [...command, join(import.meta.dirname, file), ...args], ['pipe', 'pipe', 'inherit'])
}

function launch(core: number, command: readonly string[], stdio: ('pipe' | 'ignore' | 'inherit')[]): ChildProcess {
  const child = spawn('taskset', ['-c', String(core), ...command], { stdio })
  children.push(child)
  return child
}

async function start(core: number, args: readonly string[]): Promise<number> {
  const child = node(core, 'gateway-instance.ts', args)
  const lines = createInterface({ input: child.stdout ?? process.stdin })[Symbol.asyncIterator]()
  return Number((await lines.next()).value)
}

interface Peer {
  readonly port: number
  readonly config: string
}

/** Starts a proxy of the distribution and waits until it listens. */
async function startPeer(name: string, args: (file: string) => string[], { port, config }: Peer): Promise<number> {
  const file = join(dir, `${name}.conf`)
  writeFileSync(file, config)
  const child = launch(0, [name, ...args(file)], ['ignore', 'ignore', 'inherit'])
  const failed = once(child, 'exit').then(() =>
    Promise.reject(new Error(`Cannot start ${name}: is its package installed?`)),
  )
  failed.catch(() => {})
  while (!(await Promise.race([isListening(port), failed]))) await sleep(20)
  return port
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

function nginxArguments(file: string): string[] {
  return ['-c', file, '-e', join(dir, 'nginx.log')]
}

function haproxyArguments(file: string): string[] {
  return ['-f', file]
}

function renderNginx([first, second]: readonly number[], port: number): Peer {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(dir, name)};`,
  )
  const config = `daemon off; master_process off; pid ${join(dir, 'nginx.pid')}; error_log ${join(dir, 'nginx.log')};
events { worker_connections 1024; }
http {
  access_log off; ${temporary.join(' ')}
  split_clients "$request_id" $version { 90% v1; * v2; }
  upstream v1 { server 127.0.0.1:${first}; keepalive 64; }
  upstream v2 { server 127.0.0.1:${second}; keepalive 64; }
  server {
    listen 127.0.0.1:${port};
    keepalive_requests 100000000;
    location / {
      proxy_pass http://$version;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Request-Id $request_id;
    }
  }
}
`
  return { port, config }
}

function renderHaproxy([first, second]: readonly number[], port: number): Peer {
  const config = `global
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend edge
  bind 127.0.0.1:${port}
  option forwardfor
  unique-id-format %{+X}o%ci%cp%rt%pid
  unique-id-header x-request-id
  default_backend versions
backend versions
  balance roundrobin
  server v1 127.0.0.1:${first} weight 90
  server v2 127.0.0.1:${second} weight 10
`
  return { port, config }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Median time of one request after the other on one connection. */
async function latencyOf(port: number, count: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const times: number[] = []
  for (let index = 0; index < count; index++) {
    const before = performance.now()
    await ask(port, agent)
    if (index > 0) times.push(performance.now() - before)
  }
  agent.destroy()
  return median(times)
}

/** How many of `total` answers came from the second version. */
async function shareOf(port: number, total: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 32 })
  const answers = await Promise.all(Array.from({ length: total }, () => ask(port, agent)))
  agent.destroy()
  return answers.filter((body) => body === 'v2').length
}

async function ask(port: number, agent: Agent): Promise<string> {
  return await new Promise((resolve, reject) => {
    get(
      { host: '127.0.0.1', port, path: '/users/42', agent },
      (response) => void text(response).then(resolve, reject),
    ).once('error', reject)
  })
}
