import { createKubeClient, readBytes } from '@fairlead/kube'
import type { KubeClient, Transport } from '@fairlead/kube'

import { openStore } from '../storage/store.ts'
import type { Store } from '../storage/store.ts'
import { createApiServer } from './server.ts'
import type { ApiServer, ApiServerOptions } from './server.ts'

/** An API server on a store in memory, for tests. */
export interface TestServer extends AsyncDisposable {
  readonly server: ApiServer
  readonly store: Store
  readonly client: KubeClient
  readonly transport: Transport
  /** One request as JSON; the answer is not checked. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  // oxlint-disable-next-line typescript/no-explicit-any -- a test reads whatever it expects
  readonly body: any
}

export async function startTestServer(options: Partial<ApiServerOptions> = {}): Promise<TestServer> {
  const store = options.store ?? (await openStore({ dir: '', durability: 'memory' }))
  const server = createApiServer({ ...options, store })
  await server.ready()
  const transport = server.transport({ user: 'admin', groups: ['system:masters'] })
  return {
    server,
    store,
    transport,
    client: createKubeClient({ transport, namespace: 'default' }),
    async call(method, path, body, headers = {}) {
      const sent = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
      const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
      const request = { method, path, body: sent, headers: { 'content-type': type, ...headers } }
      const answer = await transport.send(request)
      const text = Buffer.from(await readBytes(answer.body)).toString('utf8')
      return { status: answer.status, headers: answer.headers, body: text.startsWith('{') ? JSON.parse(text) : text }
    },
    async [Symbol.asyncDispose]() {
      await server.close()
      if (options.store === undefined) await store.close()
    },
  }
}

/** Lines of a watch, parsed; `until` says when enough was seen. */
export async function readWatch(
  transport: Transport,
  path: string,
  until: (events: WatchLine[]) => boolean,
  headers: Record<string, string> = {},
): Promise<WatchLine[]> {
  const events: WatchLine[] = []
  const { body } = await transport.send({ method: 'GET', path, headers, signal: AbortSignal.timeout(60_000) })
  let rest = ''
  for await (const chunk of body) {
    rest += Buffer.from(chunk).toString('utf8')
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) events.push(JSON.parse(line) as WatchLine)
    if (until(events)) break
  }
  return events
}

export interface WatchLine {
  readonly type: string
  // oxlint-disable-next-line typescript/no-explicit-any -- a test reads whatever it expects
  readonly object: any
}

/** A pod that passes validation. */
export function podNamed(name: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name } },
    spec: { containers: [{ name: 'main', image: 'app:1' }] },
    ...more,
  }
}

/** A Deployment that passes validation. */
export function deploymentNamed(name: string): Record<string, unknown> {
  const labels = { app: name }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'app:1' }] } },
    },
  }
}

/** A ConfigMap that passes validation. */
export function configMapNamed(name: string, data: Record<string, string> = { a: '1' }): Record<string, unknown> {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data }
}
