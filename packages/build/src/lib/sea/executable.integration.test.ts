import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { hostPlatform } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'

import { buildImage } from '../build-image.ts'
import type { BuildResult } from '../options.ts'
import { buildExecutable } from './executable.ts'
import type { ExecutableResult } from './executable.ts'

const MAIN = `
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { Worker } from 'node:worker_threads'
const greeting = readFileSync(new URL('../assets/greeting.txt', import.meta.url), 'utf8')
const inWorker = () => new Promise((resolve, reject) => {
  new Worker(new URL('./worker.js', import.meta.url)).on('message', resolve).on('error', reject)
})
const server = createServer(async (request, response) => {
  if (request.url === '/slow') { process.stdout.write('slow\\n'); await new Promise((resolve) => { process.once('SIGTERM', () => setTimeout(resolve, 100)) }) }
  response.end(JSON.stringify({
    greeting, relative: readFileSync('public/page.html', 'utf8'), worker: await inWorker(), argv: process.argv.slice(2),
    env: process.env.NODE_ENV, version: process.env.FAIRLEAD_VERSION, execArgv: process.execArgv, isMain: import.meta.main,
  }))
})
server.listen(0, () => process.stdout.write('port ' + server.address().port + '\\n'))
process.once('SIGTERM', () => server.close(() => process.stdout.write('drained\\n')))
`

const HOST = `linux/${hostPlatform().architecture}`
const OTHER = HOST === 'linux/amd64' ? 'linux/arm64' : 'linux/amd64'

describe('buildExecutable', { timeout: 900_000 }, () => {
  let work: string
  let images: BuildResult
  let executable: ExecutableResult

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'fairlead-sea-'))
    const dir = join(work, 'hello')
    await writeProject(dir)
    const layout = await openLayout(join(work, 'layout'))
    const platform = `${HOST},${OTHER}`
    images = await buildImage({
      dir,
      name: 'test/hello',
      layout,
      cacheDir: join(work, 'cache'),
      base: 'debian',
      platform,
    })
    executable = await make(images, 0, 'hello.bin')
  })
  after(() => rm(work, { recursive: true, force: true }))

  const make = async (from: BuildResult, index: number, file: string): Promise<ExecutableResult> => {
    const image = from.platforms[index]
    assert.ok(image)
    const layout = await openLayout(join(work, 'layout'))
    return buildExecutable(image, { layout, file: join(work, file), name: 'test/hello', cacheDir: join(work, 'cache') })
  }

  it('answers HTTP with assets read as in the image, a worker, arguments and variables', async () => {
    await using service = await start(executable.file, join(work, 'home'), ['--colour', 'blue'])
    const answer = await (await fetch(service.url)).json()
    assert.deepEqual(answer, {
      greeting: 'hello asset\n',
      relative: '<p>hello</p>\n',
      worker: 'from the worker',
      argv: ['--colour', 'blue'],
      env: 'production',
      version: '1.2.3',
      execArgv: ['--max-old-space-size=300'],
      isMain: true,
    })
  })

  it('finishes what it began on SIGTERM', async () => {
    await using service = await start(executable.file, join(work, 'home'))
    const slow = fetch(`${service.url}/slow`)
    await service.until('slow')
    service.kill('SIGTERM')
    assert.equal((await slow).status, 200)
    assert.equal(await service.ended, 0)
    assert.match(service.output(), /drained/)
  })

  it('needs nothing of the machine but its C library: it runs with an empty environment in an empty folder', async () => {
    const empty = join(work, 'empty')
    await mkdir(empty)
    await using service = await start(executable.file, join(work, 'home-2'), [], empty)
    assert.equal((await fetch(service.url)).status, 200)
    assert.deepEqual(await readdir(empty), [])
  })

  it('makes good what a killed start or a cleaner of temporary files left of its folder', async () => {
    const home = join(work, 'home-3')
    for (const damage of [rm, truncate]) {
      {
        await using first = await start(executable.file, home)
        assert.equal((await fetch(first.url)).status, 200)
      }
      const [name] = await readdir(join(home, 'fairlead-unpacked'))
      await damage(join(home, 'fairlead-unpacked', name ?? '', 'main.js'))
    }
    await using again = await start(executable.file, home)
    assert.equal((await fetch(again.url)).status, 200)
  })

  it('does not run from a folder others may write to', async () => {
    const home = join(work, 'shared')
    await mkdir(join(home, 'fairlead-unpacked'), { recursive: true })
    await chmod(join(home, 'fairlead-unpacked'), 0o777)
    await using service = await start(executable.file, home)
    assert.equal((await fetch(service.url)).status, 200)
    assert.deepEqual(await readdir(join(home, 'fairlead-unpacked')), [])
  })

  it('is the same to the bit when it is made again, from an image without compiled code too', async () => {
    const layout = await openLayout(join(work, 'layout'))
    const dir = join(work, 'hello')
    const cacheDir = join(work, 'cache')
    const plain = await buildImage({ dir, name: 'test/hello', layout, cacheDir, base: 'debian', compileCache: false })
    assert.equal((await make(plain, 0, 'again')).digest, executable.digest)
  })

  it('is made for the other processor too, of which only the program differs', async () => {
    const other = await make(images, 1, 'other')
    assert.equal(other.platform, OTHER)
    const machine = (await readFile(other.file)).readUInt16LE(18)
    assert.equal(machine, OTHER === 'linux/arm64' ? 183 : 62)
    const emulator = `qemu-${machine === 183 ? 'aarch64' : 'x86_64'}-static`
    if (spawnSync('which', [emulator]).status !== 0) return
    // Without the C library of that processor the loader is not found, which is after the headers were accepted.
    const { stderr } = spawnSync(emulator, [other.file], { encoding: 'utf8' })
    assert.match(stderr, /Could not open '\/lib\/ld-linux/)
  })

  it('is accepted by readelf, with the blob as a note', () => {
    const headers = execFileSync('readelf', ['--program-headers', '--wide', executable.file], { encoding: 'utf8' })
    assert.match(headers, /There are \d+ program headers/)
    assert.match(execFileSync('readelf', ['--notes', executable.file], { encoding: 'utf8' }), /NODE_SEA_BLOB/)
  })

  it('leaves no half file: where it cannot be written, the cause is told', async () => {
    await mkdir(join(work, 'taken'))
    await assert.rejects(make(images, 0, 'taken'), { code: 'FAIRLEAD_BUILD_EXECUTABLE' })
    assert.deepEqual(
      (await readdir(work)).filter((name) => name.endsWith('.part')),
      [],
    )
  })
})

