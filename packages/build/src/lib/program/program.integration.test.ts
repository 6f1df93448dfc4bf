import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { openLayout } from '@fairlead/oci/layout'
import { runImage } from '@fairlead/oci/runtime'
import type { RunImageOptions } from '@fairlead/oci/runtime'

import { buildProgram } from './program.ts'
import type { ProgramResult } from './program.ts'

const PROGRAMS = ['apt-get', 'dpkg-deb', 'runc', 'busybox']

function commandPath(name: string): string {
  return execFileSync('sh', ['-c', `command -v ${name} || true`])
    .toString()
    .trim()
}

function reasonToSkip(): string | false {
  const missing = PROGRAMS.filter((name) => commandPath(name) === '')
  const reason = process.getuid?.() !== 0 ? 'not root' : missing.length > 0 && `not installed: ${missing.join(', ')}`
  if (reason && process.env['CI'] === 'true') throw new Error(`Cannot skip in CI: ${reason}`)
  return reason
}

describe('buildProgram', { skip: reasonToSkip(), timeout: 900_000 }, () => {
  let work: string
  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'fairlead-program-'))
  })
  after(() => rm(work, { recursive: true, force: true }))

  async function build(name: string): Promise<ProgramResult> {
    const layout = await openLayout(join(work, 'images'))
    return buildProgram({ dir: join(work, name), name: `test/${name}`, layout, cacheDir: join(work, 'cache') })
  }

  async function run(
    reference: string,
    options: Partial<RunImageOptions> = {},
  ): Promise<{ exitCode: number; output: string }> {
    const layout = await openLayout(join(work, 'images'))
    const image = (await layout.resolve(reference)) ?? assert.fail()
    const path = join(work, 'output')
    await using file = await open(path, 'w')
    const dirs = { dir: join(work, 'run'), layersDir: join(work, 'layers'), layout }
    const exitCode = await runImage(image, { ...dirs, stdio: ['ignore', file.fd, file.fd], ...options })
    return { exitCode, output: await readFile(path, 'utf8') }
  }

  async function freePort(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    return port
  }

  it('puts a static program on certificates, time zones and accounts alone', async () => {
    await mkdir(join(work, 'busybox'))
    await copyFile(commandPath('busybox'), join(work, 'busybox/busybox'))
    await writeFile(join(work, 'busybox/page.html'), 'a page')
    const { reference, sizeBytes, kind, digest } = await build('busybox')
    assert.equal(kind, 'binary')
    assert.ok(sizeBytes < 3_000_000, `${sizeBytes} bytes`)
    const script =
      'id -un; id -u; cat page.html; ls /usr/share/zoneinfo/Europe/Berlin; wc -c < /etc/ssl/certs/ca-certificates.crt'
    const { output, exitCode } = await run(reference, {
      args: ['sh', '-c', script.replaceAll(/\b(id|cat|ls|wc)\b/g, '/app/busybox $1')],
    })
    const [user, id, page, bytes] = output.split('\n')
    assert.equal(exitCode, 0, output)
    assert.deepEqual([user, id, page], ['nonroot', '65532', 'a page/usr/share/zoneinfo/Europe/Berlin'])
    assert.ok(Number(bytes) > 100_000)
    assert.equal((await build('busybox')).digest, digest)
  })

  it('refuses a program that needs an interpreter', async () => {
    await mkdir(join(work, 'dynamic'))
    await copyFile('/bin/cat', join(work, 'dynamic/cat'))
    await assert.rejects(build('dynamic'), { code: 'FAIRLEAD_BUILD_PROGRAM', message: /ld-linux/ })
  })

  it('runs a Flask application with its requirements, the same to the bit when they are installed again', async () => {
    const dir = join(work, 'flask')
    await mkdir(dir)
    await writeFile(join(dir, 'requirements.txt'), 'Flask==3.1.3\nwaitress\n')
    const source = [
      'import os',
      'from flask import Flask, __cached__ as cached',
      'app = Flask(__name__)',
      '@app.get("/")',
      'def hello():',
      '    return f"hello {os.getuid()} {os.path.exists(cached)}"',
    ]
    await writeFile(join(dir, 'app.py'), `${source.join('\n')}\n`)
    const { reference, kind, digest, layers } = await build('flask')
    assert.equal(kind, 'python')
    assert.deepEqual(
      layers.map(({ title }) => title),
      ['base', 'externals', 'application'],
    )
    const port = await freePort()
    const controller = new AbortController()
    const running = run(reference, {
      env: { PORT: String(port) },
      security: { readOnlyRoot: true },
      mounts: [{ destination: '/tmp', source: 'tmpfs', type: 'tmpfs' }],
      signal: controller.signal,
    })
    let answer: string | undefined
    for (let tries = 0; answer === undefined && tries < 300; tries += 1) {
      answer = await fetch(`http://127.0.0.1:${port}/`).then(
        (response) => response.text(),
        () => undefined,
      )
      if (answer === undefined) await sleep(50)
    }
    controller.abort()
    const { output } = await running
    assert.equal(answer, 'hello 65532 True', output)
    const records = join(work, 'cache/records')
    const made = (await readdir(records)).filter((name) => name.startsWith('python-'))
    assert.equal(made.length, 1)
    for (const name of made) await rm(join(records, name))
    assert.equal((await build('flask')).digest, digest)
  })

  it('answers with what uv.lock locks, in a container', async () => {
    const dir = join(work, 'locked')
    await mkdir(dir)
    await copyFile(join(import.meta.dirname, '../python/lock/testdata/uv.lock'), join(dir, 'uv.lock'))
    await writeFile(join(dir, 'pyproject.toml'), '[project]\nname = "pricing"\n')
    const source = ['from flask import Flask', 'from importlib.metadata import version', 'app = Flask(__name__)']
    const route = ['@app.get("/")', 'def hello():', "    return f\"{version('flask')} {version('click')}\""]
    await writeFile(join(dir, 'app.py'), `${[...source, ...route].join('\n')}\n`)
    const { reference } = await build('locked')
    const port = await freePort()
    const controller = new AbortController()
    const running = run(reference, {
      env: { PORT: String(port) },
      security: { readOnlyRoot: true },
      mounts: [{ destination: '/tmp', source: 'tmpfs', type: 'tmpfs' }],
      signal: controller.signal,
    })
    let answer: string | undefined
    for (let tries = 0; answer === undefined && tries < 300; tries += 1) {
      answer = await fetch(`http://127.0.0.1:${port}/`).then(
        (response) => response.text(),
        () => undefined,
      )
      if (answer === undefined) await sleep(50)
    }
    controller.abort()
    const { output } = await running
    assert.equal(answer, '3.1.3 8.5.1', output)
  })

  const locks = [
    { name: 'Pipfile.lock', text: '{}', hint: /pipenv requirements/ },
    { name: 'uv.lock', text: '', hint: /uv lock/ },
    { name: 'poetry.lock', text: 'package = 1 =', hint: /poetry lock/ },
  ]
  for (const { name, text, hint } of locks) {
    it(`says what to do with a ${name} it cannot use`, async () => {
      const dir = `with-${name}`
      await mkdir(join(work, dir))
      await writeFile(join(work, dir, name), text)
      await writeFile(join(work, dir, 'app.py'), '')
      await assert.rejects(build(dir), { code: 'FAIRLEAD_BUILD_PYTHON', hint })
    })
  }
})
