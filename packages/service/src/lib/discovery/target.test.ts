import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseTarget } from './target.ts'

describe('parseTarget', () => {
  const cases: readonly { text: string; expected: object }[] = [
    { text: 'http://orders:8080/api', expected: { kind: 'http' } },
    { text: 'dns://orders.shop:8080', expected: { kind: 'dns', host: 'orders.shop', port: 8080, scheme: 'http' } },
    { text: 'dns://[::1]:80?scheme=https', expected: { kind: 'dns', host: '::1', port: 80, scheme: 'https' } },
    { text: 'srv://_http._tcp.orders.svc', expected: { kind: 'srv', name: '_http._tcp.orders.svc' } },
    {
      text: 'consul://orders?tag=v2&tag=eu&dc=d1',
      expected: {
        kind: 'consul',
        service: 'orders',
        query: { tags: ['v2', 'eu'], datacenter: 'd1', namespace: undefined },
      },
    },
    { text: 'k8s://shop/orders:http', expected: { kind: 'k8s', namespace: 'shop', service: 'orders', port: 'http' } },
    { text: 'k8s://orders', expected: { kind: 'k8s', namespace: undefined, service: 'orders', port: undefined } },
  ]
  for (const { text, expected } of cases)
    it(`reads ${text}`, () => assert.partialDeepStrictEqual(parseTarget(text), expected))

  const faults: readonly { text: string; message: RegExp }[] = [
    { text: 'orders', message: /it is not scheme:\/\/name/ },
    { text: 'etcd://orders', message: /scheme "etcd" is not known/ },
    { text: 'dns://orders', message: /it has no port/ },
    { text: 'dns://orders:99999', message: /port "99999"/ },
    { text: 'dns://user@orders:80', message: /it has an "@"/ },
    { text: 'consul://orders?tags=v2', message: /option "tags" is not known, expected one of scheme, tag/ },
    { text: 'consul://', message: /it has no name/ },
    { text: 'k8s://a/b/c', message: /it has a path/ },
    { text: 'k8s://Shop/orders', message: /"Shop" is not a Kubernetes name/ },
    { text: 'k8s://shop/orders:0', message: /port "0"/ },
    { text: 'srv://a b', message: /not that of an SRV record/ },
    { text: 'k8s://orders?scheme=ftp', message: /neither http nor https/ },
  ]
  for (const { text, message } of faults)
    it(`refuses ${text}`, () => assert.throws(() => parseTarget(text), { code: 'FAIRLEAD_SERVICE_TARGET', message }))
})
