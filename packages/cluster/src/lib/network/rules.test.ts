import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { staleFlows } from './flows.ts'
import { servedHostPorts } from './host-ports.ts'
import { choosePlan, gatewayOf } from './plan.ts'
import { homesOf, renderPort } from './rules.ts'
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
  return new Map(ports.flatMap((port) => renderPort(plan, port)))
}

/** The commands that go from one set of ports to another, without the table's name. */
function change(before: ServedPort[], after: ServedPort[]): string[] {
  return renderChange(plan, rulesOf(...before), rulesOf(...after)).map((line) =>
    line.replace(' ip fairlead-00000a', ''),
  )
}

void describe('renderChange', () => {
  const chain = renderPort(plan, web)[0]?.[1].chain ?? ''

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
    assert.deepEqual(renderPort(plan, { ...web, addresses: [] }), [])
  })

  void it('serves a node port at the address of the node', () => {
    const keysOf = (port: ServedPort): string[] => renderPort(plan, port).flatMap(([, { keys }]) => keys)
    const [inside, node] = ['services 10.80.0.2 . tcp . 80', `services ${gatewayOf(plan)} . tcp . 30080`]
    assert.deepEqual(keysOf({ ...web, nodePort: 30080 }), [inside, node])
    // UDP has no listener on loopback, so rules do it.
    assert.equal(keysOf({ ...web, protocol: 'udp', nodePort: 30080 }).at(-1), 'services 127.0.0.1 . udp . 30080')
  })

  void it('leads external addresses to their own endpoints where the policies differ', () => {
    const port = { ...web, nodePort: 30080, externalAddresses: ['192.0.2.1'], externalBackends: web.backends.slice(1) }
    const [[, inside], [, outside]] = renderPort(plan, port) as [[string, PortRules], [string, PortRules]]
    assert.deepEqual([inside.keys, inside.addresses], [['services 10.80.0.2 . tcp . 80'], ['10.64.0.2', '10.64.0.3']])
    const node = `services ${gatewayOf(plan)} . tcp . 30080`
    assert.deepEqual([outside.keys, outside.addresses], [['external 192.0.2.1 . tcp . 80', node], ['10.64.0.3']])
    assert.equal(renderPort(plan, { ...port, externalBackends: [] }).length, 1)
  })

  void it('sends pods of a node to its endpoints first, and drops what a policy leaves nobody for', () => {
    const backendsOfNodes = new Map([
      ['first', web.backends.slice(1)],
      ['second', []],
    ])
    const [rules] = renderPort(plan, { ...web, backendsOfNodes }).map(([, rendered]) => rendered)
    const [first = '', second = ''] = rules?.chains ?? []
    const chosen = (rules?.commands ?? []).filter((command) => command.startsWith('add rule'))
    const short = chosen.map((command) => command.replace(/^add rule ip \S+ /, ''))
    assert.deepEqual(short.slice(0, 4), [
      `${first} meta l4proto tcp dnat ip to 10.64.0.3:8080`,
      `${second} drop`,
      `${rules?.chain} ip saddr @${homesOf('first')} goto ${first}`,
      `${rules?.chain} ip saddr @${homesOf('second')} goto ${second}`,
    ])
    const unserved = renderPort(plan, { ...web, backends: [], dropsUnserved: true })[0]?.[1].commands.at(-1)
    assert.match(unserved ?? '', / drop$/)
  })

  void it('looks at the clients of a load balancer, not at those of the address and the node port', () => {
    const port: ServedPort = { ...web, protocol: 'udp', balancedAddress: '127.0.0.1', nodePort: 30080 }
    const sourceRanges = ['192.0.2.0/24', '192.0.2.128/25', '198.51.100.7']
    const limited = renderPort(plan, { ...port, sourceRanges }).filter(([, { commands }]) =>
      commands.some((command) => command.endsWith('ip saddr != { 192.0.2.0/24, 198.51.100.7/32 } drop')),
    )
    assert.deepEqual(
      limited.flatMap(([, { keys }]) => keys),
      ['services 127.0.0.1 . udp . 80'],
    )
  })

  const redirect = { ip: gatewayOf(plan), port: 4000 }
  const rulesIn = (port: ServedPort): string[] =>
    renderPort(plan, port).flatMap(([, { commands }]) =>
      commands
        .filter((command) => command.startsWith('add rule'))
        .map((command) => command.split(' ').slice(5).join(' ')),
    )

  void it('redirects before anything else while there is a lease, and spreads as ever when there is none', () => {
    const plain = { ...web, affinitySeconds: 60, backendsOfNodes: new Map([['first', web.backends.slice(1)]]) }
    const away = `meta l4proto tcp meta l4proto @lease dnat ip to ${redirect.ip}:4000`
    const [first, ...rest] = [rulesIn({ ...plain, redirect }), rulesIn(plain)]
    assert.deepEqual(
      first.filter((rule) => rule !== away),
      rest[0],
    )
    assert.equal(first.indexOf(away), first.findIndex((rule) => rule.startsWith('ip saddr @node-')) - 1)
    assert.equal(first.filter((rule) => rule === away).length, 1)
  })

  void it('redirects a port that nobody serves, which is refused without a lease', () => {
    const only = rulesIn({ ...web, backends: [], redirect })
    assert.equal(only.length, 1)
    assert.match(only[0] ?? '', /@lease dnat/)
    assert.deepEqual(rulesIn({ ...web, backends: [], redirect, dropsUnserved: true }).slice(1), ['drop'])
  })

  void it('gives a sticky Service a set of clients per endpoint', () => {
    const rules = renderPort(plan, { ...web, affinitySeconds: 60 })[0]?.[1]
    assert.equal(rules?.parts.length, 2)
    assert.match(rules?.commands.join('\n') ?? '', /flags dynamic, timeout; timeout 60s;/)
  })
})

