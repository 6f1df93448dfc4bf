// A server that plays a provider for the tests: what it received is kept, so that a test can see that both clients said the same.
import { createServer as createHttpServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

export interface FakeRequest {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface FakeAnswer {
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body: unknown
}

export interface FakeServer extends AsyncDisposable {
  /** Without a slash at its end. */
  readonly url: string
  readonly host: string
  readonly requests: FakeRequest[]
}

export type Answerer = (request: FakeRequest) => FakeAnswer | Promise<FakeAnswer>

/** Listens on loopback; with `tls` over HTTPS. */
export async function openFake(
  answer: Answerer,
  tls?: { readonly key: string; readonly cert: string },
): Promise<FakeServer> {
  const requests: FakeRequest[] = []
  const listener = (request: IncomingMessage, response: ServerResponse): void => void serve(request, response)
  const serve = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const chunks: Buffer[] = []
      for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk)
      const request = {
        method: incoming.method ?? '',
        url: new URL(incoming.url ?? '/', `http://${incoming.headers.host}`),
        headers: Object.fromEntries(Object.entries(incoming.headers).map(([key, text]) => [key, String(text)])),
        body: Buffer.concat(chunks).toString(),
      }
      requests.push(request)
      const { status = 200, headers = {}, body } = await answer(request)
      const isText = typeof body === 'string'
      response.writeHead(status, { 'content-type': isText ? 'text/plain' : 'application/json', ...headers })
      response.end(isText ? body : JSON.stringify(body))
    } catch (error) {
      response.writeHead(500).end(String(error))
    }
  }
  const server = tls ? createHttpsServer(tls, listener) : createHttpServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const host = `${tls ? 'localhost' : '127.0.0.1'}:${port}`
  return {
    url: `${tls ? 'https' : 'http'}://${host}`,
    host,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Sets variables of this process, which official clients read, and puts back what was there. */
export function setEnvironment(prefixes: readonly string[], values: Readonly<Record<string, string>>): Disposable {
  const before = { ...process.env }
  for (const name of Object.keys(process.env))
    if (prefixes.some((prefix) => name.startsWith(prefix))) delete process.env[name]
  Object.assign(process.env, values)
  return {
    [Symbol.dispose]() {
      for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name]
      Object.assign(process.env, before)
    },
  }
}
