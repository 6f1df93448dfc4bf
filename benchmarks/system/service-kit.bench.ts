// What the runtime kit costs: CPU of the whole server process per request, memory, import and start, against bare node:http and
// against Fastify with OpenTelemetry, a Prometheus histogram and pino put together by hand. Each contender is checked to do
// the work before it is measured. Rounds are interleaved and the least of each counts, as on a shared machine everything
// else only adds; the kit is bundled, as services are, and started by its launcher, as `fairlead build --launcher` does. What the
// launcher decides for memory others could have as well: they are measured with Node's own flags and with the same one.
//   npm run bench -- service-kit [--json] [--save]
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openCgroup, planResources } from '@fairlead/service/container'
import { rolldown } from 'rolldown'
import { median, report } from '../report.ts'
import type { Figure } from '../report.ts'
import { checkServer, cpuMicroseconds, residentMegabytes, startProgram, startServer } from './service-kit-server.ts'
import type { Contender, MeasuredProcess, Program } from './service-kit-server.ts'

const rounds = process.argv.includes('--quick') ? 5 : 15
const roundMs = 700
const warmUpMs = 3000
const startRounds = 9
const isQuick = rounds < 15
/** What the launcher decides on this machine, for those who are started without it. */
const semiSpace = plannedSemiSpace()

const loadAverage = loadavg()[0] ?? Number.NaN
const programs: Program[] = []
const folder = mkdtempSync(join(tmpdir(), 'fairlead-bench-'))
// The servers have the first core to themselves, all else shares the second.
execFileSync('taskset', ['-acp', '1', String(process.pid)], { stdio: 'ignore' })
try {
  await bundleKit()
  const sink = await startProgram(1, ['--disable-warning=ExperimentalWarning', file('service-kit-sink.ts')])
  programs.push(sink)
  const contenders = createContenders(await sink.next())
  const samples = await measureRequests(contenders, sink)
  const starts = isQuick ? [] : await measureStarts()
  report('service-kit', [...figuresOf(contenders, samples), ...starts, ...(isQuick ? [] : measurePolicies())])
} finally {
  for (const { child } of programs) child.kill()
  rmSync(folder, { recursive: true, force: true })
}

