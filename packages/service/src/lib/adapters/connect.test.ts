import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createRegistry } from '@bufbuild/protobuf'
import type { DescService } from '@bufbuild/protobuf'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import type { ConnectRouter, ServiceImpl, Transport } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node'
import { Client, credentials, status } from '@grpc/grpc-js'
import type { ServiceError } from '@grpc/grpc-js'
import { createHandler } from '../http/handler.ts'
import type { Noted } from '../http/serve.fixture.ts'
import { createDrainableServer } from '../http/server.ts'
import { createLogger } from '../log/logger.ts'
import { drain } from '../service/drain.ts'
import { currentScope } from '../trace/current.ts'
import { connectApp } from './connect.ts'
import type { ConnectAppOptions } from './connect.ts'
import { describeService, healthService, reflectionService } from './grpc-descriptors.ts'

const greetService = describeService({
  name: 'test/greet.proto',
  package: 'test',
  service: 'Greeter',
  methods: [
    { name: 'Greet', input: 'Line', output: 'Line', streams: 'none' },
    { name: 'Repeat', input: 'Line', output: 'Line', streams: 'server' },
    { name: 'Echo', input: 'Line', output: 'Line', streams: 'both' },
    { name: 'Missing', input: 'Line', output: 'Line', streams: 'none' },
  ],
  messages: { Line: { fields: [{ name: 'text', number: 1, type: 'string' }] } },
})

interface Line {
  readonly text: string
}

function addRoutes(router: ConnectRouter): void {
  const implementation = {
    async greet({ text }: Line) {
      if (text === 'crash') throw new Error('the password is hunter2')
      if (text === 'denied') throw new ConnectError('Not yours', Code.PermissionDenied)
      if (text === 'scope') return { text: currentScope()?.requestId }
      return { text: `hello ${text}` }
    },
    async *repeat({ text }: Line) {
      for (let count = 0; count < 3; count++) yield { text: `${text} ${count}` }
      if (text === 'broken') throw new ConnectError('Lost', Code.DataLoss)
    },
    async *echo(lines: AsyncIterable<Line>) {
      for await (const line of lines) yield line
    },
  }
  router.service(greetService, implementation as unknown as Partial<ServiceImpl<DescService>>)
}

/** Clients of descriptors without generated types. */
type Answer = Readonly<Record<string, unknown>>
type Unary = (input: object) => Promise<Answer>
type Stream = (input: object) => AsyncIterable<Answer>

function call(service: DescService, transport: Transport, method: string, input: object = {}): Promise<Answer> {
  const client = createClient(service, transport) as unknown as Readonly<Record<string, Unary>>
  return client[method]?.(input) ?? Promise.reject(new TypeError(`There is no method ${method}`))
}

async function collect(
  service: DescService,
  transport: Transport,
  method: string,
  input: object = {},
): Promise<Answer[]> {
  const answers: Answer[] = []
  for await (const answer of stream(service, transport, method, input)) answers.push(answer)
  return answers
}

function stream(service: DescService, transport: Transport, method: string, input: object = {}): AsyncIterable<Answer> {
  const client = createClient(service, transport) as unknown as Readonly<Record<string, Stream>>
  const answers = client[method]?.(input)
  if (answers === undefined) throw new TypeError(`There is no method ${method}`)
  return answers
}

async function serveGreeter(options: ConnectAppOptions = {}) {
  let isReady = true
  const served: Noted[] = []
  let waiting = Promise.withResolvers<Noted>()
  const log = createLogger({ level: 'silent' })
  const app = connectApp(addRoutes, options)
  await app.start?.({ log, isReady: () => isReady })
  const server = createDrainableServer(
    createHandler({
      app,
      log,
      onServed({ method, route, status: code, requestId, error, grpcStatus, protocolVersion }) {
        assert.equal(protocolVersion === '2.0' || protocolVersion === '1.1', true)
        served.push({ method, route, status: code, requestId, error, grpcStatus })
        waiting.resolve({ method, route, status: code, requestId, error, grpcStatus })
        waiting = Promise.withResolvers()
      },
    }),
    { http2: true },
  )
  const port = await server.listen(0, '127.0.0.1')
  const baseUrl = `http://127.0.0.1:${port}`
  return {
    app,
    server,
    port,
    baseUrl,
    served,
    next: () => waiting.promise,
    setReady: (value: boolean) => void (isReady = value),
    grpc: createGrpcTransport({ baseUrl }),
    async [Symbol.asyncDispose]() {
      await app.drain?.()
      server.closeAll()
      await app.stop?.()
    },
  }
}

