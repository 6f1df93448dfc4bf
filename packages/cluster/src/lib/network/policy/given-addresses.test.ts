import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Pod } from '@fairlead/kube/types/core-v1'
import { createGivenAddresses } from './given-addresses.ts'

const pod = (uid: string, status: Pod['status'] = {}): Pod => ({ metadata: { uid }, status })

void describe('createGivenAddresses', () => {
  it('knows an address before the status of the pod, and that it was taken back', () => {
    const addresses = createGivenAddresses()
    addresses.give('a', '10.64.0.2')
    assert.equal(addresses.of(pod('a')), '10.64.0.2')
    assert.equal(addresses.takeBack('a'), true)
    assert.equal(addresses.of(pod('a', { podIP: '10.64.0.2' })), undefined)
    assert.equal(addresses.takeBack('b'), false)
  })

  it('believes the status of other pods while they run', () => {
    const addresses = createGivenAddresses()
    assert.equal(addresses.of(pod('b', { podIP: '10.64.0.3', phase: 'Running' })), '10.64.0.3')
    assert.equal(addresses.of(pod('b', { podIP: '10.64.0.3', phase: 'Failed' })), undefined)
    assert.equal(addresses.of(pod('b', { podIP: '' })), undefined)
  })

  it('forgets pods that are gone, also those whose object went before their address', () => {
    const addresses = createGivenAddresses()
    for (const uid of ['gone', 'going', 'made']) addresses.give(uid, '10.64.0.2')
    for (const uid of ['gone', 'going']) addresses.takeBack(uid)
    addresses.forgetOthers([pod('going')])
    assert.equal(addresses.size, 2)
    // Its object may not have been seen yet.
    assert.equal(addresses.of(pod('made')), '10.64.0.2')
  })
})
