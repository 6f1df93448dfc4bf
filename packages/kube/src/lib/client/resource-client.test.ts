import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createKubeClient } from './client.ts'
import type { KubeClient } from './client.ts'
import { modifyObject, retryOnConflict } from './conflict.ts'
import { connectFailed } from './errors.ts'
import { KubeError } from './kube-error.ts'
import { readPodLog } from './pod-logs.ts'
import type { TransportRequest } from './transport.ts'

type Answer = { readonly status?: number; readonly body: unknown; readonly cut?: boolean }

/** A client whose answers are written down beforehand, and what it asked. */
function clientAnswering(answers: Answer[]): { client: KubeClient; asked: TransportRequest[]; paths: () => string[] } {
  const asked: TransportRequest[] = []
  const transport = {
    async send(request: TransportRequest) {
      asked.push(request)
      const { status = 200, body, cut = false } = answers.shift() ?? { body: {} }
      return { status, headers: {}, body: read(typeof body === 'string' ? body : JSON.stringify(body), cut) }
    },
  }
  const client = createKubeClient({ transport, namespace: 'shop' })
  return { client, asked, paths: () => asked.map(({ method, path }) => `${method} ${path}`) }
}

async function* read(text: string, isCut: boolean): AsyncGenerator<Uint8Array> {
  yield Buffer.from(isCut ? text.slice(0, 3) : text)
  if (isCut) {
    throw connectFailed('https://a', 'reset', 'wait', Object.assign(new Error(), { code: 'ECONNRESET' }))
  }
}

describe('createResourceClient', () => {
  it('applies by manager, with force when asked to', async () => {
    const { client, asked, paths } = clientAnswering([])
    const wanted = { metadata: { name: 'web', namespace: 'prod' }, spec: { replicas: 2 } }
    await client.resource('apps/v1/Deployment').apply(wanted, { fieldManager: 'me', force: true })
    await client.resource('apps/v1/Deployment').apply(wanted, { fieldManager: 'me', subresource: 'status' })
    const path = 'PATCH /apis/apps/v1/namespaces/prod/deployments/web'
    assert.deepEqual(paths(), [`${path}?fieldManager=me&force=true`, `${path}/status?fieldManager=me`])
    assert.equal(asked[0]?.headers?.['content-type'], 'application/apply-patch+yaml')
    assert.deepEqual(JSON.parse(String(asked[0]?.body)), { apiVersion: 'apps/v1', kind: 'Deployment', ...wanted })
  })

  it('scales, evicts and deletes collections', async () => {
    const { client, asked, paths } = clientAnswering([])
    const pods = client.resource('v1/Pod')
    await client.resource('apps/v1/Deployment').scale('web', 3)
    await client.resource('apps/v1/Deployment').getScale('web')
    await pods.createSubresource('a', 'eviction', {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name: 'a' },
    })
    await pods.deleteCollection({ labelSelector: 'app=x', gracePeriodSeconds: 0 })
    assert.deepEqual(paths(), [
      'PATCH /apis/apps/v1/namespaces/shop/deployments/web/scale',
      'GET /apis/apps/v1/namespaces/shop/deployments/web/scale',
      'POST /api/v1/namespaces/shop/pods/a/eviction',
      'DELETE /api/v1/namespaces/shop/pods?labelSelector=app%3Dx',
    ])
    assert.deepEqual(JSON.parse(String(asked[0]?.body)), { spec: { replicas: 3 } })
    assert.equal(JSON.parse(String(asked[3]?.body)).gracePeriodSeconds, 0)
  })

  it('reads page by page, on with the newer token when the version is gone', async () => {
    const expired = { kind: 'Status', code: 410, reason: 'Expired', metadata: { continue: 'newer' } }
    const { client, paths } = clientAnswering([
      { body: { items: [{ metadata: { name: 'a' } }], metadata: { continue: 'two', resourceVersion: '5' } } },
      { status: 410, body: expired },
      { body: { items: [{ metadata: { name: 'b' } }], metadata: {} } },
    ])
    const names: (string | undefined)[] = []
    for await (const { metadata } of client.resource('v1/Pod').each({ pageSize: 1, resourceVersion: '0' })) {
      names.push(metadata?.name)
    }
    assert.deepEqual(names, ['a', 'b'])
    assert.deepEqual(paths(), [
      'GET /api/v1/namespaces/shop/pods?limit=1&resourceVersion=0',
      'GET /api/v1/namespaces/shop/pods?limit=1&continue=two',
      'GET /api/v1/namespaces/shop/pods?limit=1&continue=newer',
    ])
  })

  it('reads a list again whose connection broke halfway, and leaves a write alone', async () => {
    const { client, paths } = clientAnswering([
      { body: { items: [] }, cut: true },
      { body: { items: [{ metadata: { name: 'a' } }] } },
      { body: {}, cut: true },
    ])
    assert.equal((await client.resource('v1/Pod').list()).items.length, 1)
    const write = client.resource('v1/ConfigMap').create({ metadata: { name: 'a' } })
    await assert.rejects(write, { code: 'FAIRLEAD_KUBE_CONNECT' })
    assert.equal(paths().length, 3)
  })
})

describe('readPodLog', () => {
  it('asks for what it is told to and gives lines, the unfinished last one too', async () => {
    const { client, paths } = clientAnswering([{ body: 'one\n\ntwo' }])
    const lines: string[] = []
    const options = { container: 'app', tailLines: 3, follow: true }
    for await (const line of readPodLog(client, 'web', options)) lines.push(line)
    assert.deepEqual(lines, ['one', '', 'two'])
    assert.deepEqual(paths(), ['GET /api/v1/namespaces/shop/pods/web/log?container=app&tailLines=3&follow=true'])
  })
})

describe('modifyObject', () => {
  it('reads again after a lost race', async () => {
    const object = (resourceVersion: string) => ({ body: { metadata: { name: 'a', resourceVersion } } })
    const conflict = { status: 409, body: { kind: 'Status', code: 409, reason: 'Conflict' } }
    const { client, asked } = clientAnswering([object('1'), conflict, object('2'), object('3')])
    const written = await modifyObject(client.resource('v1/ConfigMap'), 'a', (map) => {
      map.data = { seen: map.metadata?.resourceVersion ?? '' }
    })
    assert.equal(written.metadata?.resourceVersion, '3')
    assert.equal(JSON.parse(String(asked[3]?.body)).data.seen, '2')
  })
})

describe('retryOnConflict', () => {
  it('gives up with the conflict', async () => {
    let count = 0
    const write = async (): Promise<never> => {
      count += 1
      throw new KubeError({ reason: 'Conflict' }, 409)
    }
    await assert.rejects(retryOnConflict(write, { attempts: 3 }), { httpStatus: 409 })
    assert.equal(count, 3)
  })
})
