import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createPeerUid, findUid } from './peer.ts'

/** As x86-64 prints it: 127.0.0.1:50000 to 127.0.0.1:5000 by uid 1001, the same closed by somebody, and others. */
const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1588 1 000000009a591423 100 0 0 10 0
   1: 0100007F:C350 0100007F:1388 01 00000000:00000000 00:00000000 00000000  1001        0 7001 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:1388 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 7002 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:C351 0100007F:1388 06 00000000:00000000 03:0000073E 00000000     0        0 0 3 0000000041e3cff7
   4: 0100007F:C352 0100007F:1388 04 00000000:00000000 01:00000014 00000000     0        0 0 3 0000000041e3cff8
   5: 0100007F:C353 0100007F:1388 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1
`
const server = { address: '127.0.0.1', port: 5000 }
const client = (port: number): { address: string; port: number } => ({ address: '127.0.0.1', port })

describe('findUid', () => {
  const isLittle = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1
  const options = { skip: isLittle ? false : 'the table is one of a little-endian processor' }

  it('tells the owner of the other end, not of ours', options, () => {
    assert.equal(findUid(table, client(50_000), server), 1001)
    assert.equal(findUid(table, client(50_009), server), undefined)
    assert.equal(findUid('', client(50_000), server), undefined)
  })

  it('does not take a socket that its process has closed for one of root', options, () => {
    for (const port of [50_001, 50_002, 50_003]) assert.equal(findUid(table, client(port), server), undefined)
  })

  it('knows IPv6 addresses, and IPv4 ones within them', options, () => {
    const six = table
      .replaceAll('0100007F:', '00000000000000000000000001000000:')
      .replaceAll('00000000:0000 0A', '00000000000000000000000000000000:0000 0A')
    assert.equal(findUid(six, { address: '::1', port: 50_000 }, { address: '::1', port: 5000 }), 1001)
    const mapped = table.replaceAll('0100007F:', '0000000000000000FFFF00000100007F:')
    assert.equal(findUid(mapped, { ...client(50_000), address: '::ffff:127.0.0.1' }, server), 1001)
    assert.equal(findUid(mapped, client(50_000), server), 1001)
  })
})

describe('createPeerUid', () => {
  it('says nothing of connections from elsewhere, or where there is no table', async () => {
    const read = (): Promise<string> => Promise.reject(new Error('ENOENT'))
    const socket = { remoteAddress: '127.0.0.1', remotePort: 50_000, localAddress: '127.0.0.1', localPort: 5000 }
    assert.equal(await createPeerUid(read)(socket as never), undefined)
    const far = { ...socket, remoteAddress: '10.0.0.7' }
    assert.equal(await createPeerUid(() => Promise.resolve(table))(far as never), undefined)
  })
})
