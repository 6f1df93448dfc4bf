import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createClient } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { z } from 'zod'
import { resource } from '../lifecycle/resource.ts'
import { createLogger } from '../log/logger.ts'
import { service } from '../service/definition.ts'
import { start } from '../service/start.ts'
import { connectApp } from './connect.ts'
import { expressApp } from './express.ts'
import { fastifyApp } from './fastify.ts'
import { healthService } from './grpc-descriptors.ts'
import { honoApp } from './hono.ts'

const options = {
  host: '127.0.0.1',
  port: 0,
  log: createLogger({ level: 'silent' }),
  env: { DRAIN_DELAY_MS: '0' },
}

describe('service({ app })', () => {
  const apps = {
    fastify: () => fastifyApp(fastify().get('/orders/:id', () => ({ ok: true }))),
    hono: () => honoApp(new Hono().get('/orders/:id', (context) => context.json({ ok: true }))),
    express: () => expressApp(express().get('/orders/:id', (_request, response) => void response.json({ ok: true }))),
  }
  for (const [name, create] of Object.entries(apps)) {
    it(`gives an application of ${name} health, metrics by its templates, and a drain`, async () => {
      const app = await start(service({ name: 'orders', app: create() }), options)
      assert.deepEqual(await (await fetch(`${app.url}/orders/7`)).json(), { ok: true })
      assert.equal((await fetch(`${app.url}/health/ready`)).status, 200)
      const counted = /^http_requests_total\{.*route="\/orders\/:id".*\} 1$/m
      const until = performance.now() + 30_000
      while (!counted.test(app.metrics.render()) && performance.now() < until) await fetch(`${app.url}/health/live`)
      assert.match(app.metrics.render(), counted)
      await app.stop()
      await assert.rejects(fetch(app.url))
    })
  }

  it('makes the application of the resources, after they started, and stops it before them', async () => {
    const events: string[] = []
    const store = resource(() => new Map([['7', 'mug']]), { stop: () => void events.push('store stopped') })
    const orders = service({
      name: 'orders',
      use: { store },
      app({ store: stock }) {
        const app = fastify()
        app.get<{ Params: { id: string } }>('/orders/:id', (request) => ({ found: stock.get(request.params.id) }))
        app.addHook('onClose', async () => void events.push('application closed'))
        return fastifyApp(app)
      },
    })
    {
      await using app = await start(orders, options)
      assert.deepEqual(await (await fetch(`${app.url}/orders/7`)).json(), { found: 'mug' })
    }
    assert.deepEqual(events, ['application closed', 'store stopped'])
  })

  it('answers gRPC health on the port of the service, and ends it with the service', async () => {
    const app = await start(service({ name: 'greeter', http2: true, app: connectApp(() => {}) }), options)
    const client = createClient(healthService, createGrpcTransport({ baseUrl: app.url })) as unknown as {
      check(input: object): Promise<{ status: number }>
      watch(input: object): AsyncIterable<{ status: number }>
    }
    assert.equal((await client.check({})).status, 1)
    const seen: number[] = []
    let stopped: Promise<void> | undefined
    await assert.rejects(async () => {
      for await (const { status } of client.watch({})) {
        seen.push(status)
        stopped ??= app.stop()
      }
    })
    assert.deepEqual(seen, [1, 2])
    await stopped
  })

  it('refuses fetch beside it, and neither', () => {
    const { fastify: create } = apps
    assert.throws(() => service({ name: 'a', app: create(), fetch: () => 'x' }), {
      code: 'FAIRLEAD_SERVICE_DEFINITION',
    })
    assert.throws(() => service({ name: 'a' }), { message: /neither http nor fetch nor app/ })
  })

  it('does not start with an application that does not', async () => {
    const app = fastify()
    app.addHook('onReady', async () => await Promise.reject(new Error('no database')))
    await assert.rejects(start(service({ name: 'a', app: fastifyApp(app) }), options), /no database/)
  })
})

describe('service({ openapi })', () => {
  it('serves the document of its routes', async () => {
    await using app = await start(
      service({
        name: 'orders',
        openapi: { title: 'Orders' },
        http: (router) => router.get('/orders/:id', { params: z.object({ id: z.uuid() }) }, ({ params }) => params),
      }),
      options,
    )
    const document = (await (await fetch(`${app.url}/openapi.json`)).json()) as { info: object; paths: object }
    assert.deepEqual(document.info, { title: 'Orders', version: '0.0.0' })
    assert.deepEqual(Object.keys(document.paths), ['/orders/{id}'])
  })
})
