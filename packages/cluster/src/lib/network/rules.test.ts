import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { choosePlan, gatewayOf } from './plan.ts'
import { renderPort } from './rules.ts'
import type { PortRules } from './rules.ts'
import type { ServedPort } from './service-ports.ts'
import { renderChange } from './service-proxy.ts'

const plan = choosePlan('00000a', 'namespaces', [])
const web: ServedPort = {
  key: 'shop/web/http/tcp',
  addresses: ['10.80.0.2'],
  protocol: 'tcp',
  port: 80,
  backends: [
    { ip: '10.64.0.2', port: 8080 },
    { ip: '10.64.0.3', port: 8080 },
  ],
}

function rulesOf(...ports: ServedPort[]): Map<string, PortRules> {
  const rendered = ports.map((port) => [port.key, renderPort(plan, port)] as const)
  return new Map(rendered.filter((entry): entry is [string, PortRules] => entry[1] !== undefined))
}

/** The commands that go from one set of ports to another, without the table's name. */
function change(before: ServedPort[], after: ServedPort[]): string[] {
  return renderChange(plan, rulesOf(...before), rulesOf(...after)).map((line) =>
    line.replace(' ip fairlead-00000a', ''),
  )
}

void describe('renderChange', () => {
  const chain = renderPort(plan, web)?.chain ?? ''

  void it('fills the chain before an address leads to it', () => {
    assert.deepEqual(change([], [web]), [
      `add chain ${chain}`,
      `flush chain ${chain}`,
      `add rule ${chain} meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.64.0.2 . 8080, 1 : 10.64.0.3 . 8080 }`,
      'add element hairpin { 10.64.0.2 . 10.64.0.2 }',
      'add element hairpin { 10.64.0.3 . 10.64.0.3 }',
      `add element services { 10.80.0.2 . tcp . 80 : goto ${chain} }`,
    ])
  })

  void it('touches nothing that stays', () => {
    const other = { ...web, key: 'shop/other/http/tcp', addresses: ['10.80.0.3'] }
    assert.deepEqual(change([web, other], [web, other]), [])
    assert.deepEqual(change([web, other], [web]), ['delete element services { 10.80.0.3 . tcp . 80 }'])
  })

  void it('takes the address away when nobody serves it', () => {
    assert.deepEqual(change([web], [{ ...web, backends: [] }]), [
      'delete element services { 10.80.0.2 . tcp . 80 }',
      'delete element hairpin { 10.64.0.2 . 10.64.0.2 }',
      'delete element hairpin { 10.64.0.3 . 10.64.0.3 }',
    ])
  })

  void it('frees an address before another Service takes it', () => {
    const heir = { ...web, key: 'shop/heir/http/tcp' }
    const commands = change([web], [heir])
    assert.equal(commands[0], 'delete element services { 10.80.0.2 . tcp . 80 }')
    assert.match(commands.at(-1) ?? '', /^add element services { 10\.80\.0\.2 \. tcp \. 80 : goto service-/)
  })
})

void describe('renderPort', () => {
  void it('has no rules for a headless Service', () => {
    assert.equal(renderPort(plan, { ...web, addresses: [] }), undefined)
  })

  void it('serves a node port at the address of the node', () => {
    const rules = renderPort(plan, { ...web, nodePort: 30080 })
    assert.deepEqual(rules?.keys, ['10.80.0.2 . tcp . 80', `${gatewayOf(plan)} . tcp . 30080`])
  })

  void it('gives a sticky Service a set of clients per endpoint', () => {
    const rules = renderPort(plan, { ...web, affinitySeconds: 60 })
    assert.equal(rules?.parts.length, 2)
    assert.match(rules?.commands.join('\n') ?? '', /flags dynamic, timeout; timeout 60s;/)
  })
})
