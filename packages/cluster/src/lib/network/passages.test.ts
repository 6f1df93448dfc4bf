import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { describe, it } from 'node:test'
import { createPassages } from './passages.ts'
import type { PolicyFacts } from './policy/facts.ts'

const pods = ['2', '3'].map((last) => ({
  uid: last,
  namespace: 'shop',
  labels: { app: last },
  ip: `10.64.0.${last}`,
  ports: [],
}))
const denied: PolicyFacts = {
  policies: [{ metadata: { namespace: 'shop', name: 'deny' }, spec: { podSelector: {} } }],
  pods,
  namespaces: new Map([['shop', {}]]),
}

void describe('createPassages', () => {
  void it('asks nothing while there are no policies, and follows them', () => {
    let facts: PolicyFacts | undefined
    const passages = createPassages({ node: '10.64.0.1', facts: () => facts })
    assert.equal(passages.permissionOf('10.64.0.2'), undefined)
    facts = denied
    const permission = passages.permissionOf('10.64.0.2')
    assert.deepEqual([permission?.('10.64.0.3', 80), permission?.('10.64.0.2', 80)], [false, true])
    assert.equal(passages.permissionOf('10.64.0.2'), permission)
    facts = { ...denied, policies: [] }
    assert.equal(passages.permissionOf('10.64.0.2')?.('10.64.0.3', 80), true)
  })

  void it('lets the node in, but no client that happens to be on this machine', () => {
    const passages = createPassages({ node: '10.64.0.1', facts: () => denied })
    assert.equal(passages.permissionOf('10.64.0.1')?.('10.64.0.3', 80), true)
    assert.equal(passages.permissionOf('127.0.0.1')?.('10.64.0.3', 80), false)
  })

  void it('lets the gateway in where policies name it, for clients at the edge only', () => {
    const ingress = [{ from: [{ namespaceSelector: { matchLabels: { name: 'kube-system' } } }] }]
    const policies = [{ metadata: { namespace: 'shop', name: 'edge' }, spec: { podSelector: {}, ingress } }]
    const namespaces = new Map([['kube-system', { name: 'kube-system' }]])
    const passages = createPassages({ node: '10.64.0.1', facts: () => ({ ...denied, policies, namespaces }) })
    assert.equal(passages.permissionOf('192.0.2.1', { isEdge: true })?.('10.64.0.3', 80), true)
    assert.equal(passages.permissionOf('192.0.2.1')?.('10.64.0.3', 80), false)
  })

  void it('knows for whom a connection of ours is made, as long as it lasts', async () => {
    const server = createServer((socket) => void socket.on('error', () => {})).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const ours = connect(port, '127.0.0.1')
    const [[theirs]] = (await Promise.all([once(server, 'connection'), once(ours, 'connect')])) as [[Socket], unknown]
    const passages = createPassages({ node: '127.0.0.1', facts: () => undefined })
    passages.note(ours, '192.0.2.7')
    const client = (localPort = port): string =>
      passages.clientOf({ remotePort: theirs.remotePort, localPort }, '127.0.0.1')
    assert.equal(client(), '192.0.2.7')
    assert.equal(client(port + 1), '127.0.0.1')
    ours.destroy()
    await once(ours, 'close')
    assert.equal(client(), '127.0.0.1')
    server.close()
  })
})
