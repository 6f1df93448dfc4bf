// One server of the service-kit benchmark: `node service-kit-instance.ts bare|kit`. Prints its port as the last line of its start on
// standard error: standard output is for the log. What the kit has switched on is said by the environment, as in production.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { service, start } from '@fairlead/service'

function answerOf(id: string): object {
  return { id, name: 'Ada', roles: ['admin', 'user'] }
}

function startBare(): Promise<number> {
  // Its connections rest while the others are measured.
  const server = createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
    const body = JSON.stringify(answerOf((request.url ?? '').slice('/users/'.length)))
    response.writeHead(200, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(body),
    })
    response.end(body)
  })
  const { promise, resolve } = Promise.withResolvers<number>()
  server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  return promise
}

async function startKit(): Promise<number> {
  const users = service({
    name: 'users',
    http: (router) => router.get('/users/:id', ({ params }) => answerOf(params.id)),
  })
  return (await start(users, { port: 0, host: '127.0.0.1' })).port
}

console.error(await (process.argv[2] === 'bare' ? startBare() : startKit()))
