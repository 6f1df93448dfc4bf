import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { findKind, validateFields } from '@fairlead/kube/types'
import { parseApp } from '../app/parse.ts'
import { renderKubernetes } from './kubernetes.ts'

const golden = new URL('./testdata/shop.json', import.meta.url)

const shop = parseApp(
  {
    name: 'shop',
    services: {
      catalog: { volumes: { '/data': 'ephemeral', '/etc/tls': { secret: 'catalog-tls' } } },
      orders: {
        replicas: 2,
        env: { CATALOG_URL: 'http://catalog', WORKERS: 2, TOKEN: { secret: 'orders', key: 'token' } },
        config: { 'app.yaml': 'level: debug\n' },
      },
      web: { public: 80, health: 'tcp' },
    },
  },
  {
    file: '/home/me/shop/fairlead.config.ts',
    defaultName: 'shop',
    facts: () => ({ exists: true, usesServiceKit: true, version: '1.2.0+build.5' }),
  },
)
const images = { catalog: 'localhost/shop/catalog:1', orders: 'localhost/shop/orders:2', web: 'localhost/shop/web:3' }
const objects = renderKubernetes(shop, images)

describe('renderKubernetes', () => {
  // Written anew by: UPDATE_GOLDEN=1 node --test ...
  it('renders the golden file', () => {
    const text = `${JSON.stringify(objects, undefined, 2)}\n`
    if (process.env['UPDATE_GOLDEN']) writeFileSync(golden, text)
    assert.deepEqual(JSON.parse(text), JSON.parse(readFileSync(golden, 'utf8')))
  })

  for (const object of objects) {
    it(`renders only fields that Kubernetes knows: ${object.kind} ${object.metadata.name}`, () => {
      const definition = findKind(object.apiVersion, object.kind)?.definition ?? assert.fail('kind is not known')
      assert.deepEqual(validateFields(definition, object), { unknown: [], wrong: [] })
    })
  }

  it('does not share objects between renderings', () => {
    const again = renderKubernetes(shop, images)
    assert.deepEqual(again, objects)
    assert.notEqual(again[0]?.metadata.labels, objects[0]?.metadata.labels)
  })

  it('puts every object into the namespace of the app', () => {
    const inNamespace = renderKubernetes({ ...shop, namespace: 'staging' }, images)
    assert.deepEqual(new Set(inNamespace.map(({ metadata }) => metadata.namespace)), new Set(['staging']))
  })

  it('names volumes whose paths read the same apart', () => {
    const [service] = shop.services
    assert.ok(service)
    const volumes = { '/a/b': 'ephemeral', '/a-b': 'ephemeral' } as const
    const rendered = renderKubernetes({ ...shop, services: [{ ...service, volumes }] }, images)
    const text = JSON.stringify(rendered.at(-1))
    assert.match(text, /"name":"a-b-2","mountPath":"\/a-b"/)
  })
})
