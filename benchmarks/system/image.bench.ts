// Images: how long a build takes, what it pushes, how large and how quick the result is; buildah with the ejected Dockerfile beside it.
//   npm run bench -- image [--json] [--save]
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort, repository } from '../../tests/e2e/support/machine.ts'
import { figureOf, median, report } from '../report.ts'
import { runMeasured } from './image-memory.ts'
import { openPeer } from './image-peer.ts'
import { publishCommand } from './published-command.ts'

interface Image {
  reference: string
  sizeBytes: number
  durationMs: number
  layers: { digest: string; size: number; title: string }[]
}

const ROUNDS = 3
const source = join(repository, 'packages', 'cli', 'bin', 'fairlead.mjs')
const work = mkdtempSync(join(tmpdir(), 'fairlead-bench-image-'))
const published = publishCommand(join(work, 'published'))
const legacy = join(work, 'legacy')
const skip = (path: string): boolean => !path.includes('node_modules')
cpSync(join(repository, 'examples', 'legacy'), legacy, { recursive: true, filter: skip })

const env: NodeJS.ProcessEnv = { ...process.env, NO_COLOR: '1' }
interface Built {
  seconds: number
  peakMb: number
  image: Image
}

function build(home: string, dir: string, ...args: string[]): Promise<Built> {
  return buildBy(published, home, dir, ...args)
}

async function buildBy(launcher: string, home: string, dir: string, ...args: string[]): Promise<Built> {
  const own = { ...env, FAIRLEAD_HOME: join(home, 'home'), FAIRLEAD_CACHE: join(home, 'cache') }
  const done = await runMeasured(process.execPath, [launcher, 'build', dir, '--base', 'debian', '--json', ...args], {
    cwd: repository,
    env: own,
  })
  const { images } = JSON.parse(done.output) as { images: [Image] }
  return { ...done, image: images[0] }
}

let line = 0
function changeLine(): void {
  const path = join(legacy, 'server.js')
  line += 1
  writeFileSync(path, readFileSync(path, 'utf8').replace(/guest book listening\d*/, `guest book listening${line}`))
}

try {
  const hello = join(work, 'hello')
  mkdirSync(hello)
  writeFileSync(join(hello, 'package.json'), '{"name":"hello","version":"1.0.0","type":"module","main":"main.js"}')
  writeFileSync(join(hello, 'package-lock.json'), '{"lockfileVersion":3,"packages":{"":{}}}')
  const program = `import { createServer } from 'node:http'\ncreateServer((_, answer) => answer.end('hello')).listen(process.env.PORT)\n`
  writeFileSync(join(hello, 'main.js'), program)
  const first: number[] = []
  const firstPeak: number[] = []
  const [cold, coldPeak, warm, fromSource, alone, same, warmPeak, bytes]: number[][] = [[], [], [], [], [], [], [], []]
  let last = await build(join(work, 'first'), legacy)
  for (let round = 0; round < ROUNDS; round += 1) {
    // Nothing of ours and nothing installed; npm's and apt's own caches are the machine's.
    rmSync(join(legacy, 'node_modules'), { recursive: true, force: true })
    const home = join(work, `home-${round}`)
    last = await build(home, legacy)
    cold?.push(last.seconds)
    coldPeak?.push(last.peakMb)
    for (let time = 0; time < 3; time += 1) {
      changeLine()
      const before = new Set(last.image.layers.map(({ digest }) => digest))
      last = await build(home, legacy)
      warm?.push(last.seconds)
      alone?.push(last.image.durationMs / 1000)
      warmPeak?.push(last.peakMb)
      bytes?.push(
        last.image.layers.filter(({ digest }) => !before.has(digest)).reduce((sum, { size }) => sum + size, 0) / 1000,
      )
      same?.push((await build(home, legacy)).seconds)
      changeLine()
      fromSource?.push((await buildBy(source, home, legacy)).seconds)
      last = await build(home, legacy)
    }
  }
  const home = join(work, `home-${ROUNDS - 1}`)
  /** The machine has built something else before: base and Node.js are there, this project is new. */
  const firstBuild = async (): Promise<void> => {
    const other = mkdtempSync(join(work, 'other-'))
    await build(other, hello)
    rmSync(join(legacy, 'node_modules'), { recursive: true, force: true })
    const fresh = await build(other, legacy)
    first.push(fresh.seconds)
    firstPeak.push(fresh.peakMb)
  }
  const small = await build(home, hello, '--node', '26')
  const least = await build(home, hello, '--node', '26', '--base', 'scratch')
  const firstResponse = await startTimes(home, last.image)

  const peer = await comparePeer(home, last.image, firstBuild)
  const memory = { atMost: 400 }
  report('image', [
    figureOf('cold build of the guest book, with base, Node.js and npm ci', 's', cold ?? []),
    { ...figureOf('first build of it, base and Node.js there, with npm ci', 's', first), ...peerOf(peer?.cold) },
    ...(peer
      ? [
          figureOf('how many times as fast as buildah that is', 'x', [peer.cold / median(first)], { atLeast: 3 }),
          figureOf('the same, buildah keeping no layers for the next build', 'x', [peer.uncached / median(first)]),
        ]
      : []),
    {
      ...figureOf('rebuild after one changed line, the command as published', 's', warm ?? [], { atMost: 0.5 }),
      ...peerOf(peer?.warm),
    },
    figureOf('the same, buildImage alone', 's', alone ?? []),
    figureOf('the same, the command run from source', 's', fromSource ?? []),
    { ...figureOf('build with nothing changed', 's', same ?? []), ...peerOf(peer?.same) },
    { ...figureOf('bytes to push for one changed line', 'kB', bytes ?? [], { atMost: 100 }), ...peerOf(peer?.bytes) },
    figureOf('size of a hello service on Node 26, compressed', 'MB', [small.image.sizeBytes / 1e6], { atMost: 46 }),
    figureOf('the same with --base scratch', 'MB', [least.image.sizeBytes / 1e6]),
    figureOf('first response in a container (runc), from its start', 'ms', firstResponse, { atMost: 200 }),
    figureOf('peak memory of all processes, cold, with npm ci', 'MB', coldPeak ?? [], memory),
    figureOf('peak memory, first build, with npm ci', 'MB', firstPeak, memory),
    figureOf('peak memory, cold, packages installed', 'MB', await installedPeaks(), memory),
    figureOf('peak memory, one changed line', 'MB', warmPeak ?? [], memory),
  ])
} finally {
  rmSync(work, { recursive: true, force: true })
}

