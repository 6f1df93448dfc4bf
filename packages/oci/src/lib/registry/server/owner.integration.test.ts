import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'

import { openLayout } from '../../layout/layout.ts'
import { addImage } from '../client.fixture.ts'
import { startTestRegistry } from './registry-fixture.ts'
import type { TestRegistry } from './registry-fixture.ts'

const PROGRAMS = ['skopeo', 'setpriv']
const OTHER_UID = 54_321
const THIRD_UID = 54_322
const exec = promisify(execFile)

function reasonToSkip(): string | false {
  const missing = PROGRAMS.filter((name) => execFileSync('sh', ['-c', `command -v ${name} || true`]).length === 0)
  const state =
    process.getuid?.() === 0 ? `not installed: ${missing.join(', ')}` : 'another user can be had by root only'
  const reason = (missing.length > 0 || process.getuid?.() !== 0) && state
  if (reason && process.env['CI'] === 'true') throw new Error(`Cannot skip in CI: ${reason}`)
  return reason
}

/** Runs a program as another user; resolves with its output, or with what it said when it failed. */
async function runAs(uid: number, program: string, args: readonly string[]): Promise<{ code: number; text: string }> {
  const user = ['--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--', program, ...args]
  try {
    const env = { ...process.env, HOME: '/nonexistent', XDG_RUNTIME_DIR: '/nonexistent' }
    const { stdout, stderr } = await exec('setpriv', user, { env, timeout: 60_000 })
    return { code: 0, text: stdout + stderr }
  } catch (error) {
    const { code = 1, stderr = '', stdout = '' } = error as { code?: number; stderr?: string; stdout?: string }
    return { code, text: stdout + stderr }
  }
}

function post(url: string): string {
  return `fetch('${url}', { method: 'POST' }).then(async (a) => { console.log(await a.text()); process.exit(a.ok ? 0 : 1) })`
}

async function startOwned(uid: number): Promise<TestRegistry> {
  return startTestRegistry({ owner: { name: 'me', uid, password: 'secret-of-the-owner' }, anonymous: 'pull' })
}

describe('a registry with an owner, on a machine of several users', { skip: reasonToSkip(), timeout: 600_000 }, () => {
  it('takes pushes of its owner and of root without a login, and of nobody else', async () => {
    await using test = await startOwned(OTHER_UID)
    const push = (uid: number): Promise<{ code: number; text: string }> =>
      runAs(uid, process.execPath, ['-e', post(`${test.registry.url}/v2/team/app/blobs/uploads/`)])
    assert.equal((await push(OTHER_UID)).code, 0)
    assert.equal((await push(0)).code, 0)
    const refused = await push(THIRD_UID)
    assert.notEqual(refused.code, 0)
    assert.match(refused.text, /UNAUTHORIZED/)
  })

  it('lets skopeo of another user pull, push only with the password, and its own push as it is', async () => {
    await using test = await startOwned(OTHER_UID)
    const source = join(test.dir, 'source')
    await mkdir(source)
    const layout = await openLayout(source)
    await addImage(layout, 'localhost/app:1', [Buffer.from('layer')])
    for (const path of [test.dir, source, join(source, 'blobs'), join(source, 'blobs', 'sha256')])
      chmodSync(path, 0o755)
    const target = `docker://${test.registry.address}/team/app:1`
    const copy = (...more: string[]): string[] => [
      'copy',
      '--insecure-policy',
      '--quiet',
      '--dest-tls-verify=false',
      ...more,
      `oci:${source}:localhost/app:1`,
      target,
    ]
    const refused = await runAs(THIRD_UID, 'skopeo', copy())
    assert.notEqual(refused.code, 0, refused.text)
    assert.equal(test.registry.store.tags('team/app').length, 0)
    const own = await runAs(OTHER_UID, 'skopeo', copy())
    assert.equal(own.code, 0, own.text)
    const pulled = await runAs(THIRD_UID, 'skopeo', ['inspect', '--tls-verify=false', target])
    assert.equal(pulled.code, 0, pulled.text)
    const named = await runAs(THIRD_UID, 'skopeo', copy('--dest-creds', 'me:secret-of-the-owner'))
    assert.equal(named.code, 0, named.text)
  })

  it('does not take somebody for root who closes the connection at once', async () => {
    await using test = await startOwned(OTHER_UID)
    const port = new URL(test.registry.url).port
    const request = 'POST /v2/team/app/blobs/uploads/ HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 0\\r\\n\\r\\n'
    const script = `for (let round = 0; round < 50; round += 1) {
      const s = require('node:net').connect(${port}, '127.0.0.1', () => { s.end('${request}'); s.destroySoon() }) }`
    const { code, text } = await runAs(THIRD_UID, process.execPath, ['-e', script])
    assert.equal(code, 0, text)
    const catalog = await test.send('GET', '/v2/_catalog')
    assert.deepEqual(catalog.json()['repositories'], [])
    assert.deepEqual(await uploadsOf(test.dir), [])
  })
})

function uploadsOf(dir: string): Promise<string[]> {
  return readdir(join(dir, 'registry', 'uploads')).catch(() => [])
}
