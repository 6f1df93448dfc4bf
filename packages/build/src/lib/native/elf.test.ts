import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { isElf, parseElf, stripElf } from './elf.ts'

const isLinux = process.platform === 'linux'
const skip = isLinux ? false : 'there is no ELF program on this system'

describe('parseElf', () => {
  it('reads processor and libraries of the running program', { skip }, async () => {
    const { architecture, libc, needed } = parseElf(await readFile(process.execPath))
    assert.equal(architecture, process.arch === 'x64' ? 'amd64' : process.arch)
    assert.equal(libc, 'glibc')
    assert.ok(needed.includes('libc.so.6'))
  })

  it('tells other things from ELF files', () => {
    assert.equal(isElf(Buffer.from('MZ\0\0')), false)
    assert.throws(() => parseElf(Buffer.from('no')), { code: 'FAIRLEAD_BUILD_ELF' })
    assert.throws(() => parseElf(Buffer.from('\x7fELF\x02\x01'.padEnd(100, '\xff'), 'latin1')), {
      code: 'FAIRLEAD_BUILD_ELF',
    })
  })
})

describe('stripElf', () => {
  it('makes the program smaller, and it still runs', { skip }, async () => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-elf-'))
    try {
      const whole = await readFile(process.execPath)
      const stripped = stripElf(whole)
      const path = join(dir, 'node')
      await writeFile(path, stripped)
      await chmod(path, 0o755)
      const output = execFileSync(path, ['--print', 'new Intl.NumberFormat("de").format(1234.5)'], { encoding: 'utf8' })
      assert.equal(output.trim(), '1.234,5')
      assert.ok(stripped.byteLength < whole.byteLength)
      assert.ok(stripElf(stripped).equals(stripped))
    } finally {
      await rm(dir, { recursive: true })
    }
  })
})
