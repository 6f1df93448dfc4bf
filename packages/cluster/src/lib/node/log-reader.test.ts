import assert from 'node:assert/strict'
import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { readLog } from './log-reader.ts'
import type { LogOptions } from './log-reader.ts'
import { rotateLog } from './log-rotation.ts'

const line = (second: number, text: string, stream = 'stdout', tag = 'F'): string =>
  `2026-01-01T00:00:${String(second).padStart(2, '0')}.000000000+00:00 ${stream} ${tag} ${text}\n`

const log = [
  line(1, 'one'),
  line(2, 'two', 'stderr'),
  line(3, 'par', 'stdout', 'P'),
  line(4, 'tial'),
  line(5, 'five'),
].join('')

async function openLog(text: string): Promise<AsyncDisposable & { path: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-log-'))
  const path = join(dir, '0.log')
  await writeFile(path, text)
  return { path, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) }
}

async function read(path: string, options: LogOptions = {}): Promise<string> {
  let text = ''
  for await (const chunk of readLog(path, options)) text += Buffer.from(chunk).toString()
  return text
}

describe('readLog', () => {
  const cases: readonly { name: string; options: LogOptions; text: string }[] = [
    { name: 'everything, parts joined', options: {}, text: 'one\ntwo\npartial\nfive\n' },
    { name: 'the last lines', options: { tailLines: 1 }, text: 'five\n' },
    { name: 'nothing of the past', options: { tailLines: 0 }, text: '' },
    { name: 'more lines than there are', options: { tailLines: 99 }, text: 'one\ntwo\npartial\nfive\n' },
    { name: 'lines since a time', options: { since: Date.parse('2026-01-01T00:00:05Z') }, text: 'five\n' },
    { name: 'so many bytes', options: { limitBytes: 5 }, text: 'one\nt' },
    { name: 'one stream', options: { stream: 'stderr' }, text: 'two\n' },
    {
      name: 'lines with their times',
      options: { tailLines: 1, timestamps: true },
      text: '2026-01-01T00:00:05.000000000+00:00 five\n',
    },
  ]
  for (const { name, options, text } of cases) {
    it(`reads ${name}`, async () => {
      await using opened = await openLog(log)
      assert.equal(await read(opened.path, options), text)
    })
  }

  it('finds the last lines of a log larger than what it holds in memory', async () => {
    const lines = Array.from({ length: 5000 }, (_, at) => line(at % 60, `line ${at}`))
    await using opened = await openLog(lines.join(''))
    assert.equal(await read(opened.path, { tailLines: 2 }), 'line 4998\nline 4999\n')
    assert.equal((await read(opened.path, { tailLines: 3000 })).split('\n')[0], 'line 2000')
  })

  it('reads rotated files first, oldest first', async () => {
    await using opened = await openLog(line(3, 'three'))
    await writeFile(`${opened.path}.1000`, line(1, 'one'))
    await writeFile(`${opened.path}.2000`, line(2, 'two'))
    assert.equal(await read(opened.path), 'one\ntwo\nthree\n')
    assert.equal(await read(opened.path, { tailLines: 2 }), 'two\nthree\n')
  })

  it('follows into the next file, and ends when the container has ended', async () => {
    await using opened = await openLog(line(1, 'one'))
    let isOpen = true
    const seen: string[] = []
    for await (const chunk of readLog(opened.path, { follow: true, isOpen: () => isOpen })) {
      const text = Buffer.from(chunk).toString()
      seen.push(text)
      if (text === 'one\n') await appendFile(opened.path, line(2, 'two'))
      if (text === 'two\n') {
        await rename(opened.path, `${opened.path}.1000`)
        await appendFile(`${opened.path}.1000`, line(3, 'late'))
        await writeFile(opened.path, line(4, 'new'))
      }
      if (text === 'new\n') isOpen = false
    }
    assert.deepEqual(seen, ['one\n', 'two\n', 'late\n', 'new\n'])
  })

  it('stops following when the reader goes', async () => {
    await using opened = await openLog(line(1, 'one'))
    const leaving = new AbortController()
    for await (const _ of readLog(opened.path, { follow: true, signal: leaving.signal })) leaving.abort()
  })
})

describe('rotateLog', () => {
  it('cuts a large log and keeps so many files', async () => {
    await using opened = await openLog('x'.repeat(100))
    for (const time of [1000, 2000, 3000]) await writeFile(`${opened.path}.${time}`, '')
    let reopened = 0
    const reopen = async (): Promise<void> => void (reopened += 1)
    assert.equal(await rotateLog(opened.path, reopen, { maxBytes: 101 }), false)
    assert.equal(await rotateLog(opened.path, reopen, { maxBytes: 100, maxFiles: 3 }), true)
    assert.equal(reopened, 1)
    const { rotatedFiles } = await import('./log-reader.ts')
    const older = await rotatedFiles(opened.path)
    assert.equal(older.length, 2)
    assert.equal(older[0], `${opened.path}.3000`)
  })
})
