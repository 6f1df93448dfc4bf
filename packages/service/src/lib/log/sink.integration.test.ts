import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, ftruncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createLogger } from './logger.ts'
import { createFileSink } from './sink.ts'

const program = fileURLToPath(new URL('sink.fixture.ts', import.meta.url))
const command = [process.execPath, '--conditions=@fairlead/source', program] as const

interface Beat {
  readonly beats: number
  readonly isOver: boolean
  readonly dropped: number
  readonly heapUsed: number
}

/** The fixture in a process of its own; `beats` are what it says of itself. */
class Flood implements AsyncDisposable {
  readonly process: ChildProcess
  readonly #beats: AsyncIterator<string>

  constructor(stdout: 'pipe' | number, shell?: string) {
    const [node, ...args] = command
    this.process =
      shell === undefined
        ? spawn(node, [...args, 'flood'], { stdio: ['ignore', stdout, 'pipe'] })
        : spawn('sh', ['-c', `${shell}; exec "$@"`, 'sh', ...command, 'flood'], { stdio: ['ignore', stdout, 'pipe'] })
    const { stderr } = this.process
    assert.ok(stderr)
    this.#beats = createInterface(stderr)[Symbol.asyncIterator]()
  }

  /** The first state for which `condition` holds. */
  async see(condition: (beat: Beat) => boolean): Promise<Beat> {
    for (let line = await this.#beats.next(); !line.done; line = await this.#beats.next()) {
      const beat = JSON.parse(line.value) as Beat
      if (condition(beat)) return beat
    }
    throw new Error(`The process ended with ${this.process.exitCode}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill('SIGKILL')
      await once(this.process, 'exit')
    }
  }
}

/** The event loop turns, and memory stays where it is, for a good while after lines began to be lost. */
async function assertUnharmed(flood: Flood): Promise<void> {
  const first = await flood.see(({ dropped }) => dropped > 0)
  const later = await flood.see(({ beats, dropped }) => beats >= first.beats + 200 && dropped > first.dropped)
  // A flood of garbage; what matters is that it is not the 40 MB of lines written since.
  assert.ok(later.heapUsed < 100 * 1024 * 1024, `${later.heapUsed} bytes`)
}

describe(
  'standard output',
  { timeout: 600_000, skip: process.platform !== 'linux' && 'pipes and limits of Linux' },
  () => {
    it('that nobody reads for a while neither stops the service nor fills memory, and hears of the loss once', async () => {
      await using flood = new Flood('pipe')
      const { stdout } = flood.process
      assert.ok(stdout)
      // Not read at all so far: the pipe holds 64 KiB.
      await assertUnharmed(flood)
      flood.process.kill('SIGUSR2')
      await flood.see(({ isOver }) => isOver)
      const lines = createInterface(stdout)
      let told = 0
      let last = ''
      for await (const line of lines) {
        const { msg, service } = JSON.parse(line) as { msg: string; service: string }
        assert.equal(service, 'fixture')
        if (msg === 'log lines dropped') told += 1
        last = msg
        if (msg === 'after the flood') break
      }
      assert.equal(last, 'after the flood')
      assert.equal(told, 1)
    })

    it('whose reader is gone is dropped on the floor', async () => {
      await using flood = new Flood('pipe')
      flood.process.stdout?.destroy()
      await assertUnharmed(flood)
    })

    it('beyond a file size limit is dropped, without the signal that goes with it', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'log-limit-'))
      const file = join(folder, 'log')
      const fd = openSync(file, 'a')
      try {
        await using flood = new Flood(fd, 'ulimit -f 100')
        await assertUnharmed(flood)
        assert.ok(statSync(file).size <= 100 * 1024)
        // Somebody makes room, again and again: what was held back is more than fits at once.
        flood.process.kill('SIGUSR2')
        await makeRoomUntilTold(file, fd, 50 * 1024)
      } finally {
        closeSync(fd)
        rmSync(folder, { recursive: true })
      }
    })

    it(
      'on a disk that is full survives it, and recovers',
      { skip: process.getuid?.() !== 0 && 'only root can mount a small disk' },
      async (context) => {
        const folder = mkdtempSync(join(tmpdir(), 'log-disk-'))
        const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder])
        if (mounted.status !== 0) {
          rmSync(folder, { recursive: true })
          context.skip('no right to mount')
          return
        }
        const file = join(folder, 'log')
        const fd = openSync(file, 'a')
        try {
          await using flood = new Flood(fd)
          await assertUnharmed(flood)
          flood.process.kill('SIGUSR2')
          await makeRoomUntilTold(file, fd, 256 * 1024)
        } finally {
          closeSync(fd)
          spawnSync('umount', [folder])
          rmSync(folder, { recursive: true })
        }
      },
    )

    for (const mode of ['throws', 'rejects'])
      it(`has the redacted fatal line of a process that ${mode}, which ends with 1`, () => {
        const [node, ...args] = command
        const { status, stdout } = spawnSync(node, [...args, mode], { encoding: 'utf8' })
        assert.equal(status, 1)
        const lines = stdout.trim().split('\n')
        assert.equal(lines.length, 2)
        assert.partialDeepStrictEqual(JSON.parse(lines[1] ?? ''), {
          level: 'fatal',
          err: { message: 'cannot reach postgres://app:[redacted]@db/orders', password: '[redacted]' },
        })
        assert.doesNotMatch(stdout, /hunter2/)
      })

    it('has every line of a process that exits at once, through a pipe that holds less', async () => {
      const [node, ...args] = command
      const child = spawn(node, [...args, 'exit'], { stdio: ['ignore', 'pipe', 'inherit'] })
      let text = ''
      child.stdout.on('data', (chunk) => (text += String(chunk)))
      const [code] = (await once(child, 'close')) as [number]
      assert.equal(code, 3)
      assert.equal(text.trim().split('\n').length, 500)
    })

    it('that stays full holds up the end of the process for a second at most', async () => {
      const [node, ...args] = command
      // Never read.
      const child = spawn(node, [...args, 'exit'], { stdio: ['ignore', 'pipe', 'inherit'] })
      const [code] = (await once(child, 'exit')) as [number]
      assert.equal(code, 3)
      child.stdout.destroy()
    })
  },
)

describe('createFileSink', () => {
  it('counts what it lost and says so in the format of the logger', { skip: process.platform !== 'linux' }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'log-sink-'))
    const full = openSync('/dev/full', 'w')
    const sink = createFileSink(full, { maxPendingBytes: 200 })
    const log = createLogger({ sink, format: 'ecs', now: () => 0 })
    for (let line = 0; line < 10; line++) log.info('m')
    log.flush()
    assert.ok(log.stats.dropped >= 8, String(log.stats.dropped))
    assert.match(
      sink.renderDropped?.(3) ?? '',
      /"log\.level":"warn","message":"log lines dropped","ecs\.version".*"count":3\}\n$/,
    )
    closeSync(full)
    rmSync(folder, { recursive: true })
  })
})

/** Empties the file as often as it fills up, until it holds the note of the loss. */
async function makeRoomUntilTold(file: string, fd: number, fullBytes: number): Promise<void> {
  await until(() => {
    const text = readFileSync(file, 'utf8')
    if (text.includes('log lines dropped')) return true
    // Not before it is full: what is written between the look and the cut would be lost.
    if (text.length >= fullBytes) ftruncateSync(fd)
    return false
  })
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!condition()) {
    assert.ok(performance.now() < deadline, 'the condition did not come true in 30 s')
    await new Promise((resolve) => setImmediate(resolve))
  }
}
