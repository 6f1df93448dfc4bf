import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { after, describe, it } from 'node:test'
import { runCli } from '../cli.ts'
import { createTerminal } from '../terminal/terminal.ts'

const root = mkdtempSync(join(tmpdir(), 'fairlead-cli-scan-'))
after(() => rmSync(root, { recursive: true }))

function collect(): { stream: Writable; text: () => string } {
  const parts: string[] = []
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      parts.push(chunk.toString())
      done()
    },
  })
  return { stream, text: () => parts.join('') }
}

interface Ran {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** A service with a dependency that has a high vulnerability, and a home of its own. */
function workplace(): { dir: string; fairlead: (...words: string[]) => Promise<Ran> } {
  const dir = mkdtempSync(join(root, 'x-'))
  const installed = join(dir, 'node_modules', 'parser')
  mkdirSync(installed, { recursive: true })
  writeFileSync(join(installed, 'package.json'), '{"name":"parser","version":"1.0.0","main":"index.js"}')
  writeFileSync(join(installed, 'index.js'), 'module.exports = () => 1\n')
  const dependencies = { parser: '1.0.0' }
  writeFileSync(
    join(dir, 'package.json'),
    JSON.stringify({ name: 'web', type: 'module', main: 'main.js', dependencies }),
  )
  const packages = { '': { dependencies }, 'node_modules/parser': { version: '1.0.0' } }
  writeFileSync(join(dir, 'package-lock.json'), JSON.stringify({ lockfileVersion: 3, packages }))
  writeFileSync(join(dir, 'main.js'), "import parser from 'parser'\nconsole.log(parser())\n")
  const env = { ...process.env, FAIRLEAD_HOME: join(dir, 'home'), FAIRLEAD_CACHE: join(dir, 'cache'), NO_COLOR: '1' }
  const fairlead = async (...words: string[]): Promise<Ran> => {
    const [out, err] = [collect(), collect()]
    const terminal = createTerminal({ stdout: out.stream, stderr: err.stream, env })
    const exitCode = await runCli({ words, terminal, env, cwd: dir, signal: new AbortController().signal })
    return { exitCode, stdout: out.text(), stderr: err.text() }
  }
  return { dir, fairlead }
}

function advisory(modified: string): string {
  const ranges = [{ type: 'SEMVER', events: [{ introduced: '0' }, { fixed: '1.0.1' }] }]
  const severity = [{ type: 'CVSS_V3', score: 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N' }]
  return JSON.stringify({
    id: 'GHSA-2222-3333-4444',
    modified,
    summary: 'Reads too much',
    severity,
    affected: [{ package: { ecosystem: 'npm', name: 'parser' }, ranges }],
  })
}

describe('fairlead image scan', () => {
  it('is never content without advisories: a gate fails', async () => {
    const { fairlead } = workplace()
    assert.equal((await fairlead('image', 'scan', 'db', 'status')).exitCode, 1)
    const open = await fairlead('image', 'scan')
    assert.deepEqual(
      [open.exitCode, /not checked:\n {2}everything: there is no advisory database/.test(open.stdout)],
      [0, true],
    )
    assert.equal((await fairlead('image', 'scan', '--fail-on', 'critical')).exitCode, 1)
    assert.equal((await fairlead('image', 'scan', '--fail-on', 'critical', '--allow-not-checked')).exitCode, 0)
  })

  it('fails from the severity on that was asked for, unless it is excused for now', async () => {
    const { dir, fairlead } = workplace()
    writeFileSync(join(dir, 'advisory.json'), advisory(new Date().toISOString()))
    const imported = await fairlead('image', 'scan', 'db', 'import', 'advisory.json', '--json')
    assert.equal((JSON.parse(imported.stdout) as { added: number }).added, 1)
    assert.match((await fairlead('image', 'scan', 'db', 'status')).stdout, /npm +1/)
    const failed = await fairlead('image', 'scan', '--fail-on', 'high')
    assert.equal(failed.exitCode, 1)
    assert.match(failed.stdout, /high 7\.5 +GHSA-2222-3333-4444 +parser +1\.0\.0 +1\.0\.1/)
    assert.equal((await fairlead('image', 'scan', '--fail-on', 'critical')).exitCode, 0)
    const entry = (expires: string): string =>
      `ignore:\n  - {id: GHSA-2222-3333-4444, reason: ours only, expires: ${expires}}\n`
    writeFileSync(join(dir, 'fairlead.scan.yaml'), entry('2999-01-01'))
    assert.equal((await fairlead('image', 'scan', '--fail-on', 'high')).exitCode, 0)
    writeFileSync(join(dir, 'fairlead.scan.yaml'), entry('2020-01-01'))
    const expired = await fairlead('image', 'scan')
    assert.deepEqual([expired.exitCode, /expired: GHSA-2222-3333-4444 on 2020-01-01/.test(expired.stderr)], [1, true])
  })

  it('counts old advisories as not there', async () => {
    const { dir, fairlead } = workplace()
    writeFileSync(join(dir, 'advisory.json'), advisory('2020-01-01T00:00:00Z'))
    await fairlead('image', 'scan', 'db', 'import', 'advisory.json')
    const scanned = await fairlead('image', 'scan', '--fail-on', 'critical')
    assert.deepEqual([scanned.exitCode, /npm since 2020-01-01/.test(scanned.stdout)], [1, true])
  })

  it('writes documents for machines', async () => {
    const { dir, fairlead } = workplace()
    writeFileSync(join(dir, 'advisory.json'), advisory(new Date().toISOString()))
    await fairlead('image', 'scan', 'db', 'import', 'advisory.json')
    for (const [format, mark] of [
      ['sarif', '"ruleId": "GHSA-2222-3333-4444"'],
      ['openvex', '"status": "affected"'],
      ['cyclonedx', '"bomFormat": "CycloneDX"'],
      ['json', '"severity": "high"'],
    ] as const) {
      const { stdout } = await fairlead('image', 'scan', '--format', format)
      JSON.parse(stdout)
      assert.ok(stdout.includes(mark), format)
    }
  })

  it('tells bad input from failure', async () => {
    const { fairlead } = workplace()
    assert.equal((await fairlead('image', 'scan', '--format', 'pdf')).exitCode, 2)
    assert.equal((await fairlead('image', 'scan', 'db', 'import', 'nowhere')).exitCode, 2)
    assert.equal((await fairlead('image', 'scan', 'localhost/none')).exitCode, 1)
  })
})

describe('fairlead outdated', () => {
  it('works offline and fails for a security fix', async () => {
    const { dir, fairlead } = workplace()
    writeFileSync(join(dir, 'advisory.json'), advisory(new Date().toISOString()))
    await fairlead('image', 'scan', 'db', 'import', 'advisory.json')
    const { exitCode, stdout, stderr } = await fairlead('outdated', '--offline', '--fail-on', 'security')
    assert.equal(exitCode, 1)
    assert.match(stdout, /parser +1\.0\.0 +1\.0\.1 +- +yes +npm update parser/)
    assert.match(stderr, /not checked: dependencies \(parser\): offline/)
  })
})
