import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parse } from 'smol-toml'

import { parsePoetryLock } from './poetry.ts'
import { renderRequirements } from './requirements.ts'
import type { PythonLock } from './requirements.ts'
import { parseUvLock } from './uv.ts'

const x86 = { pythonVersion: '3.11', machine: 'x86_64' }
const arm = { pythonVersion: '3.11', machine: 'aarch64' }

function namesOf(lock: PythonLock, target = x86): string[] {
  return renderRequirements(lock, target)
    .split('\n')
    .filter((line) => line.includes('=='))
    .map((line) => line.replace(' \\', ''))
}

const uv = (extra = ''): PythonLock =>
  parseUvLock(
    parse(`
version = 1
[[package]]
name = "pricing"
version = "1.0.0"
source = { virtual = "." }
dependencies = [{ name = "Server", extra = ["fast"] }, { name = "old", marker = "python_version < '3.10'" }]
[package.dev-dependencies]
dev = [{ name = "tester" }]
[[package]]
name = "server"
version = "2.0.0"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "colours", marker = "sys_platform == 'win32'" }, { name = "core" }]
wheels = [{ url = "https://x/server.whl", hash = "sha256:aa" }]
[package.optional-dependencies]
fast = [{ name = "loop", marker = "platform_machine == 'x86_64'" }]
slow = [{ name = "tester" }]
[[package]]
name = "core"
version = "1.1"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "server" }]
wheels = [{ hash = "sha256:cc" }, { hash = "sha256:bb" }]
[[package]]
name = "loop"
version = "0.9"
source = { registry = "https://pypi.org/simple" }
wheels = [{ hash = "sha256:dd" }]
${extra}`),
    'pricing',
  )

describe('uv.lock', () => {
  it('gives what the project needs and nothing for development, for Windows or of another extra', () => {
    assert.deepEqual(namesOf(uv()), ['core==1.1', 'loop==0.9', 'server==2.0.0'])
  })

  it('decides markers for the machine of the image', () => {
    assert.deepEqual(namesOf(uv(), arm), ['core==1.1', 'server==2.0.0'])
  })

  it('names the hashes of all wheels', () => {
    assert.match(renderRequirements(uv(), x86), /^core==1\.1 \\\n {4}--hash=sha256:bb \\\n {4}--hash=sha256:cc\n/)
  })

  it('chooses among versions that the lock holds for different platforms', () => {
    const lock = parseUvLock(
      parse(`
version = 1
[[package]]
name = "app"
source = { editable = "." }
dependencies = [{ name = "a", version = "1", marker = "sys_platform == 'win32'" }, { name = "a", version = "2", marker = "sys_platform != 'win32'" }]
[[package]]
name = "a"
version = "1"
source = { registry = "r" }
wheels = [{ hash = "sha256:aa" }]
[[package]]
name = "a"
version = "2"
source = { registry = "r" }
wheels = [{ hash = "sha256:bb" }]`),
      undefined,
    )
    assert.deepEqual(namesOf(lock), ['a==2'])
  })

  const refused = [
    {
      name: 'a package from git',
      toml: 'source = { git = "https://x" }\nwheels = [{ hash = "sha256:aa" }]',
      expected: /git/,
    },
    { name: 'a package without wheels', toml: 'source = { registry = "r" }', expected: /no wheel/ },
  ]
  for (const { name, toml, expected } of refused) {
    it(`refuses ${name}`, () => {
      const lock = uv(`[[package]]\nname = "extra"\nversion = "1"\n${toml}`)
      const roots = [...lock.roots, { name: 'extra', extras: [] }]
      assert.throws(() => renderRequirements({ ...lock, roots }, x86), expected)
    })
  }

  it('refuses what it does not know', () => {
    assert.throws(() => parseUvLock({ version: 2 }, undefined), /version is 2/)
    assert.throws(() => parseUvLock({ version: 1 }, undefined), /no project/)
  })
})

const POETRY = `
[[package]]
name = "Server"
version = "2.0.0"
optional = false
groups = ["main"]
files = [{ file = "server-2.0.0-py3-none-any.whl", hash = "sha256:aa" }, { file = "server-2.0.0.tar.gz", hash = "sha256:ff" }]
[package.dependencies]
core = ">=1"
colours = { version = ">=0.4", markers = "sys_platform == \\"win32\\"" }
loop = { version = ">=0.1", optional = true, markers = "platform_machine == \\"x86_64\\" and extra == \\"fast\\"" }
[package.extras]
fast = ["loop (>=0.1) ; platform_machine == \\"x86_64\\""]
[[package]]
name = "core"
version = "1.1"
files = [{ file = "core-1.1-py3-none-any.whl", hash = "sha256:bb" }]
[[package]]
name = "loop"
version = "0.9"
markers = "platform_machine == \\"x86_64\\""
files = [{ file = "loop-0.9-cp311-cp311-manylinux_2_17_x86_64.whl", hash = "sha256:dd" }]
[[package]]
name = "tester"
version = "8"
groups = ["dev"]
files = [{ file = "tester-8-py3-none-any.whl", hash = "sha256:ee" }]
[metadata]
lock-version = "2.1"
`

describe('poetry.lock', () => {
  const projects = [
    { name: '[project]', toml: '[project]\ndependencies = ["server[fast] (>=2,<3)"]' },
    {
      name: '[tool.poetry.dependencies]',
      toml: '[tool.poetry.dependencies]\npython = "^3.11"\nserver = { version = "^2", extras = ["fast"] }',
    },
  ]
  for (const { name, toml } of projects) {
    const lock = parsePoetryLock(parse(POETRY), parse(toml))
    it(`gives what ${name} asks for, without sources`, () => {
      assert.deepEqual(namesOf(lock), ['core==1.1', 'loop==0.9', 'server==2.0.0'])
      assert.doesNotMatch(renderRequirements(lock, x86), /sha256:ff/)
    })
    it(`decides markers of ${name} for the machine of the image`, () => {
      assert.deepEqual(namesOf(lock, arm), ['core==1.1', 'server==2.0.0'])
    })
  }

  it('refuses a lock that lacks what the project asks for', () => {
    const lock = parsePoetryLock(parse(POETRY), { project: { dependencies: ['absent'] } })
    assert.throws(() => renderRequirements(lock, x86), /"absent" is not in it/)
  })
})