function createContenders(sinkPort: string): readonly Contender[] {
  const otlp = (name: string): Record<string, string> => ({
    OTEL_SERVICE_NAME: name,
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${sinkPort}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
    // So that what belongs to a round is sent before it is over, by everybody alike.
    OTEL_BSP_SCHEDULE_DELAY: '200',
    LOG_LEVEL: 'info',
  })
  const instance = join(folder, 'service-kit-instance.js')
  const kit = [join(folder, 'launch.js'), instance]
  const fastify = file('service-kit-fastify.cjs')
  const bare = join(folder, 'service-kit-bare.js')
  const whole = { isObserved: true, sampled: 1 }
  const silent = { env: {}, spans: 0, isObserved: false, sampled: 0 }
  return [
    { name: 'bare node:http', command: [bare], ...silent },
    { name: `bare node:http, ${semiSpace}`, command: [semiSpace, bare], ...silent },
    { name: 'kit, log silent, no exporter', command: kit, ...silent, env: { LOG_LEVEL: 'silent' } },
    { name: 'kit, everything on', command: kit, env: otlp('kit'), spans: 1, ...whole },
    {
      name: 'kit, everything on, 10 % of traces',
      command: kit,
      env: { ...otlp('kit-tenth'), OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.1' },
      spans: 1,
      isObserved: true,
      sampled: 0.1,
    },
    { name: 'kit, everything on, no launcher', command: [instance], env: otlp('kit-plain'), spans: 1, ...whole },
    { name: 'put together by hand', command: [fastify], env: otlp('hand'), spans: 3, ...whole },
    {
      name: `put together by hand, ${semiSpace}`,
      command: [semiSpace, fastify],
      env: otlp('hand-semi'),
      spans: 3,
      ...whole,
    },
    {
      name: 'by hand, without spans of Fastify',
      command: [fastify, 'http'],
      env: otlp('hand-http'),
      spans: 1,
      ...whole,
    },
  ]
}

interface Samples {
  readonly cpu: number[]
  readonly memory: number[]
  /** Shares of the lines and spans that should have come. */
  lines: number
  spans: number
}

async function measureRequests(contenders: readonly Contender[], sink: Program): Promise<readonly Samples[]> {
  const servers: MeasuredProcess[] = []
  for (const contender of contenders) servers.push(await startServer(contender))
  try {
    for (const server of servers) await checkServer(server, sink, serviceOf(server))
    const ports = servers.map(({ port }) => String(port))
    const load = await startProgram(1, [
      '--disable-warning=ExperimentalWarning',
      file('http-load.ts'),
      '--traced',
      ...ports,
    ])
    programs.push(load)
    const samples = servers.map((): Samples => ({ cpu: [], memory: [], lines: 0, spans: 0 }))
    for (const index of servers.keys()) await measureRound(index, warmUpMs)
    const totals = servers.map(() => 0)
    const before = await Promise.all(servers.map((server) => seen(server)))
    for (let round = 0; round < rounds; round += 1) {
      for (const [index, list] of samples.entries()) {
        const { cpu, memory, count } = await measureRound(index, roundMs)
        list.cpu.push(cpu)
        list.memory.push(memory)
        totals[index] = (totals[index] ?? 0) + count
      }
    }
    for (const [index, server] of servers.entries()) {
      const [list, count, was] = [samples[index], totals[index] ?? 0, before[index]]
      const now = await seen(server)
      if (list === undefined || was === undefined) continue
      list.lines = (now.lines - was.lines) / count
      list.spans = (now.spans - was.spans) / count
    }
    return samples

    async function measureRound(
      index: number,
      ms: number,
    ): Promise<{ readonly cpu: number; readonly memory: number; readonly count: number }> {
      const server = servers[index]
      if (server === undefined) throw new RangeError('There is no such server')
      const [spent, then] = [cpuMicroseconds(server), await seen(server)]
      const count = Number(await load.ask(`${index} ${ms}`))
      const memory = residentMegabytes(server)
      await settle(server, then.spans + count * server.contender.spans * server.contender.sampled)
      return { cpu: (cpuMicroseconds(server) - spent) / count, memory, count }
    }
  } finally {
    for (const { child } of servers) child.kill()
  }

  async function seen(server: MeasuredProcess): Promise<{ readonly lines: number; readonly spans: number }> {
    return { lines: server.log.lines, spans: Number(await sink.ask(`seen ${serviceOf(server)}`)) }
  }

  /** Sending the spans of a round is a part of it: waits until they are there, or no more come. */
  async function settle(server: MeasuredProcess, spans: number): Promise<void> {
    if (server.contender.spans === 0) return
    let last = -1
    for (let tries = 0; tries < 20; tries += 1) {
      const { spans: now } = await seen(server)
      if (now >= spans && server.contender.sampled === 1) return
      if (now === last && tries > 12) return
      last = now
      await sleep(25)
    }
  }
}

function serviceOf({ contender }: MeasuredProcess): string {
  return contender.env['OTEL_SERVICE_NAME'] ?? 'none'
}

function figuresOf(contenders: readonly Contender[], samples: readonly Samples[]): Figure[] {
  const least = (index: number): number => Math.min(...(samples[index]?.cpu ?? []))
  const memory = (index: number): number => median(samples[index]?.memory ?? [])
  const figures: Figure[] = contenders.flatMap(({ name, isObserved, spans }, index) => {
    const { cpu = [], lines = 0, spans: sent = 0 } = samples[index] ?? {}
    return [
      { name: `${name}: CPU per request, least`, unit: 'us', value: Math.min(...cpu), samples: cpu },
      { name: `${name}: CPU per request, median`, unit: 'us', value: median(cpu) },
      { name: `${name}: resident memory under load, median`, unit: 'MB', value: memory(index) },
      ...(isObserved
        ? [
            { name: `${name}: log lines written per request`, unit: '', value: lines },
            { name: `${name}: spans delivered per request, of ${spans}`, unit: '', value: sent },
          ]
        : []),
    ]
  })
  const ratio = (what: 'cpu' | 'memory', name: string, to: string, target?: number): Figure => {
    const [own, other] = [indexOf(name), indexOf(to)]
    const value = what === 'cpu' ? least(own) / least(other) : memory(own) / memory(other)
    const label = `${what === 'cpu' ? '' : 'memory of '}${name}, to ${to}`
    return { name: label, unit: 'x', value, ...(target === undefined ? {} : { target }) }
  }
  const indexOf = (name: string): number => contenders.findIndex((contender) => contender.name === name)
  const [raw, hand] = ['bare node:http', 'put together by hand']
  const kit = 'kit, everything on'
  return [
    { name: 'load average of the machine before the run', unit: '', value: loadAverage },
    ...figures,
    ratio('cpu', 'kit, log silent, no exporter', raw, 1.15),
    ratio('cpu', kit, raw, 2),
    ratio('cpu', `${kit}, 10 % of traces`, raw, 1.6),
    ratio('cpu', `${kit}, no launcher`, raw),
    ratio('cpu', kit, hand, 0.45),
    ratio('cpu', hand, raw),
    ratio('cpu', 'by hand, without spans of Fastify', raw),
    ratio('memory', kit, raw, 1.6),
    ratio('memory', kit, `${raw}, ${semiSpace}`),
    ratio('memory', `${kit}, no launcher`, raw),
    ratio('memory', hand, raw),
    ratio('memory', `${hand}, ${semiSpace}`, raw),
  ]
}

function plannedSemiSpace(): string {
  const decided = planResources(openCgroup().readLimits()).find(({ setting }) => setting === 'max-semi-space-size')
  return `--max-semi-space-size=${decided?.value}`
}

/** Import and start, each in a process of its own; an import is what it adds to an empty process. */
async function measureStarts(): Promise<readonly Figure[]> {
  const empty = join(folder, 'empty.js')
  const programs = {
    empty,
    service: program('@fairlead/service'),
    'node:http': program('node:http'),
  }
  const usage = Object.fromEntries(Object.keys(programs).map((name): [string, Usage[]] => [name, []]))
  const [ready, launched]: [number[], number[]] = [[], []]
  const instance = join(folder, 'service-kit-instance.js')
  for (let round = 0; round < startRounds; round += 1) {
    for (const [name, path] of Object.entries(programs))
      usage[name]?.push(JSON.parse(execFileSync(process.execPath, [path], { encoding: 'utf8' })) as Usage)
    ready.push(await startToReady([instance]))
    launched.push(await startToReady([join(folder, 'launch.js'), instance]))
  }
  const least = (name: string, field: keyof Usage): number =>
    Math.min(...(usage[name] ?? []).map((sample) => sample[field]))
  const added = (name: string, field: keyof Usage): number => least(name, field) - least('empty', field)
  return [
    { name: "import '@fairlead/service': CPU", unit: 'ms', value: added('service', 'cpu'), target: 40 },
    { name: "import '@fairlead/service': memory", unit: 'MB', value: added('service', 'memory'), target: 15 },
    { name: "import 'node:http' alone: CPU", unit: 'ms', value: added('node:http', 'cpu') },
    { name: "import 'node:http' alone: memory", unit: 'MB', value: added('node:http', 'memory') },
    {
      name: 'hello service: process start to ready, least',
      unit: 'ms',
      value: Math.min(...ready),
      target: 120,
      samples: ready,
    },
    {
      name: 'the same by way of the launcher',
      unit: 'ms',
      value: Math.min(...launched),
      target: 120,
      samples: launched,
    },
  ]

  function program(module: string): string {
    return join(folder, `import-${module.replaceAll(/\W/g, '-')}.js`)
  }
}

interface Usage {
  readonly cpu: number
  readonly memory: number
}

/** Until a request to /readyz would be answered 200. */
async function startToReady(command: readonly string[]): Promise<number> {
  const startedAt = performance.now()
  const child = spawn(process.execPath, command, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', LOG_LEVEL: 'info' },
  })
  await once(child.stderr, 'data')
  const elapsed = performance.now() - startedAt
  child.kill('SIGKILL')
  await once(child, 'exit')
  return elapsed
}

