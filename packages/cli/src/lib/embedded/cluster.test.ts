import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { listIgnored } from '../commands/cluster-start.ts'
import { keepChoices } from './cluster.ts'
import type { ClusterProcess } from './files.ts'

const processes: ClusterProcess = {
  pid: 1,
  startTime: '1',
  state: 'ready',
  url: 'https://127.0.0.1:6443',
  runtime: { kind: 'processes', detail: 'process://24.21.0' },
  startedAt: '',
  choices: { runtime: 'process', durability: 'relaxed' },
}

describe('keepChoices', () => {
  it('takes what was asked for when nothing died', () => {
    assert.deepEqual(keepChoices({ runtime: 'runc' }, undefined), { runtime: 'runc', durability: undefined })
  })

  it('keeps the choices of a process that died, whose pods still run that way', () => {
    assert.deepEqual(keepChoices({}, processes), { runtime: 'process', durability: 'relaxed' })
    assert.deepEqual(keepChoices({ durability: 'strict' }, processes), { runtime: 'process', durability: 'strict' })
  })

  it('refuses to run the pods of a process that died in another way', () => {
    assert.throws(() => keepChoices({ runtime: 'runc' }, processes), {
      code: 'FAIRLEAD_CLI_USAGE',
      message: 'Cannot use "--runtime runc": the cluster died, and its pods still run as process 24.21.0',
    })
  })
})

describe('listIgnored', () => {
  it('names the options that a running cluster does not have', () => {
    assert.deepEqual(listIgnored({ port: 7000, runtime: 'runc', durability: 'strict' }, processes), [
      '--port 7000',
      '--runtime runc',
      '--durability strict',
    ])
    assert.deepEqual(listIgnored({ port: 6443, runtime: 'process', durability: 'relaxed' }, processes), [])
    assert.deepEqual(listIgnored({ runtime: 'auto' }, processes), [])
  })
})
