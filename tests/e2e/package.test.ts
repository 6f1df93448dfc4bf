// The command line as it is published: bundled, without sources beside it.
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { repository, run } from './support/machine.ts'
import type { Finished } from './support/machine.ts'

describe('npm run build', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'fairlead-package-'))
  const installed = join(scratch, 'node_modules', 'fairlead')
  const env = { ...process.env, FAIRLEAD_HOME: join(scratch, 'home'), NO_COLOR: '1' }

  before(async () => {
    const built = await run(process.execPath, [join(repository, 'scripts', 'build-cli.ts')], { cwd: repository })
    assert.equal(built.code, 0, built.stderr)
    // What npm would unpack: the files of the package, its dependencies beside it.
    mkdirSync(installed, { recursive: true })
    for (const file of ['bin', 'dist', 'package.json']) {
      cpSync(join(repository, 'packages', 'cli', file), join(installed, file), { recursive: true })
    }
    for (const dependency of ['rolldown', '@vercel']) {
      symlinkSync(join(repository, 'node_modules', dependency), join(scratch, 'node_modules', dependency))
    }
  })

  after(async () => {
    await fairlead('down', '--purge')
    rmSync(scratch, { recursive: true, force: true })
    rmSync(join(repository, 'packages', 'cli', 'dist'), { recursive: true, force: true })
  })

  it('makes a command that knows its version and its errors', async () => {
    assert.match((await fairlead('version')).stdout, /^fairlead \d+\.\d+\.\d+/)
    assert.match((await fairlead('explain', 'FAIRLEAD_OCI_DIGEST')).stdout, /hexadecimal/)
  })

  it('makes a cluster that starts, answers and stops', async () => {
    const started = await fairlead('cluster', 'start')
    assert.equal(started.code, 0, started.stderr)
    const status = JSON.parse((await fairlead('cluster', 'status', '--json')).stdout)
    assert.match(status.url, /^https:\/\/127\.0\.0\.1:\d+$/)
    assert.equal((await fairlead('cluster', 'stop')).code, 0)
  })

  it('reads a definition that imports defineApp, where no package of ours is installed', async () => {
    const app = join(scratch, 'app')
    mkdirSync(join(app, 'web'), { recursive: true })
    const definition = `import { defineApp } from '@fairlead/delivery/app'
export default defineApp({ name: 'alone', services: { web: {} } })`
    writeFileSync(join(app, 'fairlead.config.ts'), definition)
    writeFileSync(join(app, 'web', 'package.json'), '{"name":"web","type":"module","main":"main.js"}')
    writeFileSync(join(app, 'web', 'main.js'), 'export default 1')
    const checked = await fairlead('config', 'check', app)
    assert.doesNotMatch(checked.stderr, /call stack|Cannot find/)
    assert.match(`${checked.stdout}${checked.stderr}`, /web|configuration/)
    const composed = await fairlead('eject', 'compose', app, '--output', join(scratch, 'composed'))
    assert.doesNotMatch(composed.stderr, /call stack|FAIRLEAD_DELIVERY_APP/)
  })

  function fairlead(...args: string[]): Promise<Finished> {
    return run(process.execPath, [join(installed, 'bin', 'fairlead.mjs'), ...args], { env, cwd: scratch })
  }
})
