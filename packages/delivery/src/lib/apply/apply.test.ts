import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { KubeClient } from '@fairlead/kube'
import type { KubeObject } from '@fairlead/kube/types'
import { applyObjects } from './apply.ts'
import { createDouble } from '../double.ts'

function labels(app: string): Record<string, string> {
  return { 'app.kubernetes.io/part-of': app, 'app.kubernetes.io/managed-by': 'fairlead' }
}

function service(name: string, port: number, app = 'shop'): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, labels: labels(app) },
    spec: { ports: [{ name: 'http', port }] },
  }
}

function configMap(name: string, data: Record<string, string>): KubeObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels: labels('shop') }, data }
}

async function actions(client: KubeClient, objects: KubeObject[], pruneApp?: string): Promise<string[]> {
  const applied = await applyObjects(client, objects, { pruneApp })
  return applied.map(({ action, object }) => `${object.metadata.name} ${action}`)
}

describe('applyObjects', () => {
  it('creates what is absent, the namespace too', async () => {
    const { client, store } = createDouble()
    assert.deepEqual(await actions(client, [service('web', 80)]), ['web created'])
    assert.deepEqual([...store.keys()], ['/api/v1/namespaces/default', '/api/v1/namespaces/default/services/web'])
  })

  it('writes nothing when nothing changed', async () => {
    const { client, writes } = createDouble()
    await actions(client, [service('web', 80)])
    writes.length = 0
    assert.deepEqual(await actions(client, [service('web', 80)]), ['web unchanged'])
    assert.deepEqual(writes, [])
  })

  it('changes what changed, removes what it set before, and leaves what others set', async () => {
    const { client, store, put } = createDouble()
    const key = '/api/v1/namespaces/default/configmaps/web'
    await actions(client, [configMap('web', { kept: '1', removed: '1' })])
    const stored = store.get(key)
    assert.ok(stored)
    put(key, { ...stored, data: { kept: '1', removed: '1', foreign: '1' } })
    assert.deepEqual(await actions(client, [configMap('web', { kept: '2' })]), ['web configured'])
    assert.deepEqual(store.get(key)?.['data'], { kept: '2', foreign: '1' })
  })

  it('keeps the annotation of kubectl, so that kubectl apply can go on', async () => {
    const { client, store } = createDouble()
    await actions(client, [configMap('web', { a: '1' })])
    const annotation = store.get('/api/v1/namespaces/default/configmaps/web')?.metadata.annotations
    const text = annotation?.['kubectl.kubernetes.io/last-applied-configuration'] ?? ''
    assert.deepEqual(JSON.parse(text), {
      ...configMap('web', { a: '1' }),
      metadata: { name: 'web', labels: labels('shop'), namespace: 'default' },
    })
  })

  it('deletes objects of the app that are no longer rendered, and only those', async () => {
    const { client, store, put } = createDouble()
    await actions(client, [service('web', 80), service('old', 80), configMap('old', {})])
    await actions(client, [service('other', 80, 'another')])
    put('/api/v1/namespaces/default/services/by-hand', service('by-hand', 80))
    assert.deepEqual(await actions(client, [service('web', 80)], 'shop'), ['web unchanged', 'old pruned', 'old pruned'])
    assert.deepEqual(
      [...store.keys()].map((key) => key.split('/').at(-1)),
      ['default', 'web', 'other', 'by-hand'],
    )
  })

  it('refuses an object of another app before it writes anything', async () => {
    const { client, writes } = createDouble()
    await actions(client, [service('web', 80, 'another')])
    writes.length = 0
    await assert.rejects(applyObjects(client, [service('api', 80), service('web', 80)]), {
      code: 'FAIRLEAD_DELIVERY_OWNERSHIP',
      message: 'Cannot apply "service/web": it exists and belongs to the app "another"',
    })
    assert.deepEqual(writes, [])
  })

  it('takes an object that appears between look and write as one to change', async () => {
    let isFirst = true
    const { client } = createDouble({
      before(method, path, { put }) {
        if (method !== 'POST' || !path.endsWith('/services') || !isFirst) return
        isFirst = false
        put(`${path}/web`, service('web', 81))
      },
    })
    assert.deepEqual(await actions(client, [service('web', 80)]), ['web configured'])
  })
})
