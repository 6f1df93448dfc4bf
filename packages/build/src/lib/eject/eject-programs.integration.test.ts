// Python applications and prebuilt programs: buildah builds what is ejected for them, offline, and runs it.
import assert from 'node:assert/strict'
import { copyFile, mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { crc32 } from 'node:zlib'

import type { TarEntry } from '@fairlead/oci/archive'

import { buildProgram } from '../program/program.ts'
import { commandPath, openBuildah, reasonToSkip } from './eject-fixture.ts'
import type { Buildah } from './eject-fixture.ts'
import { ejectDockerfile, writeEjected } from './eject.ts'

const PROGRAMS = ['apt-get', 'dpkg-deb', 'buildah', 'skopeo', 'busybox']
const SCRIPT = { type: 'file', mode: 0o755 } as const

describe('an ejected Dockerfile of another language', { skip: reasonToSkip(PROGRAMS), timeout: 900_000 }, () => {
  let fixture: Buildah
  let work: string
  before(async () => {
    fixture = await openBuildah()
    work = fixture.work
  })
  after(() => fixture[Symbol.asyncDispose]())

  async function build(
    name: string,
    ...args: string[]
  ): Promise<{ Config: Config; run: (...command: string[]) => Promise<string> }> {
    const dir = join(work, name)
    const { files } = await ejectDockerfile(dir)
    await writeEjected(files, { isForced: false })
    const common = ['--format', 'docker', '--pull=never', '--build-arg', 'VERSION=9.8.7', '--tag', `localhost/${name}`]
    await fixture.run('build', ...common, ...args, dir)
    const { Docker } = JSON.parse(await fixture.run('inspect', '--type', 'image', `localhost/${name}`))
    const container = await fixture.run('from', '--pull-never', `localhost/${name}`)
    const run = (...command: string[]): Promise<string> =>
      fixture.run('run', '--isolation', 'chroot', container, '--', ...command)
    return { Config: Docker.config, run }
  }

  it('installs wheels into an environment that the application runs in, as nobody in particular', async () => {
    await write('pricing', {
      'requirements.txt': '-r base.txt\n',
      'base.txt': 'greeting==1.0\n',
      'app.py':
        'import greeting, os\nif __name__ == "__main__":\n    print(greeting.text, os.getuid(), sorted(os.listdir(".")))\n',
      '.env': 'SECRET=1',
    })
    await addPythonImages()
    const wheels = join(work, 'wheels')
    await mkdir(wheels)
    await writeFile(join(wheels, 'greeting-1.0-py3-none-any.whl'), wheel('greeting', '1.0', 'text = "hello"\n'))
    await writeFile(join(work, 'pip.conf'), '[install]\nno-index = true\nfind-links = /wheels\n')
    const { Config, run } = await build(
      'pricing',
      '--build-arg',
      'BUILD_IMAGE=localhost/python-builder',
      '--build-arg',
      'RUNTIME_IMAGE=localhost/python',
      '--secret',
      `id=pipconf,src=${join(work, 'pip.conf')}`,
      '--volume',
      `${wheels}:/wheels:ro`,
    )
    assert.equal(Config.User, '65532:65532')
    assert.equal(Config.Labels['org.opencontainers.image.version'], '9.8.7')
    assert.equal(Config.Healthcheck.Test[1], '/opt/venv/bin/python')
    assert.equal(await run(...Config.Entrypoint), `hello 65532 ['app.py', 'base.txt', 'requirements.txt']`)
  })

  it('copies a static program and what lies beside it, with one tool that asks for its health', async () => {
    await write('busybox', { 'page.html': 'a page', 'themes/dark.css': 'body {}' })
    await copyFile(commandPath('busybox'), join(work, 'busybox/busybox'))
    const { layout } = fixture
    const { reference } = await buildProgram({
      dir: join(work, 'busybox'),
      name: 'test/busybox',
      layout,
      cacheDir: join(work, 'cache'),
    })
    const image = (await layout.resolve(reference)) ?? assert.fail()
    await fixture.addImage('static-base', image, { kept: 1 })
    const content = await readFile(commandPath('busybox'))
    await fixture.addImage('probe', image, { kept: 0, entries: [{ ...SCRIPT, path: 'bin/nc', content }] })
    const { Config, run } = await build(
      'busybox',
      '--build-arg',
      'RUNTIME_IMAGE=localhost/static-base',
      '--build-arg',
      'PROBE_IMAGE=localhost/probe',
    )
    assert.deepEqual(Config.Entrypoint, ['/app/busybox'])
    assert.deepEqual(Config.Healthcheck.Test.slice(0, 3), ['CMD', '/usr/local/bin/nc', '-z'])
    assert.equal(await run('/app/busybox', 'cat', 'page.html', 'themes/dark.css'), 'a pagebody {}')
    assert.equal(await run('/app/busybox', 'id', '-u'), '65532')
    // It is the tool that its name says: nobody listens there.
    await assert.rejects(run('/usr/local/bin/nc', '-z', '-w', '1', '127.0.0.1', '1'))
  })

  interface Config {
    User: string
    Entrypoint: string[]
    Labels: Record<string, string>
    Healthcheck: { Test: string[] }
  }

  async function write(name: string, files: Readonly<Record<string, string>>): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      await mkdir(join(work, name, path, '..'), { recursive: true })
      await writeFile(join(work, name, path), content)
    }
  }

  /** The names of the official image: python and pip below /usr/local, a shell, root to build. */
  async function addPythonImages(): Promise<void> {
    const dir = join(work, 'needs-pip')
    await write('needs-pip', { 'requirements.txt': 'click\n', 'app.py': '' })
    const { layout } = fixture
    const { reference } = await buildProgram({ dir, name: 'test/pip', layout, cacheDir: join(work, 'cache') })
    const image = (await layout.resolve(reference)) ?? assert.fail()
    const pip = await readFile(join(work, 'cache/python/pip.whl'))
    const python = { path: 'usr/local/bin/python', type: 'symlink', linkPath: '/usr/bin/python3' } as const
    const entries: TarEntry[] = [
      python,
      { path: 'opt/pip.whl', type: 'file', content: pip },
      { ...SCRIPT, path: 'usr/local/bin/pip', content: Buffer.from('#!/bin/sh\nexec python /opt/pip.whl/pip "$@"\n') },
      { ...SCRIPT, path: 'usr/bin/busybox', content: await readFile(commandPath('busybox')) },
      { path: 'usr/bin/sh', type: 'symlink', linkPath: 'busybox' },
      { path: 'bin', type: 'symlink', linkPath: 'usr/bin' },
    ]
    await fixture.addImage('python-builder', image, { kept: 1, entries })
    await fixture.addImage('python', image, { kept: 1, entries: [python] })
    assert.ok((await readdir(join(work, 'cache/python'))).includes('pip.whl'))
  }
})

