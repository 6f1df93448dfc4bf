import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Running } from './running.fixture.ts'

const program = new URL('run.fixture.ts', import.meta.url).pathname

describe('run', { timeout: 300_000 }, () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`stops cleanly on ${signal} with exit code 0`, async () => {
      await using running = new Running(program, ['plain'])
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
    await using running = new Running(program, ['stuck'])
    const ready = await running.see('service ready')
    fetch(String(ready['url'])).catch(() => {})
    await running.see('stuck')
    running.process.kill('SIGTERM')
    await running.see('stopping')
    running.process.kill('SIGTERM')
    assert.equal(await running.exitCode(), 143)
  })

  it('ends although something keeps the event loop busy', async () => {
    await using running = new Running(program, ['leaky'])
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
      await using running = new Running(program, [mode])
      assert.partialDeepStrictEqual(await running.see(message), { level: 'fatal', err })
      assert.equal(await running.exitCode(), 1)
    })
  }

  it('ends with exit code 1 when a resource cannot be stopped, or a setting is wrong', async () => {
    await using running = new Running(program, ['no-stop'])
    await running.see('service ready')
    running.process.kill('SIGTERM')
    await running.see('service not stopped cleanly')
    assert.equal(await running.exitCode(), 1)
    await using wrong = new Running(program, ['plain'], { LOG_LEVEL: 'loud' })
    assert.partialDeepStrictEqual(await wrong.see('service not started'), { err: { code: 'FAIRLEAD_SERVICE_SETTING' } })
    assert.equal(await wrong.exitCode(), 1)
  })

  it('stops during the start as well', async () => {
    await using running = new Running(program, ['slow-start'])
    await running.see('starting slowly')
    running.process.kill('SIGTERM')
    await running.see('stopping')
    assert.equal(await running.exitCode(), 0)
  })
})
