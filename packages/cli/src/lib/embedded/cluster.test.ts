import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { listIgnored } from '../commands/cluster-start.ts'
import { keepChoices } from './cluster.ts'
import type { ClusterChoices, ClusterProcess } from './files.ts'

const processes: ClusterProcess = {
  pid: 1,
  startTime: '1',
  state: 'ready',
  url: 'https://127.0.0.1:6443',
  runtime: { kind: 'processes', detail: 'process://24.21.0' },
  startedAt: '',
  choices: { runtime: 'process', durability: 'relaxed' },
}

/** Each choice, not made. */
const nothing: ClusterChoices = {
  runtime: undefined,
  durability: undefined,
  imagePolicy: undefined,
  auditLog: undefined,
  nodes: undefined,
  zones: undefined,
  auditPolicy: undefined,
  accessLog: undefined,
  noRegistry: undefined,
  noGateway: undefined,
  kubeletConfig: undefined,
}

describe('keepChoices', () => {
  it('takes what was asked for when nothing died', () => {
    assert.deepEqual(keepChoices({ runtime: 'runc' }, undefined), { ...nothing, runtime: 'runc' })
  })

  it('keeps the choices of a process that died, whose pods still run that way', () => {
    assert.deepEqual(keepChoices({}, processes), {
      ...nothing,
      runtime: 'process',
      durability: 'relaxed',
    })
    assert.deepEqual(keepChoices({ durability: 'strict' }, processes), {
      ...nothing,
      runtime: 'process',
      durability: 'strict',
    })
    assert.equal(keepChoices({}, { ...processes, choices: { noRegistry: true } }).noRegistry, true)
    assert.equal(keepChoices({}, { ...processes, choices: { noGateway: true } }).noGateway, true)
  })

  it('refuses to run the pods of a process that died in another way', () => {
    assert.throws(() => keepChoices({ runtime: 'runc' }, processes), {
      code: 'FAIRLEAD_CLI_USAGE',
      message: 'Cannot use "--runtime runc": the cluster died, and its pods still run as process 24.21.0',
    })
  })
})

describe('listIgnored', () => {
  it('names what the registry of a running cluster does not have', () => {
    const served: ClusterProcess = { ...processes, registry: { state: 'ready', address: '127.0.0.1:5000' } }
    assert.deepEqual(listIgnored({ registryPort: 5000 }, served), [])
    assert.deepEqual(listIgnored({ registryPort: 5001, noRegistry: true }, served), [
      '--registry-port 5001',
      '--no-registry',
    ])
    assert.deepEqual(listIgnored({ noRegistry: true }, processes), [])
  })

  it('names the options that a running cluster does not have', () => {
    assert.deepEqual(listIgnored({ port: 7000, runtime: 'runc', durability: 'strict' }, processes), [
      '--port 7000',
      '--runtime runc',
      '--durability strict',
    ])
    assert.deepEqual(listIgnored({ port: 6443, runtime: 'process', durability: 'relaxed' }, processes), [])
    assert.deepEqual(listIgnored({ runtime: 'auto' }, processes), [])
    assert.deepEqual(listIgnored({ noGateway: true }, processes), ['--no-gateway'])
    assert.deepEqual(listIgnored({ accessLog: '/a' }, processes), ['--access-log /a'])
    assert.deepEqual(listIgnored({ noGateway: true }, { ...processes, choices: { noGateway: true } }), [])
  })
})
