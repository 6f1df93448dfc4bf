// What `fairlead init` writes is a service: its tests pass, its types hold, its image builds and runs.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const repository = fileURLToPath(new URL('../../..', import.meta.url))
const launcher = join(repository, 'packages', 'cli', 'bin', 'fairlead.mjs')

interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

describe('fairlead init', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'fairlead-init-'))
  // A workspace of a repository like ours, so that everything is found without a registry.
  const dir = join(scratch, 'my-notes')
  let hasLock = false

  before(async () => {
    const written = await run(process.execPath, [launcher, 'init', dir], scratch)
    assert.equal(written.code, 0, written.stderr)
    symlinkSync(join(repository, 'node_modules'), join(scratch, 'node_modules'))
    mkdirSync(join(dir, 'node_modules'))
  })
  after(() => rmSync(scratch, { recursive: true }))

  it('writes tests that pass', async () => {
    const { scripts } = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'))
    const { code, stdout, stderr } = await run('sh', ['-c', scripts.test], dir)
    assert.equal(code, 0, stdout + stderr)
    assert.match(stdout, /^(ℹ|#) pass 7$/m)
  })

  it('writes types that hold', async () => {
    const { code, stdout } = await run(join(repository, 'node_modules', '.bin', 'tsc'), ['-p', '.'], dir)
    assert.deepEqual([code, stdout], [0, ''])
  })

  it('writes a configuration that is valid, and says where each value is from', async () => {
    const { code, stdout, stderr } = await run(process.execPath, [launcher, 'config', 'check', '--explain'], dir)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /greeting .*Hello from the cluster +file \/etc\/config\/greeting/)
  })

  it('writes a service that starts, answers, and stops on SIGTERM', async () => {
    const env = { ...process.env, PORT: '0', HOST: '127.0.0.1', LOG_FORMAT: 'json', MY_NOTES_GREETING: 'Ahoy' }
    const child = spawn(process.execPath, ['--conditions=@fairlead/source', 'src/main.ts'], { cwd: dir, env })
    let output = ''
    const { promise: ready, resolve, reject } = Promise.withResolvers<string>()
    child.stdout.on('data', (chunk) => {
      output += String(chunk)
      const url = /"url":"([^"]+)"/.exec(output)?.[1]
      if (url !== undefined) resolve(url)
    })
    child.once('exit', (code) => reject(new Error(`it ended with ${code}: ${output}`)))
    const response = await fetch(await ready)
    assert.deepEqual(await response.json(), { greeting: 'Ahoy' })
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit')
    assert.equal(code, 0, output)
  })

  it('writes an app that builds to an image', async (context) => {
    // npm would write these; the image is made of what is locked.
    const lock = await run(
      'npm',
      ['install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund'],
      dir,
    )
    hasLock = lock.code === 0
    if (!hasLock) return context.skip(`npm cannot lock the packages here: ${lock.stderr.slice(-200)}`)
    writeLinks(dir)
    const built = await run(process.execPath, [launcher, 'build', dir, '--json'], scratch, {
      FAIRLEAD_HOME: join(scratch, 'home'),
    })
    assert.equal(built.code, 0, built.stderr)
    const [image] = JSON.parse(built.stdout).images
    assert.match(image.reference, /^localhost\/my-notes\/my-notes:/)
  })

  it('writes an app that runs on the embedded cluster, and follows its ConfigMap there', async (context) => {
    if (!hasLock) return context.skip('the packages could not be locked')
    const port = await freePort()
    const config = join(dir, 'fairlead.config.ts')
    writeFileSync(config, readFileSync(config, 'utf8').replace('public: true', `public: ${port}`))
    const env = { FAIRLEAD_HOME: join(scratch, 'home') }
    const fairlead = (...args: string[]): Promise<Finished> => run(process.execPath, [launcher, ...args], dir, env)
    try {
      const up = await fairlead('up', '--timeout', '90s')
      assert.equal(up.code, 0, up.stderr)
      const url = `http://127.0.0.1:${port}`
      assert.deepEqual(await (await fetch(url)).json(), { greeting: 'Hello from the cluster' })

      const kubeconfig = (await fairlead('cluster', 'kubeconfig', '--path')).stdout.trim()
      const patch = async (data: Readonly<Record<string, string>>): Promise<void> => {
        const args = ['patch', 'configmap', 'my-notes-config', '--type=merge', '-p', JSON.stringify({ data })]
        const { code, stderr } = await run('kubectl', [`--kubeconfig=${kubeconfig}`, ...args], dir)
        assert.equal(code, 0, stderr)
      }
      const until = async (path: string, pattern: RegExp): Promise<void> => {
        while (!pattern.test(await (await fetch(url + path)).text())) await sleep(50)
      }
      await patch({ greeting: 'Changed while it runs' })
      await until('/', /Changed while it runs/)
      await patch({ 'notes.max': 'many', greeting: 'Not this one' })
      await until('/health', /"DEGRADED".*notes\.max is/)
      assert.deepEqual(await (await fetch(url)).json(), { greeting: 'Changed while it runs' })
      await patch({ 'notes.max': '7' })
      await until('/', /Not this one/)
    } finally {
      await fairlead('down', '--purge')
    }
  })
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  // A TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** What npm install would link from the clone. */
function writeLinks(dir: string): void {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'))
  for (const name of Object.keys({ ...dependencies, ...devDependencies })) {
    if (name === 'fairlead') continue
    const link = join(dir, 'node_modules', name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(join(repository, 'node_modules', name), link)
  }
  writeFileSync(join(dir, 'node_modules', '.package-lock.json'), readFileSync(join(dir, 'package-lock.json')))
}

async function run(
  command: string,
  args: readonly string[],
  cwd: string,
  more: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env
  const child = spawn(command, args, { cwd, env: { ...inherited, NO_COLOR: '1', ...more }, timeout: 120_000 })
  const [[code], stdout, stderr] = await Promise.all([
    once(child, 'exit') as Promise<[number | null]>,
    text(child.stdout),
    text(child.stderr),
  ])
  return { code, stdout, stderr }
}