async function writeProject(dir: string): Promise<void> {
  for (const name of ['src', 'assets', 'public']) await mkdir(join(dir, name), { recursive: true })
  const scripts = { start: 'node --max-old-space-size=300 src/main.js' }
  const root = { name: 'hello', version: '1.2.3' }
  await writeFile(join(dir, 'package.json'), JSON.stringify({ ...root, type: 'module', scripts }))
  const lock = { ...root, lockfileVersion: 3, requires: true, packages: { '': root } }
  await writeFile(join(dir, 'package-lock.json'), JSON.stringify(lock))
  await writeFile(join(dir, 'src/main.js'), MAIN)
  const worker = `import { parentPort } from 'node:worker_threads'\nparentPort.postMessage('from the worker')\n`
  await writeFile(join(dir, 'src/worker.js'), worker)
  await writeFile(join(dir, 'assets/greeting.txt'), 'hello asset\n')
  await writeFile(join(dir, 'public/page.html'), '<p>hello</p>\n')
}

interface Service extends AsyncDisposable {
  url: string
  ended: Promise<number | null>
  output(): string
  until(text: string): Promise<void>
  kill(signal: NodeJS.Signals): void
}

/** Starts the executable with hardly an environment; `home` receives what it unpacks. */
async function start(file: string, home: string, args: readonly string[] = [], cwd = tmpdir()): Promise<Service> {
  const child = spawn(file, args, { cwd, env: { XDG_CACHE_HOME: home, TMPDIR: `${home}-tmp` }, stdio: 'pipe' })
  let output = ''
  const waiting = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      for (const look of waiting) look()
    })
  const ended = once(child, 'exit').then(([code]) => code as number | null)
  const until = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (output.includes(text)) resolve()
      }
      waiting.add(look)
      look()
      void ended.then(() => reject(new Error(`It ended before "${text}": ${output}`)))
    })
  await until('port ')
  return {
    url: `http://127.0.0.1:${/port (\d+)/.exec(output)?.[1]}`,
    ended,
    output: () => output,
    until,
    kill: (signal) => child.kill(signal),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
