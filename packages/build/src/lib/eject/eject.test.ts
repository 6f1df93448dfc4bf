import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { validate } from 'dockerfile-utils'

import { ejectDockerfile, writeEjected } from './eject.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-eject-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

async function write(files: Record<string, unknown>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true })
    await writeFile(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content))
  }
}

const lock = (packages: object): object => ({ lockfileVersion: 3, packages })

/** The Dockerfile, without what a linter says against it. */
async function dockerfileOf(service = '.', options = {}): Promise<string> {
  const { files } = await ejectDockerfile(join(dir, service), { nodeVersion: '24.21.0', ...options })
  const text = files[0]?.text ?? assert.fail()
  assert.deepEqual(
    validate(text).map(({ message, range }) => `${range.start.line + 1}: ${JSON.stringify(message)}`),
    [],
  )
  return text
}

describe('ejectDockerfile', () => {
  it('installs dependencies before the source is there, and copies no credentials', async () => {
    await write({
      'package.json': {
        name: '@acme/web',
        version: '1.2.3',
        scripts: { start: 'NODE_ENV=x node --watch --import ./hook.js app.js' },
      },
      'package-lock.json': lock({ '': {} }),
      '.npmrc': '//registry.example/:_authToken=secret',
      'app.js': '',
    })
    const text = await dockerfileOf()
    assert.ok(text.indexOf('npm ci --omit=dev') < text.indexOf('COPY . .'))
    assert.match(text, /COPY package.json package-lock.json .\/\n/)
    assert.doesNotMatch(text, /COPY.*npmrc/)
    assert.match(text, /ENTRYPOINT \["\/nodejs\/bin\/node", "--import", ".\/hook.js", "app.js"\]\n$/)
    assert.match(text, /ARG VERSION=1.2.3\n/)
    assert.match(text, /USER 65532:65532/)
  })

  it('takes the output folder alone of a service that is built', async () => {
    await write({
      'package.json': { name: 'api', scripts: { build: 'tsc', start: 'node dist/main.js' } },
      'package-lock.json': lock({ '': {} }),
      'src/main.ts': '',
    })
    const text = await dockerfileOf('.', { health: { kind: 'http', path: '/health/ready' } })
    assert.match(text, /npm ci --no-audit.*\nCOPY \. \.\nRUN npm run build\n/)
    assert.match(text, /COPY --from=build \/app\/dist \.\/dist/)
    assert.doesNotMatch(text.slice(text.indexOf('FROM ${RUNTIME_IMAGE}')), /^COPY \. \.$/m)
    assert.match(
      text,
      /CMD \["\/nodejs\/bin\/node", "-e", "fetch\('http:\/\/127.0.0.1:' \+ process.env.PORT \+ '\/health\/ready'\)/,
    )
  })

  it('builds a service of a workspace in the folder of the lock file, with the packages it needs', async () => {
    await write({
      'package.json': { workspaces: ['packages/*'] },
      'package-lock.json': lock({
        '': { workspaces: ['packages/*'] },
        'node_modules/@acme/web': { resolved: 'packages/web', link: true },
        'node_modules/@acme/kit': { resolved: 'packages/kit', link: true },
        'node_modules/@acme/other': { resolved: 'packages/other', link: true },
        'packages/web': { name: '@acme/web', dependencies: { '@acme/kit': '*' } },
        'packages/kit': { name: '@acme/kit' },
        'packages/kit/node_modules/left': { version: '1.0.0' },
        'packages/other': { name: '@acme/other' },
      }),
      'packages/web/package.json': { name: '@acme/web', main: 'src/main.ts' },
      'packages/web/src/main.ts': '',
      'packages/kit/package.json': {},
      'packages/other/package.json': {},
    })
    const { files, contextDir } = await ejectDockerfile(join(dir, 'packages/web'))
    assert.deepEqual(
      files.map(({ path }) => path.slice(contextDir.length)),
      ['/packages/web/Dockerfile', '/packages/web/Dockerfile.dockerignore'],
    )
    const text = await dockerfileOf('packages/web')
    assert.match(text, /npm ci --omit=dev --workspace packages\/web /)
    assert.match(text, /COPY packages\/other\/package.json .\/packages\/other\//)
    assert.match(
      text,
      /COPY packages\/kit .\/packages\/kit\nCOPY packages\/web .\/packages\/web\nWORKDIR \/app\/packages\/web/,
    )
    assert.doesNotMatch(text, /COPY packages\/other \.\/packages\/other/)
    assert.match(text, /COPY --from=dependencies \/app\/packages\/kit\/node_modules/)
  })

  it('makes an environment of requirements and what they name, before the source of a Python application is there', async () => {
    await write({
      'requirements.txt': '# pinned\n-r more/base.txt\nflask==3.1.3\n-c ../outside.txt\n',
      'more/base.txt': 'gunicorn==23.0.0\n',
      '.python-version': '3.12.4\n',
      'app.py': 'from flask import Flask\napp = Flask(__name__)\n',
    })
    const text = await dockerfileOf('.', { name: 'pricing', health: { kind: 'http', path: '/ready' } })
    assert.match(text, /ARG BUILD_IMAGE=docker.io\/library\/python:3.12-slim-trixie\n/)
    assert.match(text, /COPY requirements.txt .\/\nCOPY more\/base.txt .\/more\/\n/)
    assert.ok(text.indexOf('--requirement requirements.txt') < text.indexOf('COPY . .'))
    assert.doesNotMatch(text, /--require-hashes|outside/)
    assert.match(text, /CMD \["\/opt\/venv\/bin\/python", "-c", .*'\/ready'/)
    assert.match(text, /ENTRYPOINT \["\/opt\/venv\/bin\/python", "-m", "gunicorn", .*"app:app"\]\n$/)
    const { files } = await ejectDockerfile(dir)
    assert.match(files[1]?.text ?? '', /\*\*\/__pycache__\n/)
  })

  const LOCKS = [
    {
      file: 'uv.lock',
      text: 'version = 1\n[[package]]\nname = "x"\nversion = "2.0.1"\nsource = { virtual = "." }\n',
      command: /RUN uv export .*--frozen --no-dev/,
    },
    { file: 'poetry.lock', text: 'package = []\n[metadata]\n', command: /RUN poetry export --only main/ },
  ]
  for (const { file, text: lockText, command } of LOCKS) {
    it(`installs what ${file} locks, by its hashes`, async () => {
      await write({ [file]: lockText, 'pyproject.toml': '[project]\nname = "x"\nversion = "2.0.1"\n', 'main.py': '' })
      const text = await dockerfileOf()
      assert.match(text, new RegExp(`COPY ${file} pyproject.toml ./\n`))
      assert.match(text, command)
      assert.match(text, /--require-hashes --requirement requirements.lock/)
      assert.match(text, /ARG VERSION=2.0.1\n/)
    })
  }

  it('copies programs by their processors, what lies beside them, and asks for the health without a shell', async () => {
    const elf = (machine: number): Buffer => {
      const header = Buffer.alloc(64)
      header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
      header.writeUInt16LE(2, 16)
      header.writeUInt16LE(machine, 18)
      header.writeUInt16LE(56, 54)
      return header
    }
    await write({ 'page.html': '', 'themes/dark.css': '', '.env': '' })
    await writeFile(join(dir, 'pricing-linux-amd64'), elf(62))
    await writeFile(join(dir, 'pricing-linux-arm64'), elf(183))
    const text = await dockerfileOf('.', { name: 'pricing', port: 9000 })
    assert.match(text, /ARG TARGETARCH\n/)
    assert.match(text, /COPY \["page.html", ".\/"\]\nCOPY \["themes", ".\/themes"\]\n/)
    assert.match(text, /COPY --chmod=755 pricing-linux-\$\{TARGETARCH\} \/app\/pricing\n/)
    assert.match(text, /CMD \["\/usr\/local\/bin\/nc", "-z", "-w", "3", "127.0.0.1", "9000"\]/)
    const { probe } = await ejectDockerfile(dir, { health: { kind: 'http', path: '/ready' } })
    assert.deepEqual(probe(80).slice(-1), ['http://127.0.0.1:80/ready'])
    assert.doesNotMatch(await dockerfileOf('.', { health: { kind: 'none' } }), /PROBE_IMAGE|busybox/)
  })

  it('pins the images of which the registry tells the digest, and names the others', async () => {
    await write({ 'package.json': { main: 'a.js' }, 'package-lock.json': lock({ '': {} }), 'a.js': '' })
    const digest = `sha256:${'0'.repeat(64)}`
    const { files, unpinned } = await ejectDockerfile(dir, {
      nodeVersion: '24.21.0',
      pin: async (reference) => (reference.startsWith('docker.io') ? `${reference}@${digest}` : undefined),
    })
    assert.match(
      files[0]?.text ?? '',
      new RegExp(`ARG BUILD_IMAGE=docker.io/library/node:24.21.0-trixie-slim@${digest}\n`),
    )
    assert.deepEqual(unpinned, ['gcr.io/distroless/nodejs24-debian13:nonroot'])
  })

  it('refuses a folder outside the build context', async () => {
    await write({ 'app/package.json': { main: 'a.js' }, 'app/package-lock.json': lock({ '': {} }), 'app/a.js': '' })
    await assert.rejects(ejectDockerfile(join(dir, 'app'), { outputDir: dir }), { code: 'FAIRLEAD_BUILD_EJECT' })
  })
})

describe('writeEjected', () => {
  it('writes nothing when one of the files is there and differs, unless it is forced', async () => {
    await write({ Dockerfile: 'FROM mine\n' })
    const files = [
      { path: join(dir, '.dockerignore'), text: 'a\n' },
      { path: join(dir, 'Dockerfile'), text: 'FROM ours\n' },
    ]
    await assert.rejects(writeEjected(files, { isForced: false }), { code: 'FAIRLEAD_BUILD_EJECT' })
    assert.deepEqual(await readdir(dir), ['Dockerfile'])
    assert.equal((await writeEjected(files, { isForced: true })).length, 2)
    assert.equal(await readFile(join(dir, 'Dockerfile'), 'utf8'), 'FROM ours\n')
    assert.deepEqual(await writeEjected(files, { isForced: false }), [])
  })
})
