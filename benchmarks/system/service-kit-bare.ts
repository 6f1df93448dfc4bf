// Bare node:http in the service-kit benchmark. Prints its port on standard error.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

// Its connections rest while the others are measured.
const server = createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
  const id = (request.url ?? '').slice('/users/'.length)
  const body = JSON.stringify({ id, name: 'Ada', roles: ['admin', 'user'] })
  response.writeHead(200, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
  })
  response.end(body)
})
server.listen(0, '127.0.0.1', () => console.error((server.address() as AddressInfo).port))
