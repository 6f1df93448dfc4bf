// Real processes in real memory cgroups: who is stopped by V8, with a report, and who by the kernel, without a word.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openCgroup } from './cgroup.ts'
import { createMemoryGroup } from './memory-group.fixture.ts'
import type { MemoryGroup } from './memory-group.fixture.ts'

const mebibyte = 2 ** 20
const scratch = mkdtempSync(join(tmpdir(), 'fairlead-launch-'))
after(() => rmSync(scratch, { recursive: true }))
const launcher = [
  process.execPath,
  '--conditions=@fairlead/source',
  fileURLToPath(new URL('../../launch.ts', import.meta.url)),
]

const watch = new URL('watch.ts', import.meta.url).href
const logger = new URL('../log/logger.ts', import.meta.url).href

/** A listening server that keeps every object it makes, a few thousand per turn. */
const leak = program(
  'leak.cjs',
  `const kept = []
   require('node:http').createServer(() => {}).listen(0, '127.0.0.1')
   const turn = () => { for (let i = 0; i < 2000; i++) kept.push({ i, text: 'item ' + kept.length, list: [i] }); setImmediate(turn) }
   turn()`,
)
const keepBuffers = program(
  'keep-buffers.cjs',
  `const kept = []
   const turn = () => { kept.push(Buffer.alloc(1024 * 1024, 1)); setImmediate(turn) }
   turn()`,
)
/** Never more than 16 MiB alive, 2 GiB in all. */
const dropBuffers = program(
  'drop-buffers.cjs',
  `let kept = []
   let turns = 0
   const turn = () => {
     for (let i = 0; i < 8; i++) kept.push(Buffer.alloc(1024 * 1024, 1))
     if (kept.length >= 16) kept = []
     if (++turns < 250) setImmediate(turn)
   }
   turn()`,
)
const show = program(
  'show.cjs',
  `if (process.argv[2] === 'wait') { process.once('SIGTERM', () => process.exit(5)); setInterval(() => {}, 1000) }
   console.log(JSON.stringify({ pid: process.pid, execArgv: process.execArgv, arguments: process.argv.slice(2),
     threads: process.env.UV_THREADPOOL_SIZE }))
   if (process.argv[2] === 'exit') process.exit(7)`,
)

const probe = process.platform === 'linux' ? createMemoryGroup(256 * mebibyte) : 'this is not Linux'
const skip = typeof probe === 'string' && probe
if (typeof probe !== 'string') await probe[Symbol.asyncDispose]()

