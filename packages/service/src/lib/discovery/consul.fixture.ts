// A Consul agent for tests, as far as discovery needs it: blocking queries by the rules of its documentation, registration, TTL
// checks and tokens. The tests that use it run against a real agent too.
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface FakeInstance {
  readonly Address: string
  readonly Port: number
  readonly Tags?: readonly string[]
  readonly Weights?: { readonly Passing: number; readonly Warning: number }
  readonly Meta?: Readonly<Record<string, string>>
}

export interface FakeConsul extends AsyncDisposable {
  readonly url: string
  /** Of health queries: path with query. */
  readonly queries: string[]
  /** Registered by clients, by their id. */
  readonly registered: Map<string, { definition: Record<string, unknown>; status: string }>
  /** Required of every request when set. */
  token: string | undefined
  /** Answers with this status instead. */
  failing: number | undefined
  /** Changes the instances of the service and its index, and so answers those who wait. */
  set(instances: readonly FakeInstance[], index?: number): void
  /** Answers those who wait although nothing has changed, as Consul may. */
  wake(): void
}

export async function startFakeConsul(): Promise<FakeConsul> {
  let instances: readonly FakeInstance[] = []
  let index = 10
  let waiting: (() => void)[] = []
  const wake = (): void => {
    const woken = waiting
    waiting = []
    for (const answer of woken) answer()
  }
  const json = (response: ServerResponse, status: number, body: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json', 'x-consul-index': String(index) })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }
  const answerHealth = (url: URL, response: ServerResponse): void => {
    consul.queries.push(url.pathname + url.search)
    const tags = url.searchParams.getAll('tag')
    const answer = (): void => {
      const found = instances.filter(({ Tags = [] }) => tags.every((tag) => Tags.includes(tag)))
      json(
        response,
        200,
        found.map((Service) => ({ Node: { Address: '10.9.9.9' }, Service })),
      )
    }
    const from = Number(url.searchParams.get('index') ?? 0)
    // Also one of before a reset waits, as with Consul: nobody there knows that it is of another life.
    if (from < index) answer()
    else {
      waiting.push(answer)
      response.once('close', () => {
        waiting = waiting.filter((other) => other !== answer)
      })
    }
  }
  const answerAgent = async (request: IncomingMessage, path: string, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString('utf8')
    const body = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>
    const [kind, action, id = ''] = path.split('/').slice(3).map(decodeURIComponent)
    if (kind === 'service' && action === 'register') {
      consul.registered.set(String(body['ID']), { definition: body, status: 'critical' })
      return json(response, 200, '')
    }
    if (kind === 'check') {
      const entry = consul.registered.get(id.replace(/^service:/, ''))
      if (entry === undefined)
        return json(response, 404, `Unknown check ID "${id}". Ensure that the check ID is passed, not the check name.`)
      entry.status = String(body['Status'])
      return json(response, 200, '')
    }
    if (action === 'deregister') {
      const isKnown = consul.registered.delete(id)
      return isKnown
        ? json(response, 200, '')
        : json(response, 404, `Unknown service ID "${id}". Ensure that the service ID is passed, not the service name.`)
    }
    const known = consul.registered.has(action ?? '')
    return known ? json(response, 200, {}) : json(response, 404, `unknown service ID: ${action}`)
  }
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://consul')
    if (consul.token !== undefined && request.headers['x-consul-token'] !== consul.token)
      return json(response, 403, 'Permission denied: anonymous token lacks permission')
    if (consul.failing !== undefined) return json(response, consul.failing, 'No cluster leader')
    if (url.pathname.startsWith('/v1/health/service/')) return answerHealth(url, response)
    return void answerAgent(request, url.pathname, response)
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const consul: FakeConsul = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    queries: [],
    registered: new Map(),
    token: undefined,
    failing: undefined,
    set(next, to = index + 1) {
      instances = next
      index = to
      wake()
    },
    wake,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return consul
}
