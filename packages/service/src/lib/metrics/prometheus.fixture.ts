import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/** A Prometheus of its own, with an empty store. `await using` ends it and removes the store. */
export interface Prometheus extends AsyncDisposable {
  /** The result of an instant query, asked for until there is one that `isDone` accepts. */
  query(expression: string, isDone?: (result: QueryResult) => boolean): Promise<QueryResult>
  /** `GET /api/v1/...`, the `data` of the answer. */
  get(path: string): Promise<unknown>
}

export type QueryResult = readonly {
  readonly metric: Readonly<Record<string, string>>
  readonly value?: readonly [time: number, value: string]
}[]

export function hasPrometheus(): boolean {
  return spawnSync('prometheus', ['--version']).status === 0 && spawnSync('promtool', ['--version']).status === 0
}

/** Starts Prometheus, which scrapes each target (host and port) once a second. */
export async function startPrometheus(
  targets: string | readonly string[],
  features: readonly string[] = [],
): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-prometheus-'))
  const config = join(folder, 'prometheus.yml')
  writeFileSync(
    config,
    `global: { scrape_interval: 1s, scrape_timeout: 1s }\nscrape_configs:\n- job_name: kit\n  static_configs: [{ targets: ${JSON.stringify([targets].flat())} }]\n`,
  )
  const child = spawn(
    'prometheus',
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      '--web.listen-address=127.0.0.1:0',
      ...(features.length === 0 ? [] : [`--enable-feature=${features.join(',')}`]),
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const exited = once(child, 'exit')
  const address = await readAddress(child.stderr)
  const until = performance.now() + 60_000
  while (!(await fetch(`http://${address}/-/ready`, { signal: AbortSignal.timeout(30_000) })).ok) {
    if (performance.now() > until) throw new Error('Prometheus did not become ready')
    await sleep(50)
  }
  const get = async (path: string): Promise<unknown> => {
    const response = await fetch(`http://${address}/api/v1/${path}`, { signal: AbortSignal.timeout(30_000) })
    const answer = (await response.json()) as { status: string; data?: unknown; error?: string }
    if (answer.status !== 'success') throw new Error(`Prometheus answers ${path} with ${answer.error}`)
    return answer.data
  }
  return {
    get,
    async query(expression, isDone = (result) => result.length > 0) {
      const until = performance.now() + 60_000
      for (;;) {
        const { result } = (await get(`query?query=${encodeURIComponent(expression)}`)) as { result: QueryResult }
        if (isDone(result)) return result
        if (performance.now() > until) throw new Error(`${expression} is still ${JSON.stringify(result)}`)
        await sleep(100)
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
      rmSync(folder, { recursive: true })
    },
  }
}

/** It takes any free port and tells which in its log. */
async function readAddress(log: NodeJS.ReadableStream): Promise<string> {
  const lines: string[] = []
  const reader = createInterface({ input: log })
  return new Promise((resolve, reject) => {
    reader.on('line', (line) => {
      lines.push(line)
      const found = /Listening on.*address=(127\.0\.0\.1:\d+)/.exec(line)?.[1]
      if (found !== undefined && !found.endsWith(':0')) resolve(found)
    })
    reader.on('close', () => reject(new Error(`Prometheus ended: ${lines.slice(-5).join('\n')}`)))
  })
}
