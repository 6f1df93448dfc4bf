import assert from 'node:assert/strict'
import { totalmem } from 'node:os'
import { describe, it } from 'node:test'

import { availableMemory, parseVmStat } from './available-memory.ts'

const text = `Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                                4000.
Pages active:                            300000.
Pages inactive:                          250000.
Pages speculative:                         1000.
Pages throttled:                              0.
Pages wired down:                        100000.
Pages purgeable:                           5000.
"Translation faults":                 123456789.
`

describe('parseVmStat', () => {
  it('counts what macOS can take back, so that a cache full of files is no shortage', () => {
    assert.equal(parseVmStat(text), 260_000 * 16_384)
  })

  it('knows nothing of another text', () => {
    assert.equal(parseVmStat(''), undefined)
    assert.equal(parseVmStat(text.replace('Pages free', 'Pages left')), undefined)
  })
})

describe('availableMemory', () => {
  it('is no more than there is', async () => {
    assert.ok((await availableMemory()) < totalmem())
  })

  it(
    'evicts nobody where it cannot be measured',
    { skip: process.platform === 'darwin' && 'vm_stat is here' },
    async () => {
      assert.equal(await availableMemory('darwin'), Infinity)
    },
  )
})
