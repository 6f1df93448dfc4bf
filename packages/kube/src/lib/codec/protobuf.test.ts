import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { decodeProtobuf, isProtobuf } from '../../codec.ts'

/** A field of wire type 2: number, then the parts joined. */
function bytes(number: number, ...parts: (string | Uint8Array)[]): Uint8Array {
  const content = Buffer.concat(parts.map((part) => Buffer.from(part)))
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content])
}

/** A field of wire type 0. */
function integer(number: number, value: number): Uint8Array {
  return Buffer.concat([varint(number * 8), varint(BigInt.asUintN(64, BigInt(value)))])
}

function varint(value: number | bigint): Uint8Array {
  const out: number[] = []
  let rest = BigInt(value)
  do {
    out.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0))
    rest >>= 7n
  } while (rest > 0n)
  return Uint8Array.from(out)
}

function envelope(apiVersion: string, kind: string, ...raw: Uint8Array[]): Uint8Array {
  return Buffer.concat([
    Buffer.from('k8s\0'),
    bytes(1, bytes(1, apiVersion), bytes(2, kind)),
    bytes(2, ...raw),
    bytes(4),
  ])
}

/** ObjectMeta as Go writes it: empty strings, generation 0 and a zero time included. */
function metadata(name: string): Uint8Array {
  return bytes(1, bytes(1, name), bytes(2, ''), bytes(3, ''), bytes(5, ''), bytes(6, ''), integer(7, 0), bytes(8))
}

describe('decodeProtobuf', () => {
  it('decodes a namespace and leaves zero values out', () => {
    const body = envelope('v1', 'Namespace', metadata('demo'), bytes(2), bytes(3, bytes(1, '')))
    assert.ok(isProtobuf(body))
    assert.deepEqual(decodeProtobuf(body), {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'demo' },
      spec: {},
      status: {},
    })
  })

  it('decodes maps, bytes and times', () => {
    const meta = bytes(
      1,
      bytes(1, 'keys'),
      bytes(8, integer(1, 1_700_000_000)),
      bytes(11, bytes(1, 'app'), bytes(2, 'web')),
    )
    const body = envelope(
      'v1',
      'Secret',
      meta,
      bytes(2, bytes(1, 'token'), bytes(2, Uint8Array.of(0, 255))),
      bytes(3, 'Opaque'),
    )
    assert.deepEqual(decodeProtobuf(body), {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'keys', creationTimestamp: '2023-11-14T22:13:20Z', labels: { app: 'web' } },
      data: { token: 'AP8=' },
      type: 'Opaque',
    })
  })

  it('decodes inlined messages, quantities and int-or-string, and keeps a zero that means something', () => {
    const probe = bytes(
      11,
      bytes(1, bytes(2, bytes(1, '/healthz'), bytes(2, integer(1, 1), bytes(3, 'http')))),
      integer(2, 0),
    )
    const resources = bytes(8, bytes(1, bytes(1, 'cpu'), bytes(2, bytes(1, '500m'))))
    const container = bytes(2, bytes(1, 'web'), bytes(2, 'web:1'), resources, probe, integer(16, 0))
    const volume = bytes(1, bytes(1, 'data'), bytes(2, bytes(2, bytes(1, ''))))
    const spec = bytes(2, volume, container, integer(4, 0), integer(11, 0))
    const pod = decodeProtobuf(envelope('v1', 'Pod', metadata('web'), spec))
    assert.deepEqual(pod.spec, {
      volumes: [{ name: 'data', emptyDir: {} }],
      containers: [
        {
          name: 'web',
          image: 'web:1',
          resources: { limits: { cpu: '500m' } },
          readinessProbe: { httpGet: { path: '/healthz', port: 'http' } },
        },
      ],
      terminationGracePeriodSeconds: 0,
    })
  })

  it('decodes bodies that are no resource: an eviction with delete options', () => {
    const body = envelope('policy/v1', 'Eviction', metadata('web'), bytes(2, integer(1, 0), bytes(5, 'All')))
    assert.deepEqual(decodeProtobuf(body), {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name: 'web' },
      deleteOptions: { gracePeriodSeconds: 0, dryRun: ['All'] },
    })
  })

  it('skips field numbers it does not know', () => {
    const body = envelope('v1', 'ConfigMap', metadata('c'), integer(500, 7), bytes(501, 'new'))
    assert.deepEqual(decodeProtobuf(body), { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c' } })
  })

  const failures: { name: string; body: Uint8Array; error: RegExp }[] = [
    { name: 'no envelope', body: Buffer.from('{}'), error: /does not begin with/ },
    { name: 'an unknown kind', body: envelope('v9', 'Widget'), error: /v9 Widget: the kind is unknown/ },
    { name: 'a cut value', body: envelope('v1', 'ConfigMap', Uint8Array.of(10, 90, 1)), error: /ends inside a value/ },
    { name: 'a cut number', body: envelope('v1', 'ConfigMap', Uint8Array.of(0x88)), error: /ends inside a number/ },
    {
      name: 'text that is not UTF-8',
      body: envelope('v1', 'ConfigMap', bytes(1, bytes(1, Uint8Array.of(0xff)))),
      error: /ConfigMap/,
    },
  ]
  for (const { name, body, error } of failures) {
    it(`refuses ${name}`, () => {
      assert.throws(() => decodeProtobuf(body), { name: 'SyntaxError', message: error, code: 'FAIRLEAD_KUBE_PROTOBUF' })
    })
  }
})
