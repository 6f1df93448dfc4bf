import assert from 'node:assert/strict'
import { once } from 'node:events'
import { duplexPair, PassThrough, Readable } from 'node:stream'
import { describe, it } from 'node:test'
import { createKubeClient, execInPod, attachToPod, openPortForward } from '@fairlead/kube'

import type { Kubelet, RemoteProcess } from '../kubelet.ts'
import { podNamed, startTestServer } from '../test-server.ts'
import type { TestServer } from '../test-server.ts'
import { negotiateUpgrade } from './negotiate.ts'
import { TerminalSizes } from './sizes.ts'

interface Asked {
  args: readonly string[]
  tty: boolean
  sizes: string[]
  isHungUp: boolean
}

/** A node whose programs give back what they read and end with the code named by their last argument. */
function echoing(asked: Asked): Kubelet {
  const start = (exitCode: number | undefined): RemoteProcess => {
    const stdin = new PassThrough()
    const stdout = new PassThrough()
    stdin.pipe(stdout)
    return {
      stdin,
      stdout,
      stderr: Readable.from([Buffer.from('err')]),
      resize: (columns, rows) => Promise.resolve(void asked.sizes.push(`${columns}x${rows}`)),
      ended: once(stdin, 'end').then(() => exitCode),
      hangUp: () => {
        asked.isHungUp = true
        stdin.destroy()
      },
    }
  }
  return {
    fetch: () => Promise.reject(new Error('not asked')),
    openContainer: ({ container }) =>
      container === 'main'
        ? Promise.resolve({
            exec({ args, tty }) {
              Object.assign(asked, { args, tty })
              if (args[0] === 'missing') return Promise.reject(new Error('exec failed: no such program'))
              return Promise.resolve(start(Number(args.at(-1))))
            },
            attach: () => Promise.resolve(start(void (asked.args = ['attached']))),
          })
        : Promise.reject(new Error(`container not found ("${container}")`)),
    openPod: () =>
      Promise.resolve({
        connect(port) {
          if (port !== 80) return Promise.reject(new Error('connection refused'))
          const [near, far] = duplexPair()
          far.pipe(far)
          return Promise.resolve(near)
        },
      }),
  }
}

async function openWorld(): Promise<{ api: TestServer; asked: Asked }> {
  const asked: Asked = { args: [], tty: false, sizes: [], isHungUp: false }
  const api = await startTestServer({ kubelet: () => Promise.resolve(echoing(asked)) })
  const spec = {
    nodeName: 'n1',
    containers: [
      { name: 'main', image: 'a' },
      { name: 'other', image: 'a' },
    ],
  }
  await api.call('POST', '/api/v1/namespaces/default/pods', podNamed('x', { spec }))
  return { api, asked }
}

function sink(): { stream: PassThrough; text: () => Promise<string> } {
  const stream = new PassThrough()
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  return { stream, text: () => Promise.resolve(Buffer.concat(chunks).toString()) }
}