describe('connectApp', () => {
  const transports = [
    { name: 'gRPC', create: (baseUrl: string) => createGrpcTransport({ baseUrl }) },
    { name: 'gRPC-web', create: (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: '1.1' }) },
    {
      name: 'Connect over HTTP/1.1',
      create: (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: '1.1' }),
    },
    { name: 'Connect over HTTP/2', create: (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: '2' }) },
  ]
  for (const { name, create } of transports) {
    it(`answers ${name}, and tells telemetry of service, method and code`, async () => {
      await using greeter = await serveGreeter()
      const transport = create(greeter.baseUrl)
      const over = greeter.next()
      assert.equal((await call(greetService, transport, 'greet', { text: 'Ada' }))['text'], 'hello Ada')
      assert.partialDeepStrictEqual(await over, { route: '/test.Greeter/Greet', status: 200, grpcStatus: 0 })

      const denied = greeter.next()
      await assert.rejects(call(greetService, transport, 'greet', { text: 'denied' }), { code: Code.PermissionDenied })
      assert.deepEqual(await denied.then(({ grpcStatus, error }) => [grpcStatus, error]), [
        Code.PermissionDenied,
        undefined,
      ])

      const crashed = greeter.next()
      await assert.rejects(
        call(greetService, transport, 'greet', { text: 'crash' }),
        (error: ConnectError) => !error.message.includes('hunter2'),
      )
      assert.match(String((await crashed).error), /hunter2/)
    })

    it(`streams over ${name}`, async () => {
      await using greeter = await serveGreeter()
      const transport = create(greeter.baseUrl)
      const lines = await collect(greetService, transport, 'repeat', { text: 'a' })
      assert.deepEqual(
        lines.map(({ text }) => text),
        ['a 0', 'a 1', 'a 2'],
      )
      const over = greeter.next()
      await assert.rejects(collect(greetService, transport, 'repeat', { text: 'broken' }))
      assert.equal((await over).grpcStatus, Code.DataLoss)
    })
  }

  it('runs calls in the scope of their request', async () => {
    await using greeter = await serveGreeter()
    const over = greeter.next()
    const answer = await call(greetService, greeter.grpc, 'greet', { text: 'scope' })
    assert.equal(answer['text'], (await over).requestId)
  })

  it('answers a method nobody implements', async () => {
    await using greeter = await serveGreeter()
    const over = greeter.next()
    await assert.rejects(call(greetService, greeter.grpc, 'missing'), {
      code: Code.Unimplemented,
    })
    assert.equal((await over).route, '/test.Greeter/Missing')
  })

  it('answers problem details to paths that are no method', async () => {
    await using greeter = await serveGreeter()
    const over = greeter.next()
    const response = await fetch(`${greeter.baseUrl}/test.Greeter/Nothing`, { method: 'POST' })
    assert.partialDeepStrictEqual(await response.json(), { status: 404 })
    assert.equal((await over).route, 'unmatched')
  })

  it('answers grpc-js', async () => {
    await using greeter = await serveGreeter()
    const client = new Client(`127.0.0.1:${greeter.port}`, credentials.createInsecure())
    assert.equal(await callGrpc(client, '/test.Greeter/Greet', 'Ada'), 'hello Ada')
    const refused = (await callGrpc(client, '/test.Greeter/Greet', 'denied').catch(
      (error: unknown) => error,
    )) as ServiceError
    assert.deepEqual([refused.code, refused.details], [status.PERMISSION_DENIED, 'Not yours'])
    client.close()
  })

  it('loses no call of grpc-js when the server drains', async () => {
    await using greeter = await serveGreeter()
    const client = new Client(`127.0.0.1:${greeter.port}`, credentials.createInsecure())
    const over = new AbortController()
    let count = 0
    const failures: unknown[] = []
    const callers = Array.from({ length: 8 }, async () => {
      while (!over.signal.aborted) {
        await callGrpc(client, '/test.Greeter/Greet', 'x').then(
          () => (count += 1),
          (error: ServiceError) => {
            over.abort()
            // That nobody listens any more is what a client without another address has to hear.
            if (!/ECONNREFUSED/.test(error.message)) failures.push(error)
          },
        )
        if (count === 200) void drain(greeter.server, { delayMs: 0, timeoutMs: 5000 }).then(() => over.abort())
      }
    })
    await Promise.all(callers)
    assert.deepEqual(failures, [])
    assert.ok(count >= 200)
    client.close()
  })
})

