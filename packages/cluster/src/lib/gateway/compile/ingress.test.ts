import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Ingress } from '@fairlead/kube/types/networking-v1'
import type { World } from '../objects.ts'
import { describeRule, makeWorld, ruleFor } from '../testing.ts'
import type { Asked } from '../testing.ts'
import { compileWorld } from './compile.ts'

const http = '127.0.0.1:80'
const backend = (name: string, port: object = { number: 80 }): { service: { name: string; port: object } } => ({
  service: { name, port },
})

function ingress(spec: NonNullable<Ingress['spec']>, name = 'a'): Ingress {
  return { metadata: { name, namespace: 'shop', creationTimestamp: '2026-01-01T00:00:00Z' }, spec }
}

function world(...ingresses: Ingress[]): World {
  return makeWorld({ ingresses })
}

const paths = world(
  ingress({
    rules: [
      {
        host: 'shop.example.com',
        http: {
          paths: [
            { path: '/', pathType: 'Prefix', backend: backend('web') },
            { path: '/cart', pathType: 'Prefix', backend: backend('v1') },
            { path: '/cart', pathType: 'Exact', backend: backend('v2') },
            { path: '/gone', pathType: 'ImplementationSpecific', backend: backend('missing') },
          ],
        },
      },
      {
        host: '*.example.com',
        http: { paths: [{ path: '/', pathType: 'Prefix', backend: backend('v1', { name: 'http' }) }] },
      },
    ],
  }),
)

const cases: readonly { name: string; asked: Asked; expected: string }[] = [
  { name: 'prefers an exact path', asked: { path: '/cart' }, expected: 'shop/v2:80=1' },
  { name: 'takes a prefix by whole elements', asked: { path: '/cart/1' }, expected: 'shop/v1:80=1' },
  { name: 'does not take a prefix within an element', asked: { path: '/carts' }, expected: 'shop/web:80=1' },
  { name: 'answers 503 for a backend that does not exist', asked: { path: '/gone/x' }, expected: '503' },
  { name: 'knows wildcards, and ports by name', asked: { host: 'eu.example.com' }, expected: 'shop/v1:80=1' },
  { name: 'does not know other hosts', asked: { host: 'example.com' }, expected: '404' },
]

void describe('compileIngresses', () => {
  for (const { name, asked, expected } of cases) {
    it(name, () => assert.equal(describeRule(ruleFor(paths, http, asked)), expected))
  }

  it('sends what no rule takes to the default backend', () => {
    const one = world(
      ingress({
        defaultBackend: backend('v2'),
        rules: [{ host: 'a.com', http: { paths: [{ path: '/a', pathType: 'Prefix', backend: backend('v1') }] } }],
      }),
    )
    assert.equal(describeRule(ruleFor(one, http, { host: 'a.com', path: '/b' })), 'shop/v2:80=1')
    assert.equal(describeRule(ruleFor(one, http, { host: 'b.com' })), 'shop/v2:80=1')
  })

  it('leaves Ingresses of other classes alone', () => {
    const other = world(ingress({ ingressClassName: 'nginx', defaultBackend: backend('v1') }))
    assert.equal(compileWorld(other).routing.listeners.size, 0)
  })

  it('tells of a Secret without a key pair, and listens without TLS', () => {
    const secure = world(
      ingress({ tls: [{ hosts: ['shop.example.com'], secretName: 'none' }], defaultBackend: backend('v1') }),
    )
    const { ingresses, routing } = compileWorld(secure)
    assert.deepEqual(ingresses[0]?.problems, [
      'Secret shop/none has no certificate with its key in tls.crt and tls.key',
    ])
    assert.deepEqual([...routing.listeners.keys()], [http])
  })
})