/** As a service that is built has it: bundled, with what is loaded late in files of its own. */
async function bundleKit(): Promise<void> {
  const report = `const { user, system } = process.cpuUsage()
console.log(JSON.stringify({ cpu: (user + system) / 1000, memory: process.memoryUsage.rss() / 2 ** 20 }))`
  const sources = {
    empty: report,
    'import--fairlead-service': `import * as kit from '@fairlead/service'\nglobalThis.kit = kit\n${report}`,
    launch: `import { launch } from '@fairlead/service/launch'\nlaunch(process.argv.slice(2))`,
    'import-node-http': `import * as http from 'node:http'\nglobalThis.http = http\n${report}`,
  }
  const input: Record<string, string> = {
    'service-kit-bare': file('service-kit-bare.ts'),
    'service-kit-instance': file('service-kit-instance.ts'),
  }
  for (const [name, source] of Object.entries(sources)) {
    const path = join(folder, `${name}.src.js`)
    writeFileSync(path, source)
    input[name] = path
  }
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  for (const [name, path] of Object.entries(input)) {
    const bundle = await rolldown({
      input: { [name]: path },
      platform: 'node',
      cwd: join(import.meta.dirname, '..', '..'),
      resolve: {
        conditionNames: ['@fairlead/source', 'node', 'import', 'default'],
        alias: {
          '@fairlead/service/launch': join(import.meta.dirname, '../../packages/service/src/launch.ts'),
          '@fairlead/service': join(import.meta.dirname, '../../packages/service/src/index.ts'),
        },
      },
      external: [/^node:/],
      // As in an image: it is started by the line above, not because it is the program.
      plugins: [{ name: 'launch', transform: (code) => code.replaceAll('import.meta.main', 'false') }],
    })
    await bundle.write({ dir: folder, format: 'esm', entryFileNames: '[name].js', chunkFileNames: `${name}-[hash].js` })
    await bundle.close()
  }
}

/** From the benchmark that has them, on the second core as well. */
function measurePolicies(): readonly Figure[] {
  const script = join(import.meta.dirname, '..', 'micro', 'resilience.bench.ts')
  const output = execFileSync(process.execPath, ['--conditions=@fairlead/source', script, '--json'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const { figures } = JSON.parse(output.trimEnd().split('\n').at(-1) ?? '') as { figures: readonly Figure[] }
  return figures
    .filter(({ target }) => target !== undefined)
    .map(({ name, value, unit, target }) => ({
      name: name.replace(/ \(least.*/, ''),
      value,
      unit,
      target: target ?? 0,
    }))
}

function file(name: string): string {
  return join(import.meta.dirname, name)
}
