// CPU of the whole server process per request: the kit's handler and router, without log and metrics, against bare node:http. Servers
// on one core, the client on another, rounds of 60 ms in turn. Each round of the kit is held against the one of bare node:http just
// before it, when the machine was as busy with other things; the figure is the median of those ratios.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { figureOf, report } from '../report.ts'

const rounds = 100
const kinds = ['bare', 'kit'] as const

const servers = await Promise.all(kinds.map((kind) => startProcess(0, 'http-instance.ts', [kind])))
const ports = await Promise.all(servers.map(({ lines }) => nextLine(lines)))
const load = await startProcess(1, 'http-load.ts', ports)

for (const index of servers.keys()) await measure(index, 500)
const samples = servers.map((): number[] => [])
for (let round = 0; round < rounds; round++)
  for (const [index, list] of samples.entries()) list.push(await measure(index, 60))
for (const { child } of [...servers, load]) child.kill()

const [bare = [], kit = []] = samples
const ratios = kit.map((microseconds, round) => microseconds / (bare[round] ?? Number.NaN))
report('http', [
  figureOf('bare node:http, CPU per request', 'us', bare),
  figureOf('kit without log and metrics, CPU per request', 'us', kit),
  figureOf('kit without log and metrics to bare node:http', 'x', ratios, { atMost: 1.15 }),
])

/** Microseconds of CPU per request of a server that is asked for `ms`. */
async function measure(index: number, ms: number): Promise<number> {
  const pid = servers[index]?.child.pid ?? 0
  const before = cpuMicroseconds(pid)
  load.child.stdin?.write(`${index} ${ms}\n`)
  const count = Number(await nextLine(load.lines))
  return (cpuMicroseconds(pid) - before) / count
}

/** Of all threads; proc_pid_stat(5) has hundredths of a second, this has nanoseconds. */
function cpuMicroseconds(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`)
  const spent = threads.map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
  )
  return spent.reduce((sum, nanoseconds) => sum + nanoseconds, 0) / 1000
}

async function startProcess(
  core: number,
  file: string,
  args: readonly string[],
): Promise<{ readonly child: ChildProcess; readonly lines: AsyncIterator<string> }> {
  const node = [process.execPath, '--conditions=@fairlead/source', '--disable-warning=ExperimentalWarning']
  const script = join(import.meta.dirname, file)
  const child = spawn('taskset', ['-c', String(core), ...node, script, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(child, 'spawn')
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() }
}

async function nextLine(lines: AsyncIterator<string>): Promise<string> {
  const { value, done } = await lines.next()
  if (done === true) throw new Error('A process of the benchmark ended early')
  return value
}
