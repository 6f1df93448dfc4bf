import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createAddressPool } from './addresses.ts'
import { cidrContains, overlaps, parseCidr, renderCidr } from './cidr.ts'
import type { Cidr } from './cidr.ts'
import { choosePlan, dnsAddressOf, gatewayOf, openPlan } from './plan.ts'

function cidr(text: string): Cidr {
  const range = parseCidr(text)
  assert.ok(range, text)
  return range
}

void describe('parseCidr', () => {
  const cases = [
    { text: '10.1.2.3/8', expected: '10.0.0.0/8' },
    { text: '255.255.255.255', expected: '255.255.255.255/32' },
    { text: '0.0.0.0/0', expected: '0.0.0.0/0' },
    { text: '10.1.2/8', expected: undefined },
    { text: '10.1.2.256', expected: undefined },
    { text: '10.0.0.0/33', expected: undefined },
    { text: 'fd00::/8', expected: undefined },
  ]
  for (const { text, expected } of cases) {
    void it(text, () => {
      const range = parseCidr(text)
      assert.equal(range === undefined ? undefined : renderCidr(range), expected)
    })
  }
})

void describe('overlaps', () => {
  void it('sees containment both ways, and neighbours apart', () => {
    assert.ok(overlaps(cidr('10.0.0.0/8'), cidr('10.64.0.0/20')))
    assert.ok(overlaps(cidr('10.64.0.0/20'), cidr('10.0.0.0/8')))
    assert.ok(!overlaps(cidr('10.64.0.0/20'), cidr('10.64.16.0/20')))
    assert.ok(cidrContains(cidr('240.0.0.0/4'), '255.0.0.1'))
  })
})

void describe('choosePlan', () => {
  void it('spreads clusters and stays inside its ranges', () => {
    const ids = ['000000', '0000ff', 'ffffff']
    const plans = ids.map((id) => choosePlan(id, 'namespaces', []))
    assert.equal(new Set(plans.map(({ podCidr }) => podCidr)).size, 2)
    for (const { podCidr, serviceCidr } of plans) {
      assert.ok(overlaps(cidr('10.64.0.0/12'), cidr(podCidr)))
      assert.ok(overlaps(cidr('10.80.0.0/12'), cidr(serviceCidr)))
    }
  })

  void it('goes on to the next range when one is taken, and gives up when all are', () => {
    const plan = choosePlan('000000', 'namespaces', [cidr('10.64.0.0/19'), cidr('10.80.0.0/20')])
    assert.equal(plan.podCidr, '10.64.32.0/20')
    assert.equal(plan.serviceCidr, '10.80.16.0/20')
    assert.equal(gatewayOf(plan), '10.64.32.1')
    assert.equal(dnsAddressOf(plan), '10.80.16.10')
    assert.throws(() => choosePlan('000000', 'namespaces', [cidr('10.0.0.0/8')]), {
      code: 'FAIRLEAD_CLUSTER_NETWORK_RANGE',
    })
  })

  void it('stays on loopback for processes', () => {
    for (const id of ['000000', 'ffffff']) {
      assert.ok(overlaps(cidr('127.0.0.0/8'), cidr(choosePlan(id, 'processes', []).podCidr)))
    }
  })
})

void describe('openPlan', () => {
  void it('keeps its choice, and makes a new one when the file is damaged', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-plan-'))
    try {
      const plan = await openPlan(dir, 'processes')
      assert.deepEqual(await openPlan(dir, 'processes'), plan)
      await writeFile(join(dir, 'network-processes.json'), '{"id"')
      assert.deepEqual(await openPlan(dir, 'processes'), plan)
    } finally {
      await rm(dir, { recursive: true })
    }
  })
})

void describe('createAddressPool', () => {
  void it('lets a freed address rest while others are free', () => {
    const pool = createAddressPool('10.0.0.0/29')
    assert.equal(pool.take(), '10.0.0.2')
    pool.release('10.0.0.2')
    assert.deepEqual(
      [pool.take(), pool.take(), pool.take(), pool.take()],
      ['10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6'],
    )
    assert.equal(pool.take(), '10.0.0.2')
    assert.throws(() => pool.take(), { code: 'FAIRLEAD_CLUSTER_NETWORK_ADDRESSES' })
  })

  void it('goes on after claimed addresses', () => {
    const pool = createAddressPool('10.0.0.0/24')
    assert.equal(pool.claim('10.0.0.9'), true)
    assert.equal(pool.claim('10.0.0.9'), false)
    assert.equal(pool.claim('10.0.1.9'), false)
    assert.equal(pool.take(), '10.0.0.10')
  })
})
