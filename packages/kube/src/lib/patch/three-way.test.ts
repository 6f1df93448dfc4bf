import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { applyMergePatch, applyStrategicMergePatch, createThreeWayMergePatch } from '../../patch.ts'

const deployment = 'io.k8s.api.apps.v1.Deployment'
const service = 'io.k8s.api.core.v1.Service'

/** A deployment of the given containers and volumes, as a manifest has it. */
function manifest(containers: unknown[], extra: object = {}): { spec: { template: { spec: object } } } {
  return { spec: { template: { spec: { containers, ...extra } } } }
}

interface Case {
  name: string
  definition?: string
  original: unknown
  modified: unknown
  current: unknown
  patch: unknown
  /** What current becomes. */
  result: unknown
}

const cases: Case[] = [
  {
    name: 'is empty when the cluster only added defaults',
    definition: deployment,
    original: manifest([{ name: 'web', image: 'web:1', ports: [{ containerPort: 80 }] }]),
    modified: manifest([{ name: 'web', image: 'web:1', ports: [{ containerPort: 80 }] }]),
    current: manifest([
      { name: 'web', image: 'web:1', imagePullPolicy: 'IfNotPresent', ports: [{ containerPort: 80, protocol: 'TCP' }] },
    ]),
    patch: {},
    result: manifest([
      { name: 'web', image: 'web:1', imagePullPolicy: 'IfNotPresent', ports: [{ containerPort: 80, protocol: 'TCP' }] },
    ]),
  },
  {
    name: 'changes an image and leaves a sidecar and a scaled replica count alone',
    definition: deployment,
    original: manifest([{ name: 'web', image: 'web:1' }]),
    modified: manifest([{ name: 'web', image: 'web:2' }]),
    current: {
      spec: { replicas: 5, template: { spec: { containers: [{ name: 'web', image: 'web:1' }, { name: 'sidecar' }] } } },
    },
    patch: {
      spec: {
        template: {
          spec: { '$setElementOrder/containers': [{ name: 'web' }], containers: [{ name: 'web', image: 'web:2' }] },
        },
      },
    },
    result: {
      spec: { replicas: 5, template: { spec: { containers: [{ name: 'web', image: 'web:2' }, { name: 'sidecar' }] } } },
    },
  },
  {
    name: 'removes a container and an env entry that were applied before',
    definition: deployment,
    original: manifest([
      {
        name: 'web',
        env: [
          { name: 'A', value: '1' },
          { name: 'B', value: '2' },
        ],
      },
      { name: 'log' },
    ]),
    modified: manifest([{ name: 'web', env: [{ name: 'B', value: '3' }] }]),
    current: manifest([
      {
        name: 'web',
        env: [
          { name: 'A', value: '1' },
          { name: 'B', value: '2' },
          { name: 'X', value: 'y' },
        ],
      },
      { name: 'log' },
    ]),
    patch: {
      spec: {
        template: {
          spec: {
            '$setElementOrder/containers': [{ name: 'web' }],
            containers: [
              {
                name: 'web',
                '$setElementOrder/env': [{ name: 'B' }],
                env: [
                  { name: 'B', value: '3' },
                  { $patch: 'delete', name: 'A' },
                ],
              },
              { $patch: 'delete', name: 'log' },
            ],
          },
        },
      },
    },
    result: manifest([
      {
        name: 'web',
        env: [
          { name: 'B', value: '3' },
          { name: 'X', value: 'y' },
        ],
      },
    ]),
  },
  {
    name: 'changes the strategy to Recreate and drops the defaulted rollingUpdate',
    definition: deployment,
    original: { spec: {} },
    modified: { spec: { strategy: { type: 'Recreate' } } },
    current: {
      spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } } },
    },
    patch: { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } },
    result: { spec: { strategy: { type: 'Recreate' } } },
  },
  {
    name: 'exchanges the source of a volume',
    definition: deployment,
    original: manifest([], { volumes: [{ name: 'data', emptyDir: {} }] }),
    modified: manifest([], { volumes: [{ name: 'data', configMap: { name: 'cm' } }] }),
    current: manifest([], { volumes: [{ name: 'data', emptyDir: {} }] }),
    patch: {
      spec: {
        template: {
          spec: {
            '$setElementOrder/volumes': [{ name: 'data' }],
            volumes: [{ $retainKeys: ['configMap', 'name'], configMap: { name: 'cm' }, name: 'data' }],
          },
        },
      },
    },
    result: manifest([], { volumes: [{ name: 'data', configMap: { name: 'cm' } }] }),
  },
  {
    name: 'removes labels it set and keeps those of others',
    definition: deployment,
    original: { metadata: { labels: { a: '1', b: '2' } } },
    modified: { metadata: { labels: { a: '1' } } },
    current: { metadata: { labels: { a: '1', b: '2', other: 'x' } } },
    patch: { metadata: { labels: { b: null } } },
    result: { metadata: { labels: { a: '1', other: 'x' } } },
  },
  {
    name: 'reorders containers',
    definition: deployment,
    original: manifest([{ name: 'a' }, { name: 'b' }]),
    modified: manifest([{ name: 'b' }, { name: 'a' }]),
    current: manifest([{ name: 'a' }, { name: 'b' }]),
    patch: { spec: { template: { spec: { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }] } } } },
    result: manifest([{ name: 'b' }, { name: 'a' }]),
  },
  {
    name: 'deletes from a scalar list what it had put there',
    definition: deployment,
    original: { metadata: { finalizers: ['mine', 'old'] } },
    modified: { metadata: { finalizers: ['mine', 'new'] } },
    current: { metadata: { finalizers: ['foreign', 'mine', 'old'] } },
    patch: {
      metadata: {
        '$deleteFromPrimitiveList/finalizers': ['old'],
        '$setElementOrder/finalizers': ['mine', 'new'],
        finalizers: ['new'],
      },
    },
    result: { metadata: { finalizers: ['foreign', 'mine', 'new'] } },
  },
  {
    name: 'replaces the list when the merge key is ambiguous: port 53 over TCP and UDP',
    definition: service,
    original: undefined,
    modified: {
      spec: {
        ports: [
          { port: 53, protocol: 'UDP' },
          { port: 53, protocol: 'TCP' },
        ],
      },
    },
    current: { spec: { ports: [{ port: 53, protocol: 'UDP' }] } },
    patch: { spec: { ports: [{ port: 53, protocol: 'UDP' }, { port: 53, protocol: 'TCP' }, { $patch: 'replace' }] } },
    result: {
      spec: {
        ports: [
          { port: 53, protocol: 'UDP' },
          { port: 53, protocol: 'TCP' },
        ],
      },
    },
  },
  {
    name: 'replaces lists of unknown kinds as a whole',
    original: { spec: { list: [{ name: 'a' }], gone: 1 } },
    modified: { spec: { list: [{ name: 'a' }, { name: 'b' }] } },
    current: { spec: { list: [{ name: 'a' }], gone: 1, foreign: true } },
    patch: { spec: { list: [{ name: 'a' }, { name: 'b' }], gone: null } },
    result: { spec: { list: [{ name: 'a' }, { name: 'b' }], foreign: true } },
  },
]

describe('createThreeWayMergePatch', () => {
  for (const { name, definition, original, modified, current, patch, result } of cases) {
    it(name, () => {
      const before = JSON.stringify([original, modified, current])
      const made = createThreeWayMergePatch({ original, modified, current, definition })
      assert.deepEqual(made, patch)
      const applied =
        definition === undefined ? applyMergePatch(current, made) : applyStrategicMergePatch(current, made, definition)
      assert.deepEqual(applied, result)
      assert.equal(JSON.stringify([original, modified, current]), before)
    })
  }
})
