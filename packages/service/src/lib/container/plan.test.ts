import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { CgroupLimits } from './cgroup.ts'
import { planLaunch } from './launch-plan.ts'
import { planResources } from './plan.ts'

const mebibyte = 2 ** 20
const machine = { cpus: 8, memoryBytes: 32 * 1024 * mebibyte }
const unlimited: CgroupLimits = {
  version: 2,
  cpuCores: undefined,
  cpusetCount: undefined,
  memoryBytes: undefined,
  memoryHighBytes: undefined,
  swapBytes: undefined,
  pids: undefined,
}

function plan(limits: Partial<CgroupLimits>): Record<string, number | undefined> {
  const decisions = planResources({ ...unlimited, ...limits }, machine)
  for (const { reason } of decisions) assert.match(reason, /\w \w/)
  return Object.fromEntries(decisions.map(({ setting, value }) => [setting, value]))
}

describe('planResources', () => {
  const sizes: readonly [limit: number, old: number, semi: number][] = [
    [64, 24, 2],
    [128, 68, 4],
    [256, 168, 8],
    [512, 336, 16],
    [1024, 672, 32],
    [4096, 2976, 32],
    [8192, 7072, 32],
  ]
  for (const [limit, old, semi] of sizes) {
    it(`gives ${old} MiB of ${limit} to the old generation`, () => {
      const decided = plan({ memoryBytes: limit * mebibyte })
      assert.deepEqual([decided['max-old-space-size'], decided['max-semi-space-size']], [old, semi])
    })
  }

  it('goes by memory.high where that is lower, because the kernel stalls the process there', () => {
    assert.equal(plan({ memoryBytes: 1024 * mebibyte, memoryHighBytes: 512 * mebibyte })['max-old-space-size'], 336)
  })

  for (const memoryBytes of [undefined, 64 * 1024 * mebibyte]) {
    it(`leaves the heap alone and bounds its young part where the limit is ${memoryBytes ?? 'not set'}`, () => {
      const decided = plan({ memoryBytes })
      assert.equal(decided['max-old-space-size'], undefined)
      assert.equal(decided['max-semi-space-size'], 16)
    })
  }

  const cpus: readonly [limits: Partial<CgroupLimits>, threads: number | undefined, workers: number][] = [
    [{ cpuCores: 0.25 }, undefined, 1],
    [{ cpuCores: 2.9 }, 6, 2],
    [{ cpusetCount: 3, cpuCores: 6 }, 6, 3],
    [{}, 16, 8],
  ]
  for (const [limits, threads, workers] of cpus) {
    it(`plans ${workers} workers for ${JSON.stringify(limits)}`, () => {
      const decided = plan(limits)
      assert.deepEqual([decided['UV_THREADPOOL_SIZE'], decided['workers']], [threads, workers])
    })
  }
})

describe('planLaunch', () => {
  const decisions = planResources({ ...unlimited, memoryBytes: 512 * mebibyte, cpuCores: 4 }, machine)

  it('turns decisions into arguments and variables', () => {
    const { nodeArguments, variables } = planLaunch(decisions, [], {})
    assert.deepEqual(nodeArguments, [
      '--max-old-space-size=336',
      '--max-semi-space-size=16',
      '--report-on-fatalerror',
      '--report-compact',
      '--report-exclude-env',
      '--report-exclude-network',
      '--report-filename=stderr',
    ])
    assert.deepEqual(variables, { UV_THREADPOOL_SIZE: '8', WEB_CONCURRENCY: '4' })
  })

  const given: readonly { readonly name: string; readonly args: string[]; readonly env: Record<string, string> }[] = [
    { name: 'an argument', args: ['--max_old_space_size=100'], env: {} },
    { name: 'NODE_OPTIONS', args: [], env: { NODE_OPTIONS: '--enable-source-maps --max-old-space-size=100' } },
    { name: 'a percentage', args: ['--max-old-space-size-percentage=75'], env: {} },
  ]
  for (const { name, args, env } of given) {
    it(`keeps what ${name} says about the heap`, () => {
      const { nodeArguments, lines } = planLaunch(decisions, args, env)
      assert.ok(!nodeArguments.some((argument) => argument.startsWith('--max-old-space-size')))
      assert.ok(nodeArguments.includes('--max-semi-space-size=16'))
      assert.equal(lines.find(({ setting }) => setting === 'max-old-space-size')?.value, 'as given')
    })
  }

  it('keeps the numbers of threads and workers and the reports that are set', () => {
    const env = { UV_THREADPOOL_SIZE: '5', WEB_CONCURRENCY: '1' }
    const { nodeArguments, variables } = planLaunch(decisions, ['--report-on-fatalerror'], env)
    assert.deepEqual(variables, {})
    assert.ok(!nodeArguments.some((argument) => argument.startsWith('--report')))
  })

  it('writes the report into the folder that is named, to one file', () => {
    const { nodeArguments } = planLaunch([], [], { FAIRLEAD_REPORT_DIRECTORY: '/reports' })
    assert.deepEqual(nodeArguments.slice(-2), ['--report-directory=/reports', '--report-filename=report.json'])
  })
})
