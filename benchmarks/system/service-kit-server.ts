// A server of the service-kit benchmark as its driver sees it: a process on the first core that is asked, watched and measured.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { createInterface } from 'node:readline'

/** Lines of a process of the benchmark, asked for one at a time. */
export interface Program {
  readonly child: ChildProcess
  ask(line: string): Promise<string>
  next(): Promise<string>
}

export interface Contender {
  readonly name: string
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** How many spans a request has, of those that are sampled. */
  readonly spans: number
  /** Whether a request has a line in the log and counts in a histogram. */
  readonly isObserved: boolean
  readonly sampled: number
}

export interface MeasuredProcess {
  readonly contender: Contender
  readonly child: ChildProcess
  readonly port: number
  /** Lines of the log so far, and the last one. */
  readonly log: { lines: number; last: string }
}

export async function startProgram(core: number, command: readonly string[]): Promise<Program> {
  const child = spawn('taskset', ['-c', String(core), process.execPath, ...command], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await once(child, 'spawn')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next()
    if (done === true) throw new Error('A process of the benchmark ended early')
    return value
  }
  return {
    child,
    next,
    async ask(line) {
      child.stdin.write(`${line}\n`)
      return await next()
    },
  }
}

export async function startServer(contender: Contender): Promise<MeasuredProcess> {
  const child = spawn('taskset', ['-c', '0', process.execPath, ...contender.command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', ...contender.env },
  })
  const log = { lines: 0, last: '' }
  child.stdout.on('data', (data: Buffer) => {
    for (const byte of data) if (byte === 10) log.lines += 1
    log.last = data.toString()
  })
  for await (const line of createInterface({ input: child.stderr })) {
    if (/^\d+$/.test(line)) return { contender, child, port: Number(line), log }
    console.error(line)
  }
  throw new Error(`${contender.name} did not start`)
}

/** Of all threads; proc_pid_stat(5) has hundredths of a second, this has nanoseconds. */
export function cpuMicroseconds({ child }: MeasuredProcess): number {
  const threads = readdirSync(`/proc/${child.pid}/task`)
  const spent = threads.map((thread) =>
    Number(readFileSync(`/proc/${child.pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
  )
  return spent.reduce((sum, nanoseconds) => sum + nanoseconds, 0) / 1000
}

export function residentMegabytes({ child }: MeasuredProcess): number {
  return Number(/VmRSS:\s*(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024
}

/**
 * Fails unless the server does what is measured: it answers, and where it is observed a request leaves a line with its trace id,
 * a count in the histogram, and spans that continue the caller's trace.
 */
export async function checkServer(server: MeasuredProcess, sink: Program, service: string): Promise<void> {
  const { contender, port, log } = server
  const url = `http://127.0.0.1:${port}`
  const traceId = 'fffffffffffffffffffffffffffffff1'
  const parentId = '00000000000000a1'
  const response = await fetch(`${url}/users/42`, { headers: { traceparent: `00-${traceId}-${parentId}-01` } })
  const body = await response.text()
  expect(contender, 'answer', body === '{"id":"42","name":"Ada","roles":["admin","user"]}')
  if (!contender.isObserved) {
    expect(contender, 'silence', log.lines === 0)
    return
  }
  await until(
    contender,
    () => 'log line with the trace id',
    () => log.last.includes(traceId),
  )
  const metrics = await (await fetch(`${url}/metrics`)).text()
  const pattern = /^http_request_duration_seconds_count\{[^}]*route="\/users\/:id"[^}]*\} 1$/m
  expect(contender, 'histogram', pattern.test(metrics))
  expect(contender, 'health', (await fetch(`${url}/livez`)).ok)
  let seen = ''
  const hasSpans = async (): Promise<boolean> => {
    seen = await sink.ask(`last ${service}`)
    const spans = JSON.parse(seen) as { traceId: string; parentSpanId?: string }[]
    const own = spans.filter((span) => span.traceId === traceId)
    return own.length === contender.spans && own.some((span) => span.parentSpanId === parentId)
  }
  await until(contender, () => `${contender.spans} spans, ${seen}`, hasSpans)
}

function expect({ name }: Contender, what: string, isTrue: boolean): void {
  if (!isTrue) throw new Error(`${name} does not do what is measured: ${what}`)
}

async function until(
  contender: Contender,
  what: () => string,
  isTrue: () => boolean | Promise<boolean>,
): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    if (await isTrue()) return
    await sleep(20)
  }
  expect(contender, what(), false)
}
