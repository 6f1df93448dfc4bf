import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, it } from 'node:test'

import { identifyProcess, pidOf } from '../runtime/process-identity.ts'
import { startTimeByPs } from './ps.ts'

describe('startTimeByPs', () => {
  const failure = (fields: object) => () => {
    throw Object.assign(new Error('no'), fields)
  }

  it('reads what macOS and Linux print', () => {
    assert.equal(
      startTimeByPs(7, () => 'Ss   Sat Nov 21 09:05:01 2026    \n'),
      'Sat Nov 21 09:05:01 2026',
    )
  })

  it('knows of no process that has ended, or waits to be reaped', () => {
    assert.equal(startTimeByPs(7, failure({ status: 1 })), undefined)
    assert.equal(
      startTimeByPs(7, () => 'Z+ Sat Nov 21 09:05:01 2026\n'),
      undefined,
    )
  })

  it('says nothing where ps cannot be asked', () => {
    assert.equal(startTimeByPs(7, failure({ code: 'ENOENT' })), '')
  })
})

describe('identifyProcess', () => {
  it('tells lives of a number apart where there is no /proc', async () => {
    const own = identifyProcess(process.pid, 'darwin')
    assert.match(own ?? '', /^\/\d+\/\w{3} \w{3} \d+ [\d:]{8} \d{4}$/)
    assert.equal(pidOf(own ?? ''), process.pid)
    const child = spawn(process.execPath, ['-e', ''])
    await once(child, 'exit')
    assert.equal(identifyProcess(child.pid ?? 0, 'darwin'), undefined)
  })
})