describe('exec, attach and port-forward inside one process', () => {
  it('runs a program with its streams and exit code', async () => {
    const { api, asked } = await openWorld()
    await using _ = api
    const [out, err] = [sink(), sink()]
    const code = await execInPod(api.client, 'x', ['cat', '3'], {
      container: 'main',
      stdin: Readable.from([Buffer.alloc(3_000_000, 'a')]),
      stdout: out.stream,
      stderr: err.stream,
    })
    assert.equal(code, 3)
    assert.equal((await out.text()).length, 3_000_000)
    assert.equal(await err.text(), 'err')
    assert.deepEqual(asked.args, ['cat', '3'])
  })

  it('tells the program the size of the terminal', async () => {
    const { api, asked } = await openWorld()
    await using _ = api
    const stdin = new PassThrough()
    const sizes = Readable.from([{ columns: 80, rows: 24 }])
    const ran = execInPod(api.client, 'x', ['sh', '0'], { container: 'main', stdin, tty: true, sizes })
    while (asked.sizes.length === 0) await new Promise(setImmediate)
    stdin.end()
    assert.equal(await ran, 0)
    assert.deepEqual([asked.tty, asked.sizes], [true, ['80x24']])
  })

  it('throws what the node said of a program that cannot be started', async () => {
    const { api } = await openWorld()
    await using _ = api
    await assert.rejects(execInPod(api.client, 'x', ['missing'], { container: 'main' }), {
      message: /error executing command in container: .*exec failed: no such program/,
    })
  })

  const refusals = [
    {
      name: 'a container that does not run',
      query: 'container=other&command=a&stdout=1',
      code: 500,
      message: /container not found \("other"\)/,
    },
    {
      name: 'a container that is not there',
      query: 'container=no&command=a&stdout=1',
      code: 400,
      message: /container no is not valid for pod x/,
    },
    {
      name: 'a choice left open',
      query: 'command=a&stdout=1',
      code: 400,
      message: /a container name must be specified for pod x, choose one of: \[main other\]/,
    },
    {
      name: 'no stream',
      query: 'container=main&command=a',
      code: 400,
      message: /you must specify at least 1 of stdin, stdout, stderr/,
    },
    {
      name: 'no command',
      query: 'container=main&stdout=1',
      code: 400,
      message: /you must specify at least one command/,
    },
    { name: 'no upgrade', query: 'container=main&command=a&stdout=1', code: 400, message: /Upgrade request required/ },
  ]
  for (const { name, query, code, message } of refusals) {
    it(`refuses ${name}`, async () => {
      const { api } = await openWorld()
      await using _ = api
      const { status, body } = await api.call('GET', `/api/v1/namespaces/default/pods/x/exec?${query}`)
      assert.equal(status, code)
      assert.match(body.message, message)
    })
  }

  it('lets nobody who may only read run programs', async () => {
    const { api } = await openWorld()
    await using _ = api
    const roles = '/apis/rbac.authorization.k8s.io/v1/clusterroles'
    const rules = [{ apiGroups: [''], resources: ['pods/exec'], verbs: ['get'] }]
    await api.call('POST', roles, { metadata: { name: 'r' }, rules })
    const subjects = [{ kind: 'User', name: 'ann', apiGroup: 'rbac.authorization.k8s.io' }]
    const roleRef = { kind: 'ClusterRole', name: 'r', apiGroup: 'rbac.authorization.k8s.io' }
    await api.call('POST', roles.replace('roles', 'rolebindings'), { metadata: { name: 'b' }, subjects, roleRef })
    const client = createKubeClient({
      transport: api.server.transport({ user: 'ann', groups: [] }),
      namespace: 'default',
    })
    await assert.rejects(execInPod(client, 'x', ['cat', '0'], { container: 'main' }), {
      message: /User "ann" cannot create resource "pods\/exec"/,
    })
  })

  it('hangs up a program whose client leaves', async () => {
    const { api, asked } = await openWorld()
    await using _ = api
    const leaving = new AbortController()
    const ran = attachToPod(api.client, 'x', { container: 'main', stdin: new PassThrough(), signal: leaving.signal })
    while (asked.args.length === 0) await new Promise(setImmediate)
    leaving.abort()
    await assert.rejects(ran)
    while (!asked.isHungUp) await new Promise(setImmediate)
  })

  it('forwards many connections to ports, and says why one is refused', async () => {
    const { api } = await openWorld()
    await using _ = api
    await using forwarder = await openPortForward(api.client, 'x')
    const texts = await Promise.all(
      Array.from({ length: 20 }, async (_value, index) => {
        const socket = forwarder.connect(80)
        socket.end(`hello ${index}`)
        return Buffer.concat((await socket.toArray()) as Buffer[]).toString()
      }),
    )
    assert.deepEqual(
      texts,
      Array.from({ length: 20 }, (_value, index) => `hello ${index}`),
    )
    const refused = forwarder.connect(81)
    const [error] = (await once(refused, 'error')) as [Error]
    assert.match(error.message, /error forwarding port 81 to pod: connection refused/)
  })
})

describe('negotiateUpgrade', () => {
  const base = {
    connection: 'upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  }
  const offer = { webSocket: ['v5', 'v4'], spdy: ['v4'] }
  const ask = (headers: Record<string, string>): string =>
    negotiateUpgrade(
      {
        method: 'GET',
        path: '/',
        query: new URLSearchParams(),
        headers,
        identity: { user: 'u', groups: [] },
        signal: new AbortController().signal,
        isUpgrade: true,
        readBody: () => Promise.resolve(Buffer.alloc(0)),
      },
      offer,
    ).protocol

  it("takes the first of the client's that is served", () => {
    assert.equal(ask({ ...base, 'sec-websocket-protocol': 'v9, v4, v5' }), 'v4')
    assert.equal(ask({ connection: 'Upgrade', upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'v5, v4' }), 'v4')
  })
  it('refuses what is not served', () => {
    assert.throws(() => ask({ ...base, 'sec-websocket-protocol': 'v9' }), { message: /unable to negotiate protocol/ })
    assert.throws(() => ask({ ...base, 'sec-websocket-key': 'x' }), { message: /bad Sec-WebSocket-Key/ })
    assert.throws(() => ask({ connection: 'Upgrade', upgrade: 'h2c' }), { message: /missing upgrade headers/ })
  })
})

describe('TerminalSizes', () => {
  it('reads sizes in pieces and passes over what is none', async () => {
    const sizes = new TerminalSizes()
    const seen: string[] = []
    sizes.push('{"Width":80,"Hei')
    sizes.push('ght":24}{"Width":-1,"Height":1}{"a":}')
    await sizes.listen((columns, rows) => Promise.resolve(void seen.push(`${columns}x${rows}`)))
    sizes.push('{"Width":100,"Height":30}')
    assert.deepEqual(seen, ['80x24', '100x30'])
  })
})