function peerOf(value: number | undefined): { peer?: { name: string; value: number } } {
  return value === undefined ? {} : { peer: { name: 'buildah', value } }
}

async function installedPeaks(): Promise<number[]> {
  const peaks: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const fresh = join(work, `memory-${round}`)
    peaks.push((await build(fresh, legacy)).peakMb)
    rmSync(fresh, { recursive: true })
  }
  return peaks
}

/** Milliseconds from starting runc to an answer, in the network of the machine. */
async function startTimes(from: string, image: Image): Promise<number[]> {
  const bundle = join(work, 'bundle')
  const layout = join(from, 'home', 'images')
  execFileSync('umoci', ['unpack', '--image', `${layout}:${image.reference}`, bundle], { stdio: 'ignore' })
  const path = join(bundle, 'config.json')
  const config = JSON.parse(readFileSync(path, 'utf8'))
  const port = await freePort()
  config.process.terminal = false
  config.process.env.push(`PORT=${port}`)
  config.root.readonly = true
  config.linux.namespaces = config.linux.namespaces.filter(({ type }: { type: string }) => type !== 'network')
  writeFileSync(path, JSON.stringify(config))
  const times: number[] = []
  for (let round = 0; round < 10; round += 1) {
    const id = `fairlead-bench-${process.pid}-${round}`
    const startedAt = performance.now()
    const child = spawn('runc', ['--root', join(work, 'runc'), 'run', '--bundle', bundle, id], { stdio: 'ignore' })
    while (child.exitCode === null && !(await answers(port))) await pause(2)
    times.push(performance.now() - startedAt)
    execFileSync('runc', ['--root', join(work, 'runc'), 'kill', id, 'KILL'])
    await once(child, 'close')
  }
  return times
}

async function answers(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/healthz`).then(
    ({ ok }) => ok,
    () => false,
  )
}

async function comparePeer(
  from: string,
  image: Image,
  buildOurs: () => Promise<void>,
): Promise<{ cold: number; uncached: number; warm: number; same: number; bytes: number } | undefined> {
  const programs = ['/usr/bin/buildah', '/usr/bin/skopeo', '/bin/busybox', '/usr/bin/busybox'].filter((path) =>
    existsSync(path),
  )
  if (programs.length < 3) {
    for (let round = 0; round < ROUNDS; round += 1) await buildOurs()
    return undefined
  }
  const dir = join(work, 'peer')
  mkdirSync(dir)
  execFileSync(process.execPath, [published, 'eject', 'dockerfile', legacy], { cwd: repository, env, stdio: 'ignore' })
  const below = image.layers.filter(({ title }) => title === 'base' || title === 'node')
  const blobs = below.map(({ digest }) =>
    join(from, 'home', 'images', 'blobs', 'sha256', digest.slice('sha256:'.length)),
  )
  const peer = openPeer(dir, legacy, blobs)
  try {
    // Its cache of steps is what a first build does not have; the images below are there.
    const cold: number[] = []
    const uncached: number[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      // By turns, so that what else the machine does meets both.
      await buildOurs()
      cold.push(peer.build('--no-cache'))
      uncached.push(peer.build('--layers=false'))
    }
    const warm = times(() => {
      changeLine()
      return peer.build()
    })
    const bytes = peer.newBytes() / 1000
    return { cold: median(cold), uncached: median(uncached), warm, same: times(() => peer.build()), bytes }
  } finally {
    peer.close()
  }
}

/** Median of as many runs as of ours. */
function times(run: () => number): number {
  return median(Array.from({ length: ROUNDS }, run))
}
