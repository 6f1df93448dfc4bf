import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempDisposableSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { openLayout } from '../../layout/layout.ts'
import { addImage } from '../client.fixture.ts'
import { createRegistryClient } from '../client.ts'
import { pullTree } from '../pull.ts'
import { pushImage } from '../push.ts'
import { checkStore } from './check.ts'
import type { StoreProblem } from './check.ts'
import { serveRegistry } from './server.ts'
import { openRegistryStore } from './store.ts'

const ROUNDS = 10
const program = join(import.meta.dirname, 'crash-program.fixture.ts')

/** Numbers between 0 and 1 that are the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

async function problemsOf(dir: string): Promise<readonly StoreProblem[]> {
  return (await checkStore(await openRegistryStore(dir))).problems
}

describe('a store whose process is killed', { timeout: 600_000 }, () => {
  it('is intact after builds, pushes, pulls and prunes that ended anywhere', async () => {
    const seed = Number(process.env['FAIRLEAD_CRASH_SEED'] ?? Date.now() % 1_000_000)
    const random = randomFrom(seed)
    using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-crash-'))
    const store = join(folder.path, 'store')
    await using upstream = await serveRegistry({ dir: join(folder.path, 'upstream'), collect: { everyMs: 0 } })
    const source = await openLayout(join(folder.path, 'source'))
    for (let at = 0; at < 8; at += 1) {
      await addImage(source, `localhost/from:${at}`, [Buffer.alloc(200_000, `pulled ${at}`)])
      await pushImage(`localhost/from:${at}`, `${upstream.address}/from:${at}`, { layout: source })
    }
    const done = new Set<string>()
    for (let round = 0; round < ROUNDS; round += 1) {
      const args = [store, upstream.address, String(random())]
      const lines = await runUntilKilled(args, { steps: Math.floor(random() * 24), afterMs: random() * 25 })
      for (const line of lines) done.add(line.split(' ')[0] ?? '')
      const where = `seed ${seed}, round ${round}, after "${lines.at(-1)}"`
      assert.deepEqual(await problemsOf(store), [], where)
      const layout = await openLayout(store)
      const images = new Set((await layout.list()).map(({ reference }) => reference))
      // The last that was done and not pruned again: what was said to be there is there.
      const kept = lines.findLast((line) => /^(built|pushed|pulled) /.test(line))?.split(' ')[1]
      if (kept !== undefined && !lines.at(-1)?.startsWith('prun')) assert.ok(images.has(kept), `${kept}, ${where}`)
    }
    assert.deepEqual([...done].toSorted(), ['built', 'pruned', 'pruning', 'pulled', 'pushed'], `seed ${seed}`)
  })
})

/** Starts the program and kills it so long after so many steps; returns what it said it had done. */
async function runUntilKilled(
  args: readonly string[],
  { steps, afterMs }: { steps: number; afterMs: number },
): Promise<string[]> {
  const options = ['--conditions=@fairlead/source', '--disable-warning=ExperimentalWarning', program, ...args]
  const child = spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  const reached = Promise.withResolvers<void>()
  const closed = once(child, 'close')
  createInterface(child.stdout).on('line', (line) => {
    if (lines.push(line) > steps) reached.resolve()
  })
  await Promise.race([reached.promise, closed])
  await sleep(afterMs)
  child.kill('SIGKILL')
  const [code] = (await closed) as [number | null]
  assert.equal(code, null, 'it ended by itself')
  return lines.slice(1)
}

function reasonToSkip(): string | false {
  const reason = process.getuid?.() !== 0 && 'a small disk can be had by root only'
  if (reason && process.env['CI'] === 'true') throw new Error(`Cannot skip in CI: ${reason}`)
  return reason
}

describe('a store on a disk that is full', { skip: reasonToSkip(), timeout: 600_000 }, () => {
  it('refuses pushes, pulls and builds, is intact, and goes on when there is room again', async () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-full-'))
    const disk = join(folder.path, 'disk')
    mkdirSync(disk)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', disk])
    try {
      const source = await openLayout(join(folder.path, 'source'))
      await addImage(source, 'localhost/large:1', [Buffer.alloc(2_000_000, 'large')])
      await using upstream = await serveRegistry({ dir: join(folder.path, 'upstream'), collect: { everyMs: 0 } })
      await pushImage('localhost/large:1', `${upstream.address}/large:1`, { layout: source })
      const store = join(disk, 'store')
      await using registry = await serveRegistry({ dir: store, collect: { everyMs: 0 } })
      const filler = join(disk, 'filler')
      writeFileSync(filler, Buffer.alloc(2_000_000))
      const client = createRegistryClient({ retries: 1, retryDelayMs: 1 })
      const layout = await openLayout(store)
      const push = (): Promise<unknown> =>
        pushImage('localhost/large:1', `${registry.address}/pushed:1`, { layout: source, client })
      const pull = (): Promise<unknown> => pullTree(`${upstream.address}/large:1`, { layout, client })
      const build = (): Promise<unknown> => addImage(layout, 'localhost/built:1', [Buffer.alloc(1_900_000, 'built')])
      await assert.rejects(push(), /507|disk of the registry is full/)
      await assert.rejects(pull(), { code: 'FAIRLEAD_OCI_DISK_FULL' })
      await assert.rejects(build(), { code: 'FAIRLEAD_OCI_DISK_FULL' })
      assert.deepEqual(await problemsOf(store), [])
      assert.deepEqual(await layout.list(), [])
      rmSync(filler)
      await push()
      await pull()
      assert.deepEqual(await problemsOf(store), [])
      assert.deepEqual((await layout.list()).map(({ reference }) => reference).toSorted(), [
        `${upstream.address}/large:1`,
        'localhost/pushed:1',
      ])
    } finally {
      execFileSync('umount', [disk])
    }
  })
})
