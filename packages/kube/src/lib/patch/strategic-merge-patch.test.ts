import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { findDefinition } from '../../types.ts'
import { applyStrategicMergePatch } from '../../patch.ts'

const pod = 'io.k8s.api.core.v1.Pod'
const deployment = 'io.k8s.api.apps.v1.Deployment'
const service = 'io.k8s.api.core.v1.Service'
const web = {
  name: 'web',
  image: 'web:1',
  env: [
    { name: 'A', value: '1' },
    { name: 'B', value: '2' },
  ],
}

interface Case {
  name: string
  definition: string
  live: unknown
  patch: unknown
  expected: unknown
}

const cases: Case[] = [
  {
    name: 'merges a container by name and its env by name',
    definition: pod,
    live: { spec: { containers: [web, { name: 'log', image: 'log:1' }] } },
    patch: {
      spec: {
        containers: [
          {
            name: 'web',
            image: 'web:2',
            env: [
              { name: 'B', value: '3' },
              { name: 'C', value: '4' },
            ],
          },
        ],
      },
    },
    expected: {
      spec: {
        containers: [
          {
            name: 'web',
            image: 'web:2',
            env: [
              { name: 'A', value: '1' },
              { name: 'B', value: '3' },
              { name: 'C', value: '4' },
            ],
          },
          { name: 'log', image: 'log:1' },
        ],
      },
    },
  },
  {
    name: 'puts a new container before those it does not name, as upstream does',
    definition: pod,
    live: { spec: { containers: [web] } },
    patch: { spec: { containers: [{ name: 'log', image: 'log:1' }] } },
    expected: { spec: { containers: [{ name: 'log', image: 'log:1' }, web] } },
  },
  {
    name: 'removes a container with $patch: delete',
    definition: pod,
    live: { spec: { containers: [web, { name: 'log' }] } },
    patch: { spec: { containers: [{ name: 'log', $patch: 'delete' }] } },
    expected: { spec: { containers: [web] } },
  },
  {
    name: 'replaces a list with $patch: replace',
    definition: pod,
    live: { spec: { containers: [web, { name: 'log' }] } },
    patch: { spec: { containers: [{ name: 'new' }, { $patch: 'replace' }] } },
    expected: { spec: { containers: [{ name: 'new' }] } },
  },
  {
    name: 'replaces an object with $patch: replace',
    definition: pod,
    live: { metadata: { labels: { a: '1', b: '2' } } },
    patch: { metadata: { labels: { $patch: 'replace', c: '3' } } },
    expected: { metadata: { labels: { c: '3' } } },
  },
  {
    name: 'empties an object with $patch: delete',
    definition: pod,
    live: { spec: { securityContext: { runAsUser: 1 } } },
    patch: { spec: { securityContext: { $patch: 'delete' } } },
    expected: { spec: { securityContext: {} } },
  },
  {
    name: 'removes a key set to null and drops nulls that match nothing',
    definition: pod,
    live: { metadata: { labels: { a: '1', b: '2' } } },
    patch: { metadata: { labels: { a: null, x: null }, annotations: { y: null, z: '1' } } },
    expected: { metadata: { labels: { b: '2' }, annotations: { z: '1' } } },
  },
  {
    name: 'replaces lists without a merge strategy',
    definition: pod,
    live: { spec: { containers: [{ name: 'web', args: ['a', 'b'] }] } },
    patch: { spec: { containers: [{ name: 'web', args: ['c'] }] } },
    expected: { spec: { containers: [{ name: 'web', args: ['c'] }] } },
  },
  {
    name: 'merges scalar lists and deletes from them',
    definition: pod,
    live: { metadata: { finalizers: ['a', 'b', 'c'] } },
    patch: { metadata: { '$deleteFromPrimitiveList/finalizers': ['b'], finalizers: ['d', 'a'] } },
    expected: { metadata: { finalizers: ['d', 'a', 'c'] } },
  },
  {
    name: 'orders elements with $setElementOrder, the unnamed ones stay where they were',
    definition: pod,
    live: { spec: { containers: [{ name: 'a' }, { name: 'injected' }, { name: 'b' }] } },
    patch: {
      spec: {
        '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }, { name: 'new' }],
        containers: [{ name: 'new' }],
      },
    },
    expected: { spec: { containers: [{ name: 'injected' }, { name: 'b' }, { name: 'a' }, { name: 'new' }] } },
  },
  {
    name: 'orders a list the patch does not change',
    definition: pod,
    live: { spec: { containers: [{ name: 'a', image: 'a' }, { name: 'b' }] } },
    patch: { spec: { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }] } },
    expected: { spec: { containers: [{ name: 'b' }, { name: 'a', image: 'a' }] } },
  },
  {
    name: 'changes strategy to Recreate with $retainKeys',
    definition: deployment,
    live: { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%' } } } },
    patch: { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } },
    expected: { spec: { strategy: { type: 'Recreate' } } },
  },
  {
    name: 'exchanges the source of a volume with $retainKeys',
    definition: pod,
    live: {
      spec: {
        volumes: [
          { name: 'data', emptyDir: {} },
          { name: 'other', emptyDir: {} },
        ],
      },
    },
    patch: { spec: { volumes: [{ name: 'data', $retainKeys: ['name', 'configMap'], configMap: { name: 'cm' } }] } },
    expected: {
      spec: {
        volumes: [
          { name: 'data', configMap: { name: 'cm' } },
          { name: 'other', emptyDir: {} },
        ],
      },
    },
  },
  {
    name: 'merges service ports by port',
    definition: service,
    live: { spec: { ports: [{ port: 80, targetPort: 8080, nodePort: 30000 }, { port: 443 }] } },
    patch: { spec: { ports: [{ port: 80, targetPort: 9090 }] } },
    expected: { spec: { ports: [{ port: 80, targetPort: 9090, nodePort: 30000 }, { port: 443 }] } },
  },
  {
    name: 'replaces a selector whose strategy is replace',
    definition: 'io.k8s.api.policy.v1.PodDisruptionBudget',
    live: { spec: { selector: { matchLabels: { a: '1' } } } },
    patch: { spec: { selector: { matchLabels: { b: '2' } } } },
    expected: { spec: { selector: { matchLabels: { b: '2' } } } },
  },
  {
    name: 'takes a new value as it is',
    definition: pod,
    live: {},
    patch: {
      spec: {
        '$setElementOrder/volumes': [{ name: 'v' }],
        volumes: [{ name: 'v', $retainKeys: ['name', 'emptyDir'], emptyDir: {} }],
      },
    },
    // What is new is taken as it is, except for what carries $patch; the API server's decoding drops the rest.
    expected: {
      spec: {
        '$setElementOrder/volumes': [{ name: 'v' }],
        volumes: [{ name: 'v', $retainKeys: ['name', 'emptyDir'], emptyDir: {} }],
      },
    },
  },
  {
    name: 'merges conditions by type',
    definition: pod,
    live: {
      status: {
        conditions: [
          { type: 'Ready', status: 'False' },
          { type: 'Initialized', status: 'True' },
        ],
      },
    },
    patch: { status: { conditions: [{ type: 'Ready', status: 'True' }] } },
    expected: {
      status: {
        conditions: [
          { type: 'Ready', status: 'True' },
          { type: 'Initialized', status: 'True' },
        ],
      },
    },
  },
]

