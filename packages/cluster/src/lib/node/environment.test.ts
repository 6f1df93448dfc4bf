import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Container, Pod } from '@fairlead/kube/types/core-v1'

import { createEnvironment, expand, readField, readResource } from './environment.ts'
import type { PodPlace, Sources } from './environment.ts'

const place: PodPlace = { podIp: '10.0.0.2', hostIp: '10.0.0.1', nodeName: 'here', cpus: 4, memoryBytes: 8e9 }
const sources: Sources = {
  configMap: async (_namespace, name) =>
    name === 'settings' ? { data: { colour: 'blue' }, binaryData: { raw: 'aGk=' } } : undefined,
  secret: async (_namespace, name) => (name === 'keys' ? { data: { token: 'czNjcmV0' } } : undefined),
}
const pod: Pod = {
  metadata: {
    name: 'web',
    namespace: 'shop',
    uid: 'u1',
    labels: { app: 'web', tier: 'a"b' },
    annotations: { note: 'x' },
  },
  spec: {
    serviceAccountName: 'robot',
    containers: [{ name: 'app', resources: { limits: { cpu: '1500m', memory: '64Mi' } } }],
  },
}

function create(container: Partial<Container>): Promise<Record<string, string>> {
  return createEnvironment(pod, { name: 'app', ...container }, place, sources)
}

describe('createEnvironment', () => {
  it('finds no key that only every object has', async () => {
    const env = [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'settings', key: 'constructor' } } }]
    await assert.rejects(create({ env }), /couldn't find key constructor/)
  })

  it('joins whole objects, single keys, fields and values in order', async () => {
    const env = await create({
      envFrom: [{ prefix: 'C_', configMapRef: { name: 'settings' } }, { secretRef: { name: 'keys' } }],
      env: [
        { name: 'HOST', value: 'db' },
        { name: 'URL', value: 'http://$(HOST)/$(C_colour)/$(MISSING)/$$(HOST)' },
        { name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'keys', key: 'token' } } },
        { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        { name: 'CPUS', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
        { name: 'OPTIONAL', valueFrom: { configMapKeyRef: { name: 'nowhere', key: 'x', optional: true } } },
      ],
    })
    assert.deepEqual(env, {
      C_colour: 'blue',
      C_raw: 'hi',
      token: 's3cret',
      HOST: 'db',
      URL: 'http://db/blue/$(MISSING)/$(HOST)',
      TOKEN: 's3cret',
      POD: 'web',
      CPUS: '2',
    })
  })

  const refused: readonly { name: string; container: Partial<Container>; message: RegExp }[] = [
    {
      name: 'a missing ConfigMap',
      container: { envFrom: [{ configMapRef: { name: 'no' } }] },
      message: /configmap "no" not found/,
    },
    {
      name: 'a missing Secret',
      container: { envFrom: [{ secretRef: { name: 'no' } }] },
      message: /secret "no" not found/,
    },
    {
      name: 'a missing key',
      container: { env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 'keys', key: 'no' } } }] },
      message: /couldn't find key no in Secret shop\/keys/,
    },
    {
      name: 'a field that is not offered',
      container: { env: [{ name: 'X', valueFrom: { fieldRef: { fieldPath: 'spec.containers' } } }] },
      message: /does not offer/,
    },
  ]
  for (const { name, container, message } of refused) {
    it(`refuses ${name}`, () => assert.rejects(create(container), { code: 'FAIRLEAD_CLUSTER_POD_CONFIG', message }))
  }
})

describe('expand', () => {
  const cases: readonly [string, string][] = [
    ['$(A)', '1'],
    ['$$(A)', '$(A)'],
    ['$(B)', '$(B)'],
    ['$A $', '$A $'],
    ['$$$(A)', '$1'],
  ]
  for (const [text, expected] of cases)
    it(`turns ${text} into ${expected}`, () => assert.equal(expand(text, { A: '1' }), expected))
})

describe('readField', () => {
  const cases: readonly [string, string][] = [
    ['metadata.namespace', 'shop'],
    ["metadata.labels['app']", 'web'],
    ["metadata.labels['none']", ''],
    ['metadata.labels', 'app="web"\ntier="a\\"b"'],
    ['status.podIP', '10.0.0.2'],
    ['status.hostIP', '10.0.0.1'],
    ['spec.nodeName', 'here'],
    ['spec.serviceAccountName', 'robot'],
  ]
  for (const [path, expected] of cases) it(path, () => assert.equal(readField(pod, path, place), expected))
})

describe('readResource', () => {
  const cases: readonly [string, string | undefined, string][] = [
    ['limits.cpu', undefined, '2'],
    ['limits.cpu', '1m', '1500'],
    ['limits.memory', '1Mi', '64'],
    ['requests.memory', '1Mi', '64'],
    ['requests.ephemeral-storage', undefined, '0'],
  ]
  for (const [resource, divisor, expected] of cases) {
    it(`${resource} by ${divisor ?? 'units'}`, () =>
      assert.equal(readResource(pod, { resource, divisor }, 'app', place), expected))
  }
})