describe('grpc.health.v1', () => {
  it('tells of the readiness of the service, and of each of its services', async () => {
    await using greeter = await serveGreeter()
    const check = (service = ''): Promise<Answer> => call(healthService, greeter.grpc, 'check', { service })
    assert.equal((await check())['status'], 1)
    assert.equal((await check('test.Greeter'))['status'], 1)
    await assert.rejects(check('test.Other'), { code: Code.NotFound })
    greeter.setReady(false)
    assert.equal((await check())['status'], 2)
  })

  it('tells those who watch of the end, and lets them go', async () => {
    await using greeter = await serveGreeter()
    const seen: unknown[] = []
    const watching = (async () => {
      for await (const { status: now } of stream(healthService, greeter.grpc, 'watch')) {
        seen.push(now)
        if (seen.length === 1) await greeter.app.drain?.()
      }
    })()
    await assert.rejects(watching, { code: Code.Unavailable })
    assert.deepEqual(seen, [1, 2])
  })

  it('is left out when it is not wanted', async () => {
    await using greeter = await serveGreeter({ health: false })
    const check = (service = ''): Promise<Answer> => call(healthService, greeter.grpc, 'check', { service })
    await assert.rejects(check(), { code: Code.Unimplemented })
  })
})

describe('reflection', () => {
  for (const version of ['v1', 'v1alpha'] as const) {
    it(`answers ${version}`, async () => {
      await using greeter = await serveGreeter({ reflection: true })
      const ask = async (kind: string, value: string): Promise<{ case: string; value: Record<string, unknown[]> }> => {
        const questions = (async function* () {
          yield { messageRequest: { case: kind, value } }
        })()
        const [answer] = await collect(reflectionService(version), greeter.grpc, 'serverReflectionInfo', questions)
        return answer?.['messageResponse'] as { case: string; value: Record<string, unknown[]> }
      }
      const list = await ask('listServices', '')
      assert.deepEqual(
        (list.value['service'] as { name: string }[]).map(({ name }) => name),
        ['test.Greeter', 'grpc.health.v1.Health'],
      )
      assert.equal((await ask('fileContainingSymbol', 'test.Greeter')).value['fileDescriptorProto']?.length, 1)
      assert.equal((await ask('fileContainingSymbol', 'test.Other')).case, 'errorResponse')
    })
  }

  it('is off unless asked for', async () => {
    await using greeter = await serveGreeter()
    const response = await fetch(`${greeter.baseUrl}/grpc.reflection.v1.ServerReflection/ServerReflectionInfo`, {
      method: 'POST',
    })
    assert.equal(response.status, 404)
  })

  it('describes itself well enough to be registered', () => {
    assert.ok(createRegistry(healthService.file).getService('grpc.health.v1.Health'))
  })
})

/** A message with one text field, by hand: `grpc-js` without generated code takes any bytes. */
function callGrpc(client: Client, path: string, text: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const encode = (value: string): Buffer =>
    Buffer.concat([Buffer.from([0x0a, Buffer.byteLength(value)]), Buffer.from(value)])
  const decode = (bytes: Buffer): string => bytes.subarray(2).toString()
  client.makeUnaryRequest(path, encode, decode, text, (error, answer) =>
    error ? reject(error) : resolve(answer ?? ''),
  )
  return promise
}
