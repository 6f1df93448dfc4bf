// One server of the http benchmark: `node http-instance.ts bare|kit`. Prints its port.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createHandler, createRouteTable } from '@fairlead/service/http'
import { createLogger } from '@fairlead/service/log'

function answerOf(id: string): object {
  return { id, name: 'Ada', roles: ['admin', 'user'] }
}

function createBare() {
  return createServer((request, response) => {
    const body = JSON.stringify(answerOf((request.url ?? '').slice('/users/'.length)))
    response.writeHead(200, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(body),
    })
    response.end(body)
  })
}

function createKit() {
  const { router, match } = createRouteTable()
  router.get('/users/:id', ({ params }) => answerOf(params.id))
  return createServer(createHandler({ match, log: createLogger({ level: 'silent' }) }))
}

const server = process.argv[2] === 'bare' ? createBare() : createKit()
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))
