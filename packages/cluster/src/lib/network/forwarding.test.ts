import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { restoreForwarding, turnForwardingOn } from './forwarding.ts'

void describe('restoreForwarding', () => {
  let dir: string
  const paths = (): Parameters<typeof turnForwardingOn>[0] & object => ({
    switch: join(dir, 'ip_forward'),
    marker: join(dir, 'run', 'marker'),
    devices: join(dir, 'net'),
  })
  const read = (): string => readFileSync(join(dir, 'ip_forward'), 'utf8').trim()

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'fairlead-forwarding-'))
    mkdirSync(join(dir, 'net', 'eth0'), { recursive: true })
    writeFileSync(join(dir, 'ip_forward'), '0\n')
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  void it('turns off what a cluster turned on, the last one doing it', async () => {
    await turnForwardingOn(paths())
    assert.equal(read(), '1')
    mkdirSync(join(dir, 'net', 'fl123456', 'bridge'), { recursive: true })
    await turnForwardingOn(paths())
    await restoreForwarding(paths())
    assert.equal(read(), '1')
    rmSync(join(dir, 'net', 'fl123456'), { recursive: true })
    await restoreForwarding(paths())
    assert.equal(read(), '0')
  })

  void it('leaves what was on before', async () => {
    writeFileSync(join(dir, 'ip_forward'), '1\n')
    await turnForwardingOn(paths())
    await restoreForwarding(paths())
    assert.equal(read(), '1')
  })

  void it('leaves what a tunnel may need', async () => {
    await turnForwardingOn(paths())
    mkdirSync(join(dir, 'net', 'wg0'))
    await restoreForwarding(paths())
    assert.equal(read(), '1')
  })
})
