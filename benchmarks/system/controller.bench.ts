// The controller framework against the embedded API server, in two processes over TLS: reconciles with a status write each, and what
// a cached pod takes beside the informer of the Kubernetes client for JavaScript, in the same run.
//   npm run bench -- controller [--json] [--save]
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { figureOf, median, report } from '../report.ts'
import type { ApiAddress } from './api-load.ts'
import type { CacheResult, Mode, ReconcileResult } from './controller-instance.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'fairlead-bench-controller-'))
const flags = ['--conditions=@fairlead/source', '--disable-warning=ExperimentalWarning', '--expose-gc']
const objects = 2000
const pods = 10_000
const rounds = 5

/** Runs a program of ours to its first line of JSON; `close` lets it end. */
async function start(file: string, args: readonly string[]): Promise<{ first: unknown; close: () => Promise<void> }> {
  const child = spawn(process.execPath, [...flags, join(here, file), ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const failed = ended.then((code) => Promise.reject(new Error(`${file} has ended with ${String(code)}`)))
  const line = new Promise<string>((resolve) => createInterface({ input: child.stdout }).once('line', resolve))
  const first = JSON.parse(await Promise.race([line, failed])) as unknown
  failed.catch(() => {})
  return {
    first,
    async close() {
      child.stdin.end()
      await ended
    },
  }
}

async function run(mode: Mode, api: ApiAddress, ...args: readonly number[]): Promise<unknown> {
  const { first, close } = await start('controller-instance.ts', [mode, JSON.stringify(api), ...args.map(String)])
  await close()
  return first
}

try {
  const server = await start('api-server.ts', [scratch, 'strict'])
  const api = server.first as ApiAddress
  const reconciles = (await run('reconcile', api, objects, rounds)) as ReconcileResult
  await run('fill', api, pods)
  const caches: Record<'ours' | 'theirs', CacheResult[]> = { ours: [], theirs: [] }
  for (let round = 0; round < rounds; round += 1) {
    caches.ours.push((await run('cache', api, pods)) as CacheResult)
    caches.theirs.push((await run('peer-cache', api, pods)) as CacheResult)
  }
  await server.close()
  const pick = (side: 'ours' | 'theirs', figure: keyof CacheResult): number[] => caches[side].map((one) => one[figure])
  const peer = (figure: keyof CacheResult) => {
    return { peer: { name: '@kubernetes/client-node', value: median(pick('theirs', figure)) } }
  }
  report('controller', [
    figureOf('reconciles with a durable status write each', '/s', reconciles.perSecond, { atLeast: 2000 }),
    {
      ...figureOf('heap per cached pod of 4 kB', 'B', pick('ours', 'bytesPerPod'), { atMost: 3000 }),
      ...peer('bytesPerPod'),
    },
    { ...figureOf('10,000 pods into the cache', 'ms', pick('ours', 'syncMs')), ...peer('syncMs') },
    {
      ...figureOf('resident memory with 10,000 pods, before a collection', 'MiB', pick('ours', 'residentMiB')),
      ...peer('residentMiB'),
    },
  ])
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
