import assert from 'node:assert/strict'
import { once } from 'node:events'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'

import { createKubeClient } from './client.ts'
import { connectKube } from './connect.ts'
import { createHttpsTransport } from './https-transport.ts'
import { isAlreadyExists, isConflict, isGone, isNotFound, KubeError } from './kube-error.ts'
import { createKubeconfig } from './kubeconfig.ts'
import { readJson } from './transport.ts'

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

type Answer = (seen: Seen, response: http.ServerResponse) => void

/** A loopback server that answers by `answer` and remembers what it was asked. */
async function serve(answer: Answer): Promise<AsyncDisposable & { url: string; seen: Seen[]; sockets: Set<unknown> }> {
  const seen: Seen[] = []
  const sockets = new Set<unknown>()
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) {
      chunks.push(chunk as Buffer)
    }
    const one = {
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
    }
    seen.push(one)
    answer(one, response)
  })
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    sockets,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function json(response: http.ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = []
  for await (const item of items) {
    collected.push(item)
  }
  return collected
}

const failure = (code: number, reason: string) => ({
  kind: 'Status',
  apiVersion: 'v1',
  status: 'Failure',
  code,
  reason,
  message: `it is ${reason}`,
})

describe('createKubeClient', () => {
  it('addresses objects by group, namespace, name and subresource', async () => {
    await using server = await serve((_, response) => json(response, 200, { metadata: { name: 'a' } }))
    const client = createKubeClient({ transport: createHttpsTransport({ server: server.url }), namespace: 'shop' })
    const pods = client.resource('v1/Pod')
    const deployments = client.resource('apps/v1/Deployment')
    await pods.get('a')
    await deployments.get('a', { namespace: 'other' })
    await client.resource('v1/Node').get('n1')
    await pods.create(
      { metadata: { generateName: 'a-' }, spec: { containers: [] } },
      { dryRun: true, fieldManager: 'me' },
    )
    await pods.updateStatus({ metadata: { name: 'a', namespace: 'x' }, spec: { containers: [] } })
    await deployments.patch('a', { type: 'strategic', body: { spec: {} } }, { subresource: 'scale' })
    await pods.delete('a', { gracePeriodSeconds: 0, uid: 'u1' })
    assert.deepEqual(
      server.seen.map(({ method, url }) => `${method} ${url}`),
      [
        'GET /api/v1/namespaces/shop/pods/a',
        'GET /apis/apps/v1/namespaces/other/deployments/a',
        'GET /api/v1/nodes/n1',
        'POST /api/v1/namespaces/shop/pods?dryRun=All&fieldManager=me',
        'PUT /api/v1/namespaces/x/pods/a/status',
        'PATCH /apis/apps/v1/namespaces/shop/deployments/a/scale',
        'DELETE /api/v1/namespaces/shop/pods/a',
      ],
    )
    assert.equal(server.seen[5]?.headers['content-type'], 'application/strategic-merge-patch+json')
    assert.deepEqual(JSON.parse(server.seen[3]?.body ?? ''), {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { generateName: 'a-' },
      spec: { containers: [] },
    })
    assert.deepEqual(JSON.parse(server.seen[6]?.body ?? ''), {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      gracePeriodSeconds: 0,
      preconditions: { uid: 'u1' },
    })
    assert.equal(server.sockets.size, 1, 'one connection is kept alive')
    await client.close()
  })

  it('gives every item of a list its kind', async () => {
    await using server = await serve((_, response) =>
      json(response, 200, {
        kind: 'PodList',
        metadata: { resourceVersion: '7' },
        items: [{ metadata: { name: 'a' } }],
      }),
    )
    const client = createKubeClient({ transport: createHttpsTransport({ server: server.url }) })
    const list = await client.resource('v1/Pod').list({ allNamespaces: true, labelSelector: 'app=a,b!=c', limit: 500 })
    assert.equal(server.seen[0]?.url, '/api/v1/pods?limit=500&labelSelector=app%3Da%2Cb!%3Dc')
    assert.deepEqual(list, {
      metadata: { resourceVersion: '7' },
      items: [{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' } }],
    })
    await client.close()
  })

  it('finds a kind that is not built in by discovery, once', async () => {
    await using server = await serve(({ url }, response) => {
      if (url === '/apis/example.com/v1') {
        json(response, 200, {
          resources: [
            { name: 'widgets/status', kind: 'Widget', namespaced: true },
            { name: 'widgets', kind: 'Widget', namespaced: true, verbs: ['get'] },
          ],
        })
      } else if (url.startsWith('/apis/absent.io')) {
        json(response, 404, failure(404, 'NotFound'))
      } else {
        json(response, 200, {})
      }
    })
    const client = createKubeClient({ transport: createHttpsTransport({ server: server.url }) })
    await client.object('example.com/v1', 'Widget').get('a')
    await client.object('example.com/v1', 'Widget').get('b')
    assert.deepEqual(
      server.seen.map(({ url }) => url),
      [
        '/apis/example.com/v1',
        '/apis/example.com/v1/namespaces/default/widgets/a',
        '/apis/example.com/v1/namespaces/default/widgets/b',
      ],
    )
    await assert.rejects(client.object('example.com/v1', 'Gadget').get('a'), { code: 'FAIRLEAD_KUBE_KIND' })
    await assert.rejects(client.object('absent.io/v1', 'Gadget').get('a'), { code: 'FAIRLEAD_KUBE_KIND' })
    await client.close()
  })

  it('throws the Status of an answer that is no success', async () => {
    const answers = [
      failure(404, 'NotFound'),
      failure(409, 'Conflict'),
      failure(409, 'AlreadyExists'),
      failure(410, 'Expired'),
    ]
    await using server = await serve((_, response) => {
      const answer = answers.shift()
      if (answer === undefined) {
        response.writeHead(502).end('<html>bad gateway</html>')
      } else {
        json(response, answer.code, answer)
      }
    })
    const client = createKubeClient({ transport: createHttpsTransport({ server: server.url }) })
    const fail = () =>
      client
        .resource('v1/Pod')
        .get('a')
        .then(
          () => assert.fail('no error'),
          (error: unknown) => error,
        )
    assert.ok(isNotFound(await fail()))
    assert.ok(isConflict(await fail()))
    const exists = await fail()
    assert.equal(isConflict(exists), false)
    assert.ok(isAlreadyExists(exists))
    assert.equal(exists.message, 'it is AlreadyExists')
    assert.equal(exists.code, 'FAIRLEAD_KUBE_API')
    assert.ok(isGone(await fail()))
    const foreign = await fail()
    assert.ok(foreign instanceof KubeError && foreign.httpStatus === 502)
    assert.match(foreign.message, /status 502: <html>bad gateway/)
    await client.close()
  })

  it('repeats a request the server was too busy for', async () => {
    let asked = 0
    await using server = await serve((_, response) => {
      asked += 1
      if (asked < 3) {
        response.writeHead(429, { 'retry-after': '0' }).end(JSON.stringify(failure(429, 'TooManyRequests')))
      } else {
        json(response, 200, { metadata: { name: 'a' } })
      }
    })
    const client = createKubeClient({ transport: createHttpsTransport({ server: server.url }) })
    await client.resource('v1/Pod').get('a')
    assert.equal(asked, 3)
    await client.close()
  })

  it('refuses an object without a name before asking', async () => {
    const client = createKubeClient({ transport: createHttpsTransport({ server: 'http://127.0.0.1:1' }) })
    await assert.rejects(client.resource('v1/Pod').update({ spec: { containers: [] } }), {
      code: 'FAIRLEAD_KUBE_OBJECT',
    })
  })
})

describe('ResourceClient.watch', () => {
  it('yields events as they come, across chunk borders, until the server ends', async () => {
    const lines = [
      { type: 'ADDED', object: { metadata: { name: 'ä' } } },
      { type: 'MODIFIED', object: { metadata: { name: 'ä' } } },
      { type: 'BOOKMARK', object: { metadata: { resourceVersion: '9' } } },
    ].map((event) => `${JSON.stringify(event)}\n`)
    const bytes = Buffer.from(lines.join(''))
    await using server = await serve(async (_, response) => {
      for (let at = 0; at < bytes.length; at += 17) {
        response.write(bytes.subarray(at, at + 17))
        await new Promise((resolve) => setImmediate(resolve))
      }
      response.end()
    })
    const client = createKubeClient({ transport: createHttpsTransport({ server: server.url }) })
    const events = await collect(client.resource('v1/Pod').watch({ allowBookmarks: true, resourceVersion: '5' }))
    assert.deepEqual(
      events.map(({ type, object }) => [type, object.metadata?.name ?? object.metadata?.resourceVersion]),
      [
        ['ADDED', 'ä'],
        ['MODIFIED', 'ä'],
        ['BOOKMARK', '9'],
      ],
    )
    assert.equal(
      server.seen[0]?.url,
      '/api/v1/namespaces/default/pods?watch=true&allowWatchBookmarks=true&resourceVersion=5',
    )
    await client.close()
  })

  it('throws an ERROR event', async () => {
    await using server = await serve((_, response) => {
      response.end(`${JSON.stringify({ type: 'ERROR', object: failure(410, 'Expired') })}\n`)
    })
    const client = createKubeClient({ transport: createHttpsTransport({ server: server.url }) })
    await assert.rejects(collect(client.resource('v1/Pod').watch()), isGone)
    await client.close()
  })

  it('refuses what is no event', async () => {
    await using server = await serve((_, response) => response.end('<html>\n'))
    const client = createKubeClient({ transport: createHttpsTransport({ server: server.url }) })
    await assert.rejects(collect(client.resource('v1/Pod').watch()), { code: 'FAIRLEAD_KUBE_WATCH' })
    await client.close()
  })

  it('ends with the reason of its signal', async () => {
    await using server = await serve((_, response) => {
      response.write(`${JSON.stringify({ type: 'ADDED', object: { metadata: { name: 'a' } } })}\n`)
    })
    const client = createKubeClient({ transport: createHttpsTransport({ server: server.url }) })
    const controller = new AbortController()
    await assert.rejects(async () => {
      for await (const event of client.resource('v1/Pod').watch({ signal: controller.signal })) {
        assert.equal(event.type, 'ADDED')
        controller.abort(new Error('enough'))
      }
    }, /enough/)
    await client.close()
  })
})

describe('createHttpsTransport', () => {
  it('gives up at the deadline', async () => {
    await using server = await serve(() => {})
    const transport = createHttpsTransport({ server: server.url, deadlineMs: 30 })
    await assert.rejects(transport.send({ method: 'GET', path: '/slow' }), { code: 'FAIRLEAD_KUBE_DEADLINE' })
    await transport.close?.()
  })

  it('gives up at the deadline when the body stalls', async () => {
    await using server = await serve((_, response) => response.write('{'))
    const client = createKubeClient({ transport: createHttpsTransport({ server: server.url, deadlineMs: 50 }) })
    await assert.rejects(client.resource('v1/Pod').get('a'), { code: 'FAIRLEAD_KUBE_DEADLINE' })
    await client.close()
  })

  it('says that nobody listens', async () => {
    const transport = createHttpsTransport({ server: 'http://127.0.0.1:1' })
    await assert.rejects(transport.send({ method: 'GET', path: '/version' }), {
      code: 'FAIRLEAD_KUBE_CONNECT',
      message: 'Cannot reach Kubernetes API "http://127.0.0.1:1": connection refused',
    })
  })

  it('asks for credentials again after 401', async () => {
    await using server = await serve(({ headers }, response) =>
      headers.authorization === 'Bearer new'
        ? json(response, 200, {})
        : json(response, 401, failure(401, 'Unauthorized')),
    )
    const transport = createHttpsTransport({
      server: server.url,
      credentials: async ({ refresh }) => ({ headers: { authorization: refresh ? 'Bearer new' : 'Bearer old' } }),
    })
    const response = await transport.send({ method: 'GET', path: '/api' })
    assert.equal(response.status, 200)
    assert.deepEqual(await readJson(response.body), {})
    await transport.close?.()
  })
})

describe('connectKube', () => {
  it('sends the token and uses the namespace of the context', async () => {
    await using server = await serve((_, response) => json(response, 200, {}))
    const client = connectKube({
      kubeconfig: createKubeconfig({ name: 'a', server: server.url, token: 't0', namespace: 'shop' }),
    })
    await client.resource('v1/Pod').get('p')
    assert.equal(server.seen[0]?.headers.authorization, 'Bearer t0')
    assert.equal(server.seen[0]?.url, '/api/v1/namespaces/shop/pods/p')
    await client.close()
  })
})
