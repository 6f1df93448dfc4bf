import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { compareHosts, findHost, hostMatches, hostOf, intersectHosts } from '../hostname.ts'
import { parseDurationMs } from '../compile/duration.ts'
import type { Cluster, TrafficPolicy } from '../model.ts'
import { chooseEndpoint, countOutcome, createEndpointState, createWeightedChoice } from './balance.ts'
import type { Candidate } from './balance.ts'
import { backoffOf, defaultRetry, isRetryable } from './retry.ts'
import { changePath, renderLocation } from './rewrite.ts'
import { speechOf } from './sniff.ts'

void describe('hostnames', () => {
  const pairs: readonly [string, string, string | undefined][] = [
    ['*', 'a.com', 'a.com'],
    ['*.a.com', 'b.a.com', 'b.a.com'],
    ['*.a.com', '*.b.a.com', '*.b.a.com'],
    ['*.a.com', 'a.com', undefined],
    ['a.com', 'b.com', undefined],
  ]
  for (const [a, b, expected] of pairs) {
    it(`${a} and ${b} have ${expected ?? 'nothing'} in common`, () => {
      assert.equal(intersectHosts(a, b), expected)
      assert.equal(intersectHosts(b, a), expected)
    })
  }

  it('finds the most specific entry', () => {
    const entries = new Map(['*', '*.com', '*.a.com', 'x.a.com'].map((name) => [name, name]))
    assert.deepEqual(
      ['x.a.com', 'y.a.com', 'z.y.a.com', 'b.com', 'localhost'].map((name) => findHost(entries, name)),
      ['x.a.com', '*.a.com', '*.a.com', '*.com', '*'],
    )
    assert.deepEqual([...entries.keys()].toSorted(compareHosts), ['x.a.com', '*.a.com', '*.com', '*'])
    assert.equal(hostMatches('*.a.com', 'a.com'), false)
    assert.equal(hostOf('[::1]:80'), '[::1]')
    assert.equal(hostOf('Shop.Example.com:8080'), 'shop.example.com')
  })
})

void describe('createWeightedChoice', () => {
  it('keeps shares over few requests, and over every second of them', () => {
    const choose = createWeightedChoice([90, 10], () => 0.3)
    const chosen = Array.from({ length: 1000 }, choose)
    const count = (list: readonly (number | undefined)[]): number => list.filter((index) => index === 1).length
    assert.ok(Math.abs(count(chosen) - 100) <= 2)
    assert.ok(Math.abs(count(chosen.filter((_, index) => index % 2 === 0)) - 50) <= 2)
  })

  it('never chooses what weighs nothing', () => {
    const choose = createWeightedChoice([0, 1, 0])
    assert.deepEqual(new Set(Array.from({ length: 100 }, choose)), new Set([1]))
    assert.equal(createWeightedChoice([0, 0])(), undefined)
  })
})

const policy: TrafficPolicy = {
  balance: { kind: 'least-request' },
  connectTimeoutMs: 1,
  outliers: { consecutive5xx: 2, consecutiveGatewayErrors: 0, ejectionMs: 1000, maxEjectionPercent: 50 },
}
const cluster: Cluster = { key: 'c', namespace: 'n', service: 's', port: 80, protocol: 'http1', endpoints: [], policy }

function candidates(count: number): Candidate[] {
  return Array.from({ length: count }, (_, index) => ({
    endpoint: { address: `10.0.0.${index}:80`, ip: `10.0.0.${index}`, port: 80, workload: 'w', version: 'v' },
    state: createEndpointState(),
  }))
}

void describe('chooseEndpoint', () => {
  const options = { balance: policy.balance, turn: 0, now: 0, random: Math.random }

  it('prefers the endpoint with fewer requests', () => {
    const [busy, free] = candidates(2)
    assert.ok(busy && free)
    busy.state.active = 5
    for (let index = 0; index < 20; index++) assert.equal(chooseEndpoint([busy, free], options), free)
  })

  it('takes one that was not tried, and again one that was when there is no other', () => {
    const [first, second] = candidates(2)
    assert.ok(first && second)
    assert.equal(chooseEndpoint([first, second], { ...options, tried: new Set([first]) }), second)
    assert.equal(chooseEndpoint([first], { ...options, tried: new Set([first]) }), first)
  })

  it('sends one client to one endpoint, and moves few when one goes', () => {
    const all = candidates(10)
    const hashed = (list: readonly Candidate[], hash: string): Candidate | undefined =>
      chooseEndpoint(list, { ...options, balance: { kind: 'hash', by: 'header', name: 'x' }, hash })
    const clients = Array.from({ length: 200 }, (_, index) => `client ${index}`)
    const moved = clients.filter((client) => {
      const before = hashed(all, client)
      return (
        before !== all[3] &&
        hashed(
          all.filter((one) => one !== all[3]),
          client,
        ) !== before
      )
    })
    assert.deepEqual(moved, [])
  })

  it('leaves out for a while what fails in a row, not more than it may, and none when all failed', () => {
    const all = candidates(3)
    const fail = (one: Candidate | undefined): void => {
      for (let index = 0; index < 2; index++) if (one) countOutcome(one.state, 503, { cluster, others: all, now: 0 })
    }
    fail(all[0])
    for (let index = 0; index < 20; index++) assert.notEqual(chooseEndpoint(all, options), all[0])
    fail(all[1])
    assert.equal(all[1]?.state.ejectedUntil, 0, 'two of three are more than half')
    assert.equal(chooseEndpoint(all.slice(0, 1), options), all[0])
    assert.ok(chooseEndpoint(all.slice(0, 1), { ...options, now: 2000 }))
  })
})

