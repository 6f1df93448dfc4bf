import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { readPreparation, renderBridge } from './host.ts'
import type { NetworkPlan } from './plan.ts'

const plan: NetworkPlan = { mode: 'namespaces', id: 'abc123', podCidr: '10.64.16.0/20', serviceCidr: '10.80.16.0/20' }

describe('renderBridge', () => {
  const rest = [
    'address replace 10.64.16.1/20 dev flabc123',
    'link set flabc123 up',
    'route replace 10.80.16.0/20 dev flabc123 src 10.64.16.1',
  ]
  const add = 'link add flabc123 address 0a:58:0a:40:10:01 type bridge mcast_snooping 0'
  const cases = [
    { name: 'adds a bridge that is not there', addresses: undefined, expected: [add, ...rest] },
    { name: 'completes one without an address', addresses: [], expected: ['address flush dev flabc123', ...rest] },
    { name: 'leaves one as it should be', addresses: ['10.64.16.1'], expected: rest },
    {
      name: 'takes away addresses of another range',
      addresses: ['10.70.0.1'],
      expected: ['address flush dev flabc123', ...rest],
    },
  ]
  for (const { name, addresses, expected } of cases) {
    it(name, () => assert.deepEqual(renderBridge(plan, addresses), expected))
  }
})

describe('readPreparation', () => {
  it('finds the rules of iptables after a guard that was taken', () => {
    const forwarding = '-P FORWARD DROP\n-A FORWARD -i docker0 -j ACCEPT\n'
    assert.deepEqual(readPreparation(`guard ended with 0\n${forwarding}`), { guardFailure: undefined, forwarding })
  })

  it('tells what a guard complained of, and goes on', () => {
    const output = '/dev/stdin:1:1-39: Error: Could not process rule\nguard ended with 1\n-P FORWARD ACCEPT\n'
    assert.deepEqual(readPreparation(output), {
      guardFailure: 'nft ended with exit code 1: /dev/stdin:1:1-39: Error: Could not process rule',
      forwarding: '-P FORWARD ACCEPT\n',
    })
  })

  it('finds no rules where there is no iptables', () => {
    assert.deepEqual(readPreparation('guard ended with 0\n'), { guardFailure: undefined, forwarding: '' })
  })
})
