// Nest reads the types of constructors from what this adds to Reflect.
// oxlint-disable-next-line import/no-unassigned-import
import 'reflect-metadata'
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Controller, Get, Module, NotFoundException, Param } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { serveHandler } from '../http/serve.fixture.ts'
import { currentScope } from '../trace/current.ts'
import { expressApp } from './express.ts'

// Decorators are called by hand: Node runs these sources without a compiler.
class Orders {
  static closed = 0

  find(id: string): object {
    if (id === 'none') throw new NotFoundException('No such order')
    return { id, scope: currentScope()?.requestId }
  }

  onApplicationShutdown(): void {
    Orders.closed += 1
  }

  onModuleDestroy(): void {
    Orders.closed += 1
  }
}
Controller('tenants/:tenant/orders')(Orders)
Get(':id')(Orders.prototype, 'find', Object.getOwnPropertyDescriptor(Orders.prototype, 'find') ?? {})
Param('id')(Orders.prototype, 'find', 0)

// oxlint-disable-next-line typescript/no-extraneous-class -- a module of Nest is a class without members
class Shop {}
Module({ controllers: [Orders] })(Shop)

describe('expressApp of a Nest application', () => {
  it('serves its controllers with their template, and opens and closes it', async () => {
    const nest = await NestFactory.create(Shop, { logger: false })
    const app = expressApp(nest.getHttpAdapter().getInstance(), { start: () => nest.init(), stop: () => nest.close() })
    {
      await using server = await serveHandler({ app })
      const over = server.next()
      const response = await fetch(`${server.url}/tenants/acme/orders/7`, { headers: { 'x-request-id': 'abc' } })
      assert.deepEqual(await response.json(), { id: '7', scope: 'abc' })
      assert.partialDeepStrictEqual(await over, { route: '/tenants/:tenant/orders/:id', status: 200 })
      assert.equal((await fetch(`${server.url}/tenants/acme/orders/none`)).status, 404)
      assert.equal(Orders.closed, 0)
    }
    assert.ok(Orders.closed > 0)
  })
})
