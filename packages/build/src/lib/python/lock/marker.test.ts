import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { evaluateMarker } from './marker.ts'

const environment = { pythonVersion: '3.11', machine: 'aarch64', extras: new Set(['standard']) }

describe('evaluateMarker', () => {
  const cases: readonly (readonly [string, boolean])[] = [
    [`sys_platform == 'win32'`, false],
    [`sys_platform != "win32"`, true],
    [`python_version < '3.10'`, false],
    [`python_version >= "3.9" and python_version < "3.12"`, true],
    [`python_full_version < '3.11.3'`, false],
    [`python_version == '3.*'`, true],
    [`platform_machine == 'x86_64' or platform_machine == 'aarch64'`, true],
    [`platform_machine in 'x86_64 AMD64'`, false],
    [`'linux' in sys_platform and (os_name == 'nt' or implementation_name == 'cpython')`, true],
    [`platform_python_implementation not in 'PyPy Jython'`, true],
    [`extra == 'Standard'`, true],
    [`extra == "dev" and sys_platform == "linux"`, false],
    [`platform_release >= '20'`, false],
    [`python_version ~= '3.10'`, true],
  ]
  for (const [text, expected] of cases) it(text, () => assert.equal(evaluateMarker(text, environment), expected))

  for (const text of [
    '',
    'python_version',
    `colour == 'red'`,
    `os_name == 'nt')`,
    `os_name == 'nt' and`,
    `os_name $ 'x'`,
  ])
    it(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => evaluateMarker(text, environment), SyntaxError))
})
