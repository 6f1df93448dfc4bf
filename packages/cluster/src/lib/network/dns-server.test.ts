import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { promises as dns } from 'node:dns'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { decode, encode } from 'dns-packet'
import type { Answer } from 'dns-packet'
import type { Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { createForwarder, parseNameServers } from './dns-forwarder.ts'
import { openDnsServer } from './dns-server.ts'
import type { DnsServer } from './dns-server.ts'
import { createServiceTable } from './service-table.ts'
import { createMemorySource, makeService, makeSlice } from './testing.ts'

void describe('openDnsServer', () => {
  const many = Array.from({ length: 120 }, (_, i) => `10.64.1.${i + 2}`)
  const table = createServiceTable(
    createMemorySource<Service>([
      makeService('cart', { clusterIP: '10.80.0.20', ports: [{ port: 80 }] }),
      makeService('many', { clusterIP: 'None', ports: [{ port: 80 }] }),
      makeService('pay', { type: 'ExternalName', externalName: 'api.example' }),
    ]),
    createMemorySource<EndpointSlice>([makeSlice('many', [{ port: 80, protocol: 'TCP' }], many)]),
  )
  let upstream: Socket
  let server: DnsServer
  let questions = 0
  let isSilent = false
  const resolver = new dns.Resolver({ timeout: 30_000, tries: 1 })

  before(async () => {
    upstream = createSocket('udp4').bind(0, '127.0.0.1')
    upstream.on('message', (query, client) => {
      if (isSilent) return
      questions++
      const { id = 0, questions: asked = [] } = decode(query)
      const name = asked[0]?.name ?? ''
      const answers: Answer[] = name === 'api.example' ? [{ type: 'A', name, ttl: 60, data: '192.0.2.1' }] : []
      const flags = (1 << 7) | (name === 'api.example' ? 0 : 3)
      upstream.send(encode({ type: 'response', id, flags, questions: asked, answers }), client.port, client.address)
    })
    await once(upstream, 'listening')
    server = await openServer({ attemptMs: 30_000, deadlineMs: 30_000 })
    resolver.setServers([`127.0.0.1:${server.port}`])
  })
  function openServer(limits: { attemptMs: number; deadlineMs: number }): Promise<DnsServer> {
    const forwarder = createForwarder([{ host: '127.0.0.1', port: upstream.address().port }], limits)
    return openDnsServer({ host: '127.0.0.1', entries: table.entries, forwarder, ranges: ['10.64.0.0/12'] })
  }
  after(async () => {
    table.close()
    await server.close()
    upstream.close()
  })

  void it('answers for the cluster over UDP', async () => {
    assert.deepEqual(await resolver.resolve4('cart.shop.svc.cluster.local', { ttl: true }), [
      { address: '10.80.0.20', ttl: 5 },
    ])
  })

  void it('tells a name that does not exist from a type that does not', async () => {
    await assert.rejects(resolver.resolve4('no.shop.svc.cluster.local'), { code: 'ENOTFOUND' })
    await assert.rejects(resolver.resolve6('cart.shop.svc.cluster.local'), { code: 'ENODATA' })
  })

  void it('cuts an answer too long for UDP, so that the client asks again over TCP', async () => {
    const addresses = await resolver.resolve4('many.shop.svc.cluster.local')
    assert.deepEqual(addresses.toSorted(), many.toSorted())
  })

  void it('asks outside once for what it may keep', async () => {
    questions = 0
    assert.deepEqual(await resolver.resolve4('api.example'), ['192.0.2.1'])
    assert.deepEqual(await resolver.resolve4('api.example'), ['192.0.2.1'])
    assert.equal(questions, 1)
    await assert.rejects(resolver.resolve4('nowhere.example'), { code: 'ENOTFOUND' })
  })

  void it('completes an alias with the records outside', async () => {
    assert.deepEqual(await resolver.resolve4('pay.shop.svc.cluster.local'), ['192.0.2.1'])
  })

  void it('answers IPv6 and its own reverse names without asking outside', async () => {
    questions = 0
    await assert.rejects(resolver.resolve6('ipv6.example'), { code: 'ENODATA' })
    await assert.rejects(resolver.reverse('10.64.9.9'), { code: 'ENOTFOUND' })
    assert.equal(questions, 0)
  })

  void it('fails in time when nobody outside answers', async () => {
    isSilent = true
    const hasty = await openServer({ attemptMs: 100, deadlineMs: 150 })
    const asking = new dns.Resolver({ timeout: 30_000, tries: 1 })
    asking.setServers([`127.0.0.1:${hasty.port}`])
    await assert.rejects(asking.resolve4('slow.example'), { code: 'ESERVFAIL' })
    await hasty.close()
    isSilent = false
  })

  void it('answers several queries of one TCP connection, also when they come in pieces', async () => {
    const socket = connect(server.port, '127.0.0.1')
    const frames = ['cart.shop.svc.cluster.local', 'no.shop.svc.cluster.local'].map((name, id) => {
      const query = encode({ type: 'query', id, questions: [{ type: 'A', name }] })
      return Buffer.concat([Buffer.from([0, query.length]), query])
    })
    const bytes = Buffer.concat(frames)
    socket.write(bytes.subarray(0, 7))
    await new Promise((resolve) => setImmediate(resolve))
    socket.write(bytes.subarray(7))
    let held = Buffer.alloc(0)
    for await (const chunk of socket) {
      held = Buffer.concat([held, chunk])
      const first = held.length > 2 ? held.readUInt16BE(0) + 2 : Infinity
      if (held.length > first + 2 && held.length >= first + 2 + held.readUInt16BE(first)) break
    }
    assert.equal(decode(held.subarray(2)).answers?.length, 1)
  })

  void it('refuses what it cannot read, and stays silent to answers', async () => {
    const socket = createSocket('udp4')
    socket.bind(0, '127.0.0.1')
    const codes: number[] = []
    socket.on('message', (answer) => codes.push((answer[3] ?? 0) & 15))
    const garbage = Buffer.from('00010100000100000000000099', 'hex')
    const update = Buffer.from('000229000001000000000000', 'hex')
    const answer = Buffer.from('000380000001000000000000', 'hex')
    for (const bytes of [answer, garbage, update]) socket.send(bytes, server.port, '127.0.0.1')
    while (codes.length < 2) await once(socket, 'message')
    socket.close()
    assert.deepEqual(codes, [1, 4])
  })
})

void describe('parseNameServers', () => {
  void it('reads the IPv4 servers', () => {
    const text = '# comment\nsearch lan\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n nameserver\t1.1.1.1 \n'
    assert.deepEqual(
      parseNameServers(text).map(({ host }) => host),
      ['192.0.2.53', '1.1.1.1'],
    )
  })
})