describe('a service that leaks objects under the launcher', { skip }, () => {
  for (const limit of [128, 256, 512]) {
    it(`is ended by V8, with a report, at ${limit} MiB`, async () => {
      await using group = groupOf(limit)
      const { signal, code, stdout, stderr } = await group.run([...launcher, leak])
      assert.deepEqual({ signal, code, oomKills: group.oomKills }, { signal: 'SIGABRT', code: null, oomKills: 0 })
      assert.ok(group.peakBytes < limit * mebibyte, `${group.peakBytes} bytes at the peak`)
      assert.match(stdout, /"setting":"max-old-space-size","value":\d+,"reason":"\d+ MiB limit less/)
      const report = lastReport(stderr)
      assert.match(report.header.event, /heap/)
      assert.equal(report.environmentVariables, undefined)
      assert.match(stderr, /FATAL ERROR: .*JavaScript heap out of memory/)
      assert.ok(stderr.length < 100_000, `${stderr.length} characters`)
    })
  }

  it('is killed by the kernel without a word at 128 MiB without the launcher', async () => {
    await using group = groupOf(128)
    const { signal, stderr } = await group.run([process.execPath, leak])
    assert.deepEqual({ signal, stderr, oomKills: group.oomKills }, { signal: 'SIGKILL', stderr: '', oomKills: 1 })
  })

  it('leaves its report in the folder that is named', async () => {
    await using group = groupOf(128)
    const folder = mkdtempSync(join(scratch, 'reports-'))
    await group.run([...launcher, leak], { FAIRLEAD_REPORT_DIRECTORY: folder })
    assert.deepEqual(readdirSync(folder), ['report.json'])
    assert.match(lastReport(readFileSync(join(folder, 'report.json'), 'utf8')).header.event, /heap/)
  })

  it('gets a last log line where the launcher stays as its parent', async () => {
    await using group = groupOf(256)
    const { code, stdout } = await group.run([...launcher, leak], { FAIRLEAD_LAUNCH: 'spawn' })
    const last = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, unknown>
    assert.deepEqual([code, last['level'], last['exit_code']], [134, 'fatal', 134])
  })
})

describe('a service that uses Buffers under the launcher', { skip }, () => {
  it('stays within 128 MiB where it drops them', async () => {
    await using group = groupOf(128)
    const { code, signal } = await group.run([...launcher, dropBuffers])
    assert.deepEqual({ code, signal, oomKills: group.oomKills }, { code: 0, signal: null, oomKills: 0 })
  })

  it('is killed by the kernel where it keeps them: V8 does not count them', async () => {
    await using group = groupOf(128)
    const { signal } = await group.run([...launcher, keepBuffers])
    assert.deepEqual({ signal, oomKills: group.oomKills }, { signal: 'SIGKILL', oomKills: 1 })
  })

  it('says so first where watchLimits looks on', async () => {
    await using group = groupOf(256)
    const slow = program(
      'watched.mjs',
      `import { createLogger } from ${JSON.stringify(logger)}
       import { watchLimits } from ${JSON.stringify(watch)}
       watchLimits({ log: createLogger({ format: 'json' }) })
       const kept = []
       setInterval(() => kept.push(Buffer.alloc(1024 * 1024, 1)), 5)`,
    )
    const { signal, stdout } = await group.run([...launcher, slow])
    assert.equal(signal, 'SIGKILL')
    const line = stdout.split('\n').find((text) => text.includes('memory nearly full')) ?? '{}'
    const { array_buffers_bytes: buffers, heap_used_bytes: heap } = JSON.parse(line) as Record<string, number>
    assert.ok(Number(buffers) > Number(heap), line)
  })
})

describe('watchLimits', { skip }, () => {
  it('tells when a pod is resized in place', async () => {
    await using group = groupOf(256)
    const resized = program(
      'resized.mjs',
      `import { writeFileSync } from 'node:fs'
       import { createLogger } from ${JSON.stringify(logger)}
       import { watchLimits } from ${JSON.stringify(watch)}
       const log = createLogger({ format: 'json' })
       watchLimits({ log, intervalMs: 20, onChange: () => process.exit(0) })
       setInterval(() => {}, 1000)
       writeFileSync(${JSON.stringify(group.limitFile)}, String(200 * 2 ** 20))`,
    )
    const { code, stdout } = await group.run([...launcher, resized])
    assert.equal(code, 0)
    const line = JSON.parse(stdout.split('\n').find((text) => text.includes('limits changed')) ?? '{}') as object
    assert.partialDeepStrictEqual(line, {
      level: 'warn',
      memory_limit_bytes: 200 * mebibyte,
      memory_limit_bytes_before: 256 * mebibyte,
    })
  })
})

describe('the launcher', { skip: process.platform === 'win32' && 'there is no execve' }, () => {
  it('becomes the program: same process, arguments and exit code handed on', async () => {
    const child = spawn(launcher[0] ?? '', [...launcher.slice(1), '--enable-source-maps', show, 'exit', '--flag'], {
      env: { ...process.env, LOG_LEVEL: 'error' },
    })
    const chunks: string[] = []
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk))
    const stderr: string[] = []
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => stderr.push(chunk))
    const [code] = (await once(child, 'close')) as [number]
    const shown = JSON.parse(chunks.join('')) as { pid: number; execArgv: string[]; arguments: string[] }
    assert.deepEqual([code, shown.pid, shown.arguments, stderr], [7, child.pid, ['exit', '--flag'], []])
    assert.ok(shown.execArgv.includes('--enable-source-maps'))
  })

  it('bounds the young generation where there is no limit, and says why', { skip: hasLimit() }, () => {
    const [node = '', ...rest] = launcher
    const { stdout } = spawnSync(node, [...rest, show], { encoding: 'utf8', env: { PATH: process.env['PATH'] } })
    assert.match(stdout, /"setting":"max-semi-space-size","value":16,"reason":"no memory limit is set/)
    const shown = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { execArgv: string[] }
    assert.ok(shown.execArgv.includes('--max-semi-space-size=16'))
  })

  it('hands signals to the program where it stays as its parent', async () => {
    const env = { ...process.env, LOG_LEVEL: 'error', FAIRLEAD_LAUNCH: 'spawn' }
    const child = spawn(launcher[0] ?? '', [...launcher.slice(1), show, 'wait'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    child.kill('SIGTERM')
    assert.deepEqual(await once(child, 'close'), [5, null])
  })

  it('plans once when it is asked to launch itself', () => {
    const [node = '', ...rest] = launcher
    const { stdout } = spawnSync(node, [...rest, ...rest.slice(1), show], { encoding: 'utf8' })
    assert.equal(stdout.split('\n').filter((line) => line.includes('"setting":"workers"')).length, 1)
  })

  it('plans nothing with FAIRLEAD_LAUNCH=off', () => {
    const [node = '', ...rest] = launcher
    const env = { ...process.env, FAIRLEAD_LAUNCH: 'off' }
    const { stdout } = spawnSync(node, [...rest, show], { encoding: 'utf8', env })
    assert.equal(stdout.trim().split('\n').length, 1)
  })

  it('refuses a mode there is not', () => {
    const [node = '', ...rest] = launcher
    const env = { ...process.env, FAIRLEAD_LAUNCH: 'fork' }
    const { status, stderr } = spawnSync(node, [...rest, show], { encoding: 'utf8', env })
    assert.equal(status, 2)
    assert.match(stderr, /show\.cjs": FAIRLEAD_LAUNCH is "fork", expected exec, spawn or off\n/)
  })

  it('refuses to run without a program', () => {
    const [node = '', ...rest] = launcher
    const { status, stderr } = spawnSync(node, rest, { encoding: 'utf8' })
    assert.equal(status, 2)
    assert.match(stderr, /^Cannot launch "": no program is given\n {2}Write: .*\n {2}FAIRLEAD_SERVICE_LAUNCH\n$/)
  })
})

/** Whoever runs the tests in a container of their own has one. */
function hasLimit(): false | string {
  const { memoryBytes, memoryHighBytes } = openCgroup().readLimits()
  return (memoryBytes ?? memoryHighBytes) !== undefined && 'this process has a memory limit'
}

function groupOf(limitMebibytes: number): MemoryGroup {
  const group = createMemoryGroup(limitMebibytes * mebibyte)
  if (typeof group === 'string') throw new Error(group)
  return group
}

function program(name: string, code: string): string {
  const file = join(scratch, name)
  writeFileSync(file, code)
  return file
}

/** The one line of JSON among what Node and V8 write when they give up. */
function lastReport(text: string): { header: { event: string }; environmentVariables?: unknown } {
  const line = text.split('\n').findLast((candidate) => candidate.startsWith('{"header"')) ?? '{}'
  return JSON.parse(line) as ReturnType<typeof lastReport>
}