/** A wheel of one module: a zip of files that are not compressed. */
function wheel(name: string, version: string, source: string): Buffer {
  const info = `${name}-${version}.dist-info`
  const files: [string, string][] = [
    [`${name}.py`, source],
    [`${info}/METADATA`, `Metadata-Version: 2.1\nName: ${name}\nVersion: ${version}\n`],
    [`${info}/WHEEL`, 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n'],
    [`${info}/RECORD`, `${name}.py,,\n${info}/METADATA,,\n${info}/WHEEL,,\n${info}/RECORD,,\n`],
  ]
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const [path, text] of files) {
    const content = Buffer.from(text)
    // Version, flags, method, time, date, then what both headers have in common (APPNOTE.TXT 4.3.7 and 4.3.12).
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(0x21, 8)
    common.writeUInt32LE(crc32(content), 10)
    common.writeUInt32LE(content.byteLength, 14)
    common.writeUInt32LE(content.byteLength, 18)
    common.writeUInt16LE(path.length, 22)
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, Buffer.from(path), content])
    const tail = Buffer.alloc(14)
    tail.writeUInt32LE(offset, 10)
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x00', 'latin1'), common, tail, Buffer.from(path)]))
    parts.push(local)
    offset += local.byteLength
  }
  const entries = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(files.length, 8)
  end.writeUInt16LE(files.length, 10)
  end.writeUInt32LE(entries.byteLength, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...parts, entries, end])
}
