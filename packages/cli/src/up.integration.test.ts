// `fairlead up` from source to a running service on the embedded cluster, and the ways in which it may fail.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const launcher = fileURLToPath(new URL('../bin/fairlead.mjs', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'fairlead-up-'))
const home = join(scratch, 'home')
const isSupported = process.platform === 'linux'
if (!isSupported && process.env['CI'] === 'true') throw new Error('In CI nothing may be skipped: needs Linux')
const skip = isSupported ? false : 'the images are for Linux'

interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Sees what the CLI has written so far and may send it a signal. */
type Watcher = (text: string, pid: number) => void

function interrupt(_: string, pid: number): void {
  process.kill(pid, 'SIGINT')
}

async function fairlead(
  args: readonly string[],
  { onStdout, onStderr }: { onStdout?: Watcher; onStderr?: Watcher } = {},
): Promise<Finished> {
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env
  const child = spawn(process.execPath, [launcher, ...args], {
    env: { ...inherited, FAIRLEAD_HOME: home },
    timeout: 600_000,
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    onStdout?.(stdout, child.pid ?? 0)
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
    onStderr?.(stderr, child.pid ?? 0)
  })
  await once(child, 'close')
  return { code: child.exitCode, stdout, stderr }
}

async function ok(...args: string[]): Promise<Finished> {
  const finished = await fairlead(args)
  assert.equal(finished.code, 0, `fairlead ${args.join(' ')}\n${finished.stderr}${finished.stdout}`)
  return finished
}

/** A connection of its own: one kept from before may end with the pod of the version before. */
async function read(url: string): Promise<string> {
  const response = await fetch(url, { headers: { connection: 'close' }, signal: AbortSignal.timeout(30_000) })
  return await response.text()
}

async function clusterState(): Promise<string> {
  return JSON.parse((await fairlead(['cluster', 'status', '--json'])).stdout).state
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address ? address.port : assert.fail('no port')
}

