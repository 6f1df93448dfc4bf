import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'

const program = new URL('run.fixture.ts', import.meta.url).pathname

/** A service in a process of its own, as in production. */
class Running implements AsyncDisposable {
  readonly process: ChildProcess
  readonly lines: Record<string, unknown>[] = []
  readonly #waiting: { readonly message: string; readonly resolve: (line: Record<string, unknown>) => void }[] = []

  constructor(mode: string, env: Record<string, string> = {}) {
    this.process = spawn(process.execPath, ['--conditions=@fairlead/source', program, mode], {
      env: { HOST: '127.0.0.1', PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const { stdout } = this.process
    if (stdout) createInterface(stdout).on('line', (line) => this.#take(JSON.parse(line) as Record<string, unknown>))
  }

  async see(message: string): Promise<Record<string, unknown>> {
    const line = this.lines.find(({ msg }) => msg === message)
    return line ?? (await new Promise((resolve) => this.#waiting.push({ message, resolve })))
  }

  async exitCode(): Promise<number | null> {
    if (this.process.exitCode === null) await once(this.process, 'close')
    return this.process.exitCode
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill('SIGKILL')
    await this.exitCode()
  }

  #take(line: Record<string, unknown>): void {
    this.lines.push(line)
    for (const { message, resolve } of this.#waiting) if (line['msg'] === message) resolve(line)
  }
}

describe('run', { timeout: 30_000 }, () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`stops cleanly on ${signal} with exit code 0`, async () => {
      await using running = new Running('plain')
      const ready = await running.see('service ready')
      assert.equal(await (await fetch(String(ready['url']))).text(), 'hello')
      running.process.kill(signal)
      assert.equal(await running.exitCode(), 0)
      assert.deepEqual(
        running.lines.slice(-3).map(({ msg }) => msg),
        ['stopping', 'released', 'service stopped'],
      )
    })
  }

  it('leaves at once on a second signal, with the exit code of a killed process', async () => {
    await using running = new Running('stuck')
    const ready = await running.see('service ready')
    fetch(String(ready['url'])).catch(() => {})
    await running.see('stuck')
    running.process.kill('SIGTERM')
    await running.see('stopping')
    running.process.kill('SIGTERM')
    assert.equal(await running.exitCode(), 143)
  })

  it('ends although something keeps the event loop busy', async () => {
    await using running = new Running('leaky')
    await running.see('service ready')
    running.process.kill('SIGTERM')
    assert.equal(await running.exitCode(), 0)
  })

  for (const { mode, message, err } of [
    { mode: 'no-start', message: 'service not started', err: { code: 'FAIRLEAD_SERVICE_START' } },
    { mode: 'throws', message: 'an error escaped, the state of the process is unknown', err: { message: 'escaped' } },
    { mode: 'rejects', message: 'an error escaped, the state of the process is unknown', err: { message: 'escaped' } },
  ]) {
    it(`writes why and ends with exit code 1 when it ${mode}`, async () => {
      await using running = new Running(mode)
      assert.partialDeepStrictEqual(await running.see(message), { level: 'fatal', err })
      assert.equal(await running.exitCode(), 1)
    })
  }

  it('ends with exit code 1 when a resource cannot be stopped, or a setting is wrong', async () => {
    await using running = new Running('no-stop')
    await running.see('service ready')
    running.process.kill('SIGTERM')
    await running.see('service not stopped cleanly')
    assert.equal(await running.exitCode(), 1)
    await using wrong = new Running('plain', { LOG_LEVEL: 'loud' })
    assert.partialDeepStrictEqual(await wrong.see('service not started'), { err: { code: 'FAIRLEAD_SERVICE_SETTING' } })
    assert.equal(await wrong.exitCode(), 1)
  })

  it('stops during the start as well', async () => {
    await using running = new Running('slow-start')
    await running.see('starting slowly')
    running.process.kill('SIGTERM')
    await running.see('stopping')
    assert.equal(await running.exitCode(), 0)
  })
})
