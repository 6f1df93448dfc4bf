import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Gateway, HttpRoute } from '../objects.ts'
import { describeRule, makeWorld, ruleFor } from '../testing.ts'
import { assignAddresses } from './gateway-addresses.ts'

const host = '127.0.0.1'

interface Wanted {
  readonly listeners: { port: number; hostname?: string; protocol?: string }[]
  /** In seconds. */
  readonly age?: number
  readonly asked?: string
  readonly known?: string
}

function gateway(name: string, { listeners, age = 0, asked, known }: Wanted): Gateway {
  const creationTimestamp = new Date(Date.UTC(2026, 0, 1) - age * 1000).toISOString()
  return {
    metadata: { name, namespace: 'shop', creationTimestamp },
    spec: {
      gatewayClassName: 'fairlead',
      listeners: listeners.map((one, index) => ({ name: `l${index}`, protocol: 'HTTP', ...one })),
      ...(asked === undefined ? {} : { addresses: [{ type: 'IPAddress', value: asked }] }),
    },
    ...(known === undefined ? {} : { status: { addresses: [{ type: 'IPAddress', value: known }] } }),
  }
}

const cases: readonly { name: string; gateways: Record<string, Wanted>; expected: Record<string, string> }[] = [
  {
    name: 'shares the address of the host among other ports and hostnames',
    gateways: {
      a: { listeners: [{ port: 80, hostname: 'a.localhost' }] },
      b: { listeners: [{ port: 80, hostname: 'b.localhost' }, { port: 81 }] },
    },
    expected: { a: host, b: host },
  },
  {
    name: 'gives the younger of two that could be mistaken for each other another',
    gateways: {
      young: { listeners: [{ port: 80 }] },
      old: { listeners: [{ port: 80, hostname: 'a.localhost' }], age: 9 },
    },
    expected: { young: '127.0.80.1', old: host },
  },
  {
    name: 'tells protocols of one port apart',
    gateways: {
      a: { listeners: [{ port: 80, hostname: 'a.localhost' }], age: 1 },
      b: { listeners: [{ port: 80, hostname: 'b.localhost', protocol: 'HTTPS' }] },
    },
    expected: { a: host, b: '127.0.80.1' },
  },
  {
    name: 'leaves a Gateway where it is when the other has gone',
    gateways: { b: { listeners: [{ port: 80 }], known: '127.0.80.7' } },
    expected: { b: '127.0.80.7' },
  },
  {
    name: 'takes the address that is asked for, but none beyond loopback',
    gateways: {
      a: { listeners: [{ port: 80 }], asked: '127.0.0.9' },
      b: { listeners: [{ port: 80 }], asked: '192.0.2.1' },
    },
    expected: { a: '127.0.0.9', b: host },
  },
]

describe('assignAddresses', () => {
  for (const { name, gateways, expected } of cases) {
    it(name, () => {
      const made = Object.entries(gateways).map(([key, wanted]) => gateway(key, wanted))
      const found = [...assignAddresses(made, { host })].map(([{ metadata }, address]) => [metadata?.name, address])
      assert.deepEqual(Object.fromEntries(found), expected)
    })
  }
})

describe('listeners of one port', () => {
  it('keep requests to themselves: a route of a wider listener has none for the name of a narrower one', () => {
    const routeOf = (name: string, sectionName: string, hostnames: string[]): HttpRoute => ({
      metadata: { name, namespace: 'shop' },
      spec: {
        parentRefs: [{ name: 'edge', sectionName }],
        hostnames,
        rules: [{ backendRefs: [{ name, port: 80 }] }],
      },
    })
    const world = makeWorld({
      gateways: [gateway('edge', { listeners: [{ port: 80 }, { port: 80, hostname: 'shop.localhost' }] })],
      httpRoutes: [routeOf('v1', 'l0', ['shop.localhost', 'other.localhost']), routeOf('v2', 'l1', ['shop.localhost'])],
    })
    const asked = (name: string): string => describeRule(ruleFor(world, `${host}:80`, { host: name }))
    assert.equal(asked('shop.localhost'), 'shop/v2:80=1')
    assert.equal(asked('other.localhost'), 'shop/v1:80=1')
  })
})