describe('applyStrategicMergePatch', () => {
  for (const { name, definition, live, patch, expected } of cases) {
    it(name, () => {
      const before = JSON.stringify([live, patch])
      assert.deepEqual(applyStrategicMergePatch(live, patch, definition), expected)
      assert.equal(JSON.stringify([live, patch]), before)
    })
  }

  const failures: { name: string; patch: unknown; error: RegExp }[] = [
    {
      name: '$patch: merge, which was never made',
      patch: { metadata: { $patch: 'merge', labels: {} } },
      error: /^unknown patch type: merge/,
    },
    { name: 'no object', patch: [], error: /it is not an object/ },
    {
      name: 'unknown directive',
      patch: { metadata: { $patch: 'swap' } },
      error: /^unknown patch type: swap in map: map\[\$patch:swap\]$/,
    },
    {
      name: 'element without merge key',
      patch: { spec: { containers: [{ image: 'x' }] } },
      error: /map\[image:x\] does not contain declared merge key: name/,
    },
    {
      name: 'key outside $retainKeys',
      patch: { spec: { $retainKeys: ['a'], b: 1 } },
      error: /^invalid patch format of retainKeys$/,
    },
    {
      name: 'elements against their own order',
      patch: {
        spec: {
          '$setElementOrder/containers': [{ name: 'a' }, { name: 'b' }],
          containers: [{ name: 'b' }, { name: 'a' }],
        },
      },
      error: /^The order in patch list:\n\[map\[name:b\] map\[name:a\]\]\n doesn't match \$setElementOrder list:/,
    },
  ]
  for (const { name, patch, error } of failures) {
    it(`refuses: ${name}`, () => {
      const live = { metadata: {}, spec: { containers: [{ name: 'a' }] } }
      assert.throws(() => applyStrategicMergePatch(live, patch, pod), { message: error, code: 'FAIRLEAD_KUBE_PATCH' })
    })
  }
})

/** Cases whose results were found equal to those of upstream's own code: docs/conformance.md tells how to repeat that. */
const file = join(import.meta.dirname, 'testdata/strategic-merge-patch.json')
const table = JSON.parse(readFileSync(file, 'utf8')) as {
  name: string
  apiVersion: string
  kind: string
  original: unknown
  patch: unknown
  expected?: unknown
  error?: string
}[]

describe('applyStrategicMergePatch, beside upstream', () => {
  for (const { name, apiVersion, kind, original, patch, expected, error } of table) {
    it(name, () => {
      const definition = findDefinition(apiVersion, kind) ?? ''
      if (error === undefined) assert.deepEqual(applyStrategicMergePatch(original, patch, definition), expected)
      else assert.throws(() => applyStrategicMergePatch(original, patch, definition), { message: error })
    })
  }
})