void describe('staleFlows', () => {
  const dns: ServedPort = { ...web, protocol: 'udp', port: 53 }
  const fewer: ServedPort = { ...dns, backends: dns.backends.slice(1) }
  const nobody: ServedPort = { ...dns, backends: [] }
  const cases: { name: string; before: ServedPort[]; after: ServedPort[]; expected: string[] }[] = [
    {
      name: 'those to endpoints that went',
      before: [dns],
      after: [fewer],
      expected: ['--reply-src 10.64.0.2 --reply-port-src 8080'],
    },
    {
      name: 'those to a port that an endpoint left',
      before: [fewer],
      after: [{ ...dns, backends: [{ ip: '10.64.0.3', port: 9090 }] }],
      expected: ['--reply-src 10.64.0.3 --reply-port-src 8080'],
    },
    {
      name: 'those to what nobody served',
      before: [nobody],
      after: [dns],
      expected: ['--orig-dst 10.80.0.2 --orig-port-dst 53'],
    },
    { name: 'none of TCP, whose clients notice', before: [web], after: [], expected: [] },
    { name: 'none when an endpoint comes', before: [fewer], after: [dns], expected: [] },
  ]
  for (const { name, before, after, expected } of cases) {
    void it(`are ${name}`, () => {
      const flows = staleFlows(rulesOf(...before), rulesOf(...after))
      assert.deepEqual(
        flows.map((args) => args.join(' ')),
        expected,
      )
    })
  }
})

void describe('servedHostPorts', () => {
  const inside = ['services 127.0.0.1 . tcp . 8080', `services ${gatewayOf(plan)} . tcp . 8080`]
  const cases = [
    { hostIp: '', keys: inside },
    { hostIp: '127.0.0.1', keys: inside.slice(0, 1) },
    { hostIp: '192.0.2.1', keys: ['external 192.0.2.1 . tcp . 8080'] },
    { hostIp: '0.0.0.0', keys: [...inside, 'everywhere tcp . 8080'] },
  ]
  for (const { hostIp, keys } of cases) {
    void it(`are reached with hostIP "${hostIp}" at ${keys.join(' and ')}`, () => {
      const port = { hostIp, hostPort: 8080, containerPort: 80, protocol: 'tcp' } as const
      const rendered = servedHostPorts(plan, 'u', '10.64.0.9', [port]).flatMap((served) => renderPort(plan, served))
      assert.deepEqual(
        rendered.flatMap(([, rules]) => rules.keys),
        keys,
      )
    })
  }
})