/** An app of one service without dependencies. */
function writeApp(name: string, source: string, definition: object): string {
  const dir = join(scratch, name)
  mkdirSync(dir, { recursive: true })
  const manifest = { name, version: '1.0.0', main: 'main.js' }
  const lock = { ...manifest, lockfileVersion: 3, requires: true, packages: { '': manifest } }
  writeFileSync(join(dir, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(dir, 'package-lock.json'), JSON.stringify(lock))
  writeFileSync(join(dir, 'main.js'), source)
  writeFileSync(
    join(dir, 'fairlead.config.json'),
    JSON.stringify({ name, services: { [name]: { dir: '.', ...definition } } }),
  )
  return dir
}

// The first process of a container gets no signal it does not ask for.
const neverReady = `setInterval(() => {}, 1000)
process.on('SIGTERM', () => process.exit())
`

function server(answer: string): string {
  return `const server = require('node:http').createServer((request, response) => response.end('${answer}'))
server.listen(process.env.PORT, () => console.log('listening, says ${answer}'))
process.on('SIGTERM', () => { server.close(); server.closeAllConnections() })
`
}

const crashing = `console.error('cannot reach database db.internal:5432')\nprocess.exit(7)\n`

describe('fairlead up', { skip }, () => {
  after(async () => {
    await ok('down', '--purge')
    rmSync(scratch, { recursive: true, force: true })
  })

  it('stops a cluster it started when the service crashes on start, and shows its last words', async () => {
    const dir = writeApp('crasher', crashing, {})
    const { code, stdout, stderr } = await fairlead(['up', dir])
    assert.equal(code, 1)
    assert.equal(stdout, '')
    assert.match(stderr, /error: Cannot start "crasher": crashed \d times, last with exit code 7\n/)
    assert.match(stderr, /\| cannot reach database db\.internal:5432\n/)
    assert.match(stderr, /hint: Correct the program/)
    assert.equal(await clusterState(), 'stopped')
    await ok('cluster', 'reset')
  })

  it('leaves nothing running when it is interrupted', async () => {
    const dir = writeApp('patient', neverReady, {})
    let isInterrupted = false
    const { code } = await fairlead(['up', dir], {
      onStderr(text, pid) {
        if (isInterrupted || !text.includes('waiting for its readiness probe')) return
        isInterrupted = true
        interrupt(text, pid)
      },
    })
    assert.equal(code, 130)
    assert.equal(await clusterState(), 'stopped')
    await ok('cluster', 'reset')
  })

  it('does not wait for a cluster that another command stops', async () => {
    const dir = writeApp('patient', neverReady, {})
    let stopped: Promise<unknown> | undefined
    const { code, stderr } = await fairlead(['up', dir], {
      onStderr(text) {
        if (text.includes('waiting for its readiness probe')) stopped ??= ok('down')
      },
    })
    assert.equal(code, 1)
    assert.match(stderr, /error: Cannot go on with cluster "embedded": its process ended meanwhile/)
    assert.match(stderr, /nothing is left running/)
    await stopped
    await ok('cluster', 'reset')
  })

  it('brings a service up, changes it, and says when nothing changed', async () => {
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const dir = writeApp('hello', server('one'), { public: port })
    const first = await ok('up', dir)
    assert.equal(first.stdout, `hello  ${url}\n`)
    assert.equal(await read(url), 'one')
    const again = await ok('up', dir)
    assert.match(again.stderr, /hello is up, nothing changed/)
    writeApp('hello', server('two'), { public: port })
    const { changed, services } = JSON.parse((await ok('up', dir, '--json')).stdout)
    assert.deepEqual([changed, services[0].url], [true, url])
    assert.equal(await read(url), 'two')
  })

  it('keeps a cluster that ran before when it is interrupted, and says that what was applied stays', async () => {
    const dir = writeApp('patient', neverReady, {})
    let isInterrupted = false
    const { code, stderr } = await fairlead(['up', dir], {
      onStderr(text, pid) {
        if (isInterrupted || !text.includes('waiting for its readiness probe')) return
        isInterrupted = true
        interrupt(text, pid)
      },
    })
    assert.equal(code, 130)
    assert.match(stderr, /what was applied stays on the cluster\n.*fairlead status patient\ninterrupted\n$/)
    assert.equal(await clusterState(), 'running')
  })

  it('shows status and logs of what runs', async () => {
    const [service] = JSON.parse((await ok('status', 'hello', '--json')).stdout)
    assert.deepEqual([service.readyReplicas, service.replicas, service.restarts], [1, 1, 0])
    assert.match((await ok('status')).stdout, /^APP +SERVICE +READY .*\nhello +hello +1\/1 +0 /)
    assert.match((await ok('logs', 'hello')).stdout, /^hello\/\w+ \| listening, says two$/m)
    const unknown = await fairlead(['status', 'nobody'])
    assert.equal(unknown.code, 1)
    assert.match(unknown.stderr, /no app of this name was delivered/)
  })

  it('follows logs until it is interrupted', async () => {
    const { code, stdout, stderr } = await fairlead(['logs', 'hello', '-f'], { onStdout: interrupt })
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, /listening, says two/)
  })

  it('keeps a cluster that ran before, and the old version serving, when the new one crashes', async () => {
    const port = Number(new URL(JSON.parse((await ok('status', 'hello', '--json')).stdout)[0].url).port)
    const dir = writeApp('hello', crashing, { public: port })
    const { code, stderr } = await fairlead(['up', dir])
    assert.equal(code, 1)
    assert.match(stderr, /exit code 7/)
    assert.equal(await clusterState(), 'running')
    assert.equal(await read(`http://127.0.0.1:${port}`), 'two')
  })

  it('takes over after its process was killed, and stops what it left', async () => {
    const file = join(home, 'clusters', 'default', 'process.json')
    process.kill(JSON.parse(readFileSync(file, 'utf8')).pid, 'SIGKILL')
    await ok('down')
    assert.equal(existsSync(file), false)
    assert.equal(await clusterState(), 'stopped')
  })
})
