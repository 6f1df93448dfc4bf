import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PassThrough } from 'node:stream'
import type { WriteStream } from 'node:tty'
import { stripVTControlCharacters } from 'node:util'
import { createLiveSteps, createPlainSteps } from './steps.ts'

describe('createPlainSteps', () => {
  it('writes a line per event, without control characters, and repeats nothing', () => {
    const stream = new PassThrough()
    let now = 0
    const steps = createPlainSteps(stream, () => now)
    const image = steps.start('web: image')
    const cluster = steps.start('cluster')
    image.update('bundling')
    image.update('bundling')
    now = 1234
    image.done('localhost/shop/web:1')
    cluster.fail('failed')
    assert.equal(
      String(stream.read()),
      [
        '... web: image',
        '... cluster',
        '... web: image: bundling',
        'ok  web: image (1.2 s): localhost/shop/web:1',
        'err cluster (1.2 s): failed',
        '',
      ].join('\n'),
    )
  })
})

describe('createLiveSteps', () => {
  const showCursor = '\u001B[?25h'
  const live = (stream: PassThrough): ReturnType<typeof createLiveSteps> =>
    // What a terminal has beyond a stream, as far as it is used.
    createLiveSteps(Object.assign(stream, { columns: 40, rows: 10 }) as unknown as WriteStream, (_, text) => text)

  it('cuts lines at the width of the terminal, and shows the cursor again at the end', () => {
    const stream = new PassThrough()
    {
      using steps = live(stream)
      steps.start('a step with a title that is longer than the terminal is wide')
    }
    const text = String(stream.read())
    const [line = ''] = stripVTControlCharacters(text).split('\n')
    assert.match(line, /a step with a title.*…/)
    assert.ok(line.length <= 40, line)
    assert.ok(text.endsWith(showCursor))
  })

  it('shows the cursor again when the process exits in the middle', () => {
    const stream = new PassThrough()
    const others = process.listeners('exit')
    using steps = live(stream)
    steps.start('cluster')
    stream.read()
    const added = process.listeners('exit').filter((listener) => !others.includes(listener))
    for (const listener of added) listener(130)
    assert.equal(String(stream.read()), showCursor)
    steps[Symbol.dispose]()
    assert.deepEqual(process.listeners('exit'), others)
  })
})
