import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, it } from 'node:test'
import { findPortHolder, listListeners, probePort } from './ports.ts'

describe('probePort', () => {
  it('tells a taken port from a free one, and who holds it', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    // A TCP server has an address with a port.
    const { port } = server.address() as AddressInfo
    assert.equal(await probePort(port), 'in-use')
    if (process.platform === 'linux') assert.equal(findPortHolder(port)?.pid, process.pid)
    server.close()
    await once(server, 'close')
    assert.equal(await probePort(port), 'free')
    assert.equal(findPortHolder(port), undefined)
  })
})

describe('listListeners', () => {
  it('reads the sockets that listen, not those that are connected', () => {
    const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0000000000000000
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0000000000000000
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0000000000000000
`
    assert.deepEqual(listListeners(table, 8080), ['socket:[111]'])
  })
})
