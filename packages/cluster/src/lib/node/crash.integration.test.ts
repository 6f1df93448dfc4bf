import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync } from 'node:fs'
import { chmod, chown, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { restartMachine } from './testing/machine-restart.ts'
import { skipReason, writeBusyboxImage } from './testing/world.ts'

const program = fileURLToPath(new URL('./testing/agent-program.ts', import.meta.url))
const NOBODY = 65_534

interface Report {
  id: string
  restarts: number
  ip: string
}

/** A cluster that is killed by surprise: every process it started is found by its directory and ended at last. */
async function openCrashSite(mode: string, uid?: number): Promise<CrashSite> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-crash-'))
  await writeBusyboxImage(join(dir, 'images'))
  await chmod(dir, 0o755)
  if (uid !== undefined) await giveAll(dir, uid)
  const children: ChildProcess[] = []
  return {
    dir,
    async start() {
      const child = spawn(process.execPath, ['--conditions=@fairlead/source', program, dir, mode], {
        stdio: ['ignore', 'pipe', 'inherit'],
        ...(uid === undefined ? {} : { uid, gid: uid }),
      })
      children.push(child)
      const [line] = (await Promise.race([
        once(createInterface({ input: child.stdout }), 'line'),
        once(child, 'exit').then(() => Promise.reject(new Error('the cluster ended before its pod was ready'))),
      ])) as [string]
      return { child, report: JSON.parse(line) as Report }
    },
    async [Symbol.asyncDispose]() {
      // Asked to stop rather than killed: a test that failed must not leave its pods on the machine.
      for (const child of children)
        if (child.exitCode === null && child.signalCode === null) await end(child, 'SIGTERM')
      await rm(dir, { recursive: true, force: true })
    },
  }
}

interface CrashSite extends AsyncDisposable {
  readonly dir: string
  start(): Promise<{ child: ChildProcess; report: Report }>
}

async function giveAll(path: string, uid: number): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await giveAll(join(path, entry.name), uid)
    else await chown(join(path, entry.name), uid, uid)
  }
  await chown(path, uid, uid)
}

/** Processes whose command line or directory names the place. */
function processesOf(dir: string): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.flatMap((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      return line.includes(dir) ? [line.replaceAll('\0', ' ')] : []
    } catch {
      return []
    }
  })
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exited = once(child, 'exit')
  child.kill(signal)
  await exited
}

describe('node agent killed by surprise', { skip: skipReason() }, () => {
  for (const { name, mode, uid } of [
    { name: 'containers', mode: 'namespaces' },
    { name: 'plain processes', mode: 'processes' },
    { name: 'plain processes without root', mode: 'processes', uid: NOBODY },
  ]) {
    it(`takes its ${name} over when it is started again, and leaves nothing when it is stopped`, async () => {
      await using site = await openCrashSite(mode, uid)
      const first = await site.start()
      await end(first.child, 'SIGKILL')
      const second = await site.start()
      assert.deepEqual(second.report, first.report)
      await end(second.child, 'SIGTERM')
      assert.equal(second.child.exitCode, 0)
      assert.deepEqual(processesOf(site.dir), [])
      assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(site.dir), false)

      // Started once more, the pod is there again: with a new container, counted as a restart.
      const third = await site.start()
      assert.notEqual(third.report.id, first.report.id)
      assert.equal(third.report.restarts, first.report.restarts + 1)
      await end(third.child, 'SIGTERM')
      assert.deepEqual(processesOf(site.dir), [])
    })
  }

  it('starts its pods again when the machine was restarted, each with one restart more', async () => {
    await using site = await openCrashSite('namespaces')
    const first = await site.start()
    await end(first.child, 'SIGKILL')
    const bystander = spawn('sleep', ['1000'])
    using ends = new DisposableStack()
    ends.defer(() => bystander.kill())
    await once(bystander, 'spawn')
    await restartMachine(site.dir, bystander.pid ?? 0)
    const second = await site.start()
    assert.notEqual(second.report.id, first.report.id)
    assert.equal(second.report.restarts, first.report.restarts + 1)
    const containers = await readdir(join(site.dir, 'node', 'runtime', 'containers'))
    assert.deepEqual(containers, [second.report.id.replace('runc://', '')])
    await end(second.child, 'SIGTERM')
    // Nothing was done to who has the number of a process of before.
    assert.deepEqual([bystander.exitCode, bystander.signalCode], [null, null])
    assert.deepEqual(processesOf(site.dir), [])
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(site.dir), false)
  })
})