void describe('isRetryable', () => {
  const asked = { attempts: 2, on: ['5xx' as const], statuses: [429], backoffMs: 25 }
  const rows = [
    { name: 'what was not sent', policy: defaultRetry, attempt: { method: 'POST', isUnsent: true }, expected: true },
    {
      name: 'a GET without an answer',
      policy: defaultRetry,
      attempt: { method: 'GET', isUnsent: false },
      expected: true,
    },
    {
      name: 'no POST that was sent',
      policy: defaultRetry,
      attempt: { method: 'POST', isUnsent: false },
      expected: false,
    },
    {
      name: 'no 500 unless asked',
      policy: defaultRetry,
      attempt: { method: 'GET', isUnsent: false, status: 500 },
      expected: false,
    },
    {
      name: 'a 500 when asked',
      policy: asked,
      attempt: { method: 'POST', isUnsent: false, status: 500 },
      expected: true,
    },
    {
      name: 'a status that is named',
      policy: asked,
      attempt: { method: 'GET', isUnsent: false, status: 429 },
      expected: true,
    },
    { name: 'no 404', policy: asked, attempt: { method: 'GET', isUnsent: false, status: 404 }, expected: false },
  ]
  for (const row of rows) it(row.name, () => assert.equal(isRetryable(row.policy, row.attempt), row.expected))

  it('waits longer each time, within bounds', () => {
    assert.deepEqual(
      [1, 2, 3, 9].map((number) => backoffOf(asked, number, () => 1)),
      [25, 50, 100, 250],
    )
  })
})

void describe('changePath', () => {
  const segments = (value: string): { path: { kind: 'segments'; value: string } } => ({
    path: { kind: 'segments', value },
  })
  const rows: readonly [path: string, prefix: string, value: string, expected: string][] = [
    ['/foo/bar', '/foo', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/foo', '/xyz/', '/xyz/bar'],
    ['/foo/bar', '/foo/', '/xyz', '/xyz/bar'],
    ['/foo', '/foo', '/xyz', '/xyz'],
    ['/foo/', '/foo', '/xyz', '/xyz/'],
    ['/foo/bar', '/foo', '', '/bar'],
    ['/foo/', '/foo', '/', '/'],
    ['/foo', '/foo', '', '/'],
  ]
  // The table of Gateway API, HTTPPathModifier.replacePrefixMatch.
  for (const [path, prefix, value, expected] of rows) {
    it(`${path} with ${prefix} as ${value || 'nothing'} is ${expected}`, () =>
      assert.equal(changePath(path, { kind: 'prefix', value }, segments(prefix)), expected))
  }

  it('replaces by groups of an expression', () => {
    const change = { kind: 'regex' as const, pattern: '^/v1/(\\w+)', value: '/\\1/v2' }
    assert.equal(changePath('/v1/cart/x', change, undefined), '/cart/v2/x')
  })
})

void describe('renderLocation', () => {
  const asked = { scheme: 'http', authority: 'a.com:8080', host: 'a.com', path: '/x', query: 'q=1', port: 8080 }
  const rows: readonly [name: string, redirect: object, expected: string][] = [
    ['keeps the port that was asked for', { host: 'b.com' }, 'http://b.com:8080/x?q=1'],
    ['drops it with another scheme', { scheme: 'https' }, 'https://a.com/x?q=1'],
    ['leaves out ports that are understood', { port: 80 }, 'http://a.com/x?q=1'],
    ['takes a whole path', { path: { kind: 'full', value: '/new' } }, 'http://a.com:8080/new?q=1'],
  ]
  for (const [name, redirect, expected] of rows) {
    it(name, () => assert.equal(renderLocation({ status: 302, ...redirect }, asked, undefined), expected))
  }
})

void describe('speechOf', () => {
  const rows: readonly [string, string | undefined][] = [
    ['GET / HTTP/1.1', 'http1'],
    ['POST', 'http1'],
    ['PRI * HTTP/2.0\r\n', 'http2'],
    ['PR', undefined],
    ['\u0016\u0003\u0001', 'other'],
    ['hello', 'other'],
  ]
  for (const [bytes, expected] of rows)
    it(`${JSON.stringify(bytes)} is ${expected ?? 'too little'}`, () => assert.equal(speechOf(bytes), expected))
})

void describe('parseDurationMs', () => {
  const rows: readonly [string | undefined, number | undefined][] = [
    ['1.5s', 1500],
    ['2m30s', 150_000],
    ['100ms', 100],
    ['0s', 0],
    // Longer than a timer can wait, which would not wait at all.
    ['99999h', 2 ** 31 - 1],
    ['soon', undefined],
    [undefined, undefined],
  ]
  for (const [written, expected] of rows)
    it(`${written} is ${expected}`, () => assert.equal(parseDurationMs(written), expected))
})
