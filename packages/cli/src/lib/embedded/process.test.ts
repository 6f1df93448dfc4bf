import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { clusterFiles } from './files.ts'
import {
  claimCluster,
  findProcess,
  hasDied,
  holdsMounts,
  isAlive,
  readStartTime,
  waitForEnd,
  watchForEnd,
} from './process.ts'

function temporaryFiles(): Disposable & { files: ReturnType<typeof clusterFiles> } {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-claim-'))
  return { files: clusterFiles(folder.path), [Symbol.dispose]: () => folder.remove() }
}

describe('claimCluster', () => {
  it('gives a cluster to one process at a time, and back', () => {
    using temporary = temporaryFiles()
    const { files } = temporary
    {
      using claim = claimCluster(files)
      assert.ok(claim)
      assert.equal(claimCluster(files), undefined)
      assert.equal(findProcess(files)?.state, 'starting')
      claim.update({ state: 'ready', url: 'https://127.0.0.1:6443' })
      assert.equal(findProcess(files)?.url, 'https://127.0.0.1:6443')
    }
    assert.equal(existsSync(files.process), false)
  })

  it('takes over from a process that died, though its pid lives again', () => {
    using temporary = temporaryFiles()
    const { files } = temporary
    writeFileSync(files.process, JSON.stringify({ pid: process.pid, startTime: '1', state: 'ready', startedAt: '' }))
    assert.equal(findProcess(files), undefined)
    assert.equal(hasDied(files), true)
    using claim = claimCluster(files)
    assert.ok(claim)
    assert.equal(findProcess(files)?.pid, process.pid)
  })

  it('takes over from a file that was cut off', () => {
    using temporary = temporaryFiles()
    writeFileSync(temporary.files.process, '{"pid":')
    using claim = claimCluster(temporary.files)
    assert.ok(claim)
  })
})

describe('holdsMounts', () => {
  it('sees what is mounted below a folder, and not what is beside it', () => {
    const mounts = 'proc /proc proc rw 0 0\ntmpfs /home/my\\040app/default/data/memory tmpfs rw 0 0\n'
    assert.equal(holdsMounts('/home/my app/default', mounts), true)
    assert.equal(holdsMounts('/home/my app/def', mounts), false)
    assert.equal(holdsMounts('/home/my app/default/data/memory', mounts), false)
  })
})

describe('waitForEnd', () => {
  it('sees a process end, and gives up on one that stays', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    await once(child, 'spawn')
    const { pid = 0 } = child
    const known = { pid, startTime: readStartTime(pid) ?? '' }
    assert.equal(isAlive(known), true)
    assert.equal(await waitForEnd(known, 30), false)
    child.kill('SIGKILL')
    assert.equal(await waitForEnd(known, 5_000), true)
  })
})

describe('readStartTime', () => {
  it('tells lives of a process apart on systems without /proc, too', async () => {
    const own = readStartTime(process.pid, 'darwin')
    assert.match(own ?? '', /^\w{3} \w{3} +\d+ [\d:]{8} \d{4}$/)
    assert.equal(readStartTime(process.pid, 'darwin'), own)
    const child = spawn(process.execPath, ['-e', ''])
    await once(child, 'exit')
    assert.equal(readStartTime(child.pid ?? 0, 'darwin'), undefined)
  })
})

describe('watchForEnd', () => {
  it('aborts with the reason when the process ends', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    await once(child, 'spawn')
    const pid = child.pid ?? 0
    using watch = watchForEnd({ pid, startTime: readStartTime(pid) ?? '' }, () => new Error('it is gone'))
    assert.equal(watch.signal.aborted, false)
    child.kill('SIGKILL')
    await once(watch.signal, 'abort')
    assert.equal(watch.signal.reason.message, 'it is gone')
  })
})
