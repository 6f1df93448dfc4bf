import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { findKind, kinds } from '@fairlead/kube/types'
import type { KubeObject } from '@fairlead/kube/types'
import type { StatefulSet } from '@fairlead/kube/types/apps-v1'

import { strategyOf } from './strategy-of.ts'
import type { KindStrategy } from '../strategy.ts'

const now = Date.parse('2026-01-01T01:00:00Z')

function strategy(apiVersion: string, kind: string): KindStrategy {
  const info = findKind(apiVersion, kind)
  assert.ok(info)
  return strategyOf(info)
}

function object(apiVersion: string, kind: string, rest: object): KubeObject {
  const base = {
    apiVersion,
    kind,
    metadata: { name: 'web', namespace: 'shop', uid: 'u1', creationTimestamp: '2026-01-01T00:58:00Z' },
  }
  return structuredClone({ ...base, ...rest })
}

/** What a create makes of an object: prepared, defaulted, validated. */
function create(apiVersion: string, kind: string, rest: object): { stored: KubeObject; errors: string[] } {
  const own = strategy(apiVersion, kind)
  const stored = object(apiVersion, kind, rest)
  own.create?.(stored)
  own.default?.(stored)
  const errors = (own.validate?.(stored, undefined) ?? []).map(({ field, message }) => `${field}: ${message}`)
  return { stored, errors }
}

/** Findings of an update from `before` to `after`. */
function update(apiVersion: string, kind: string, before: object, after: object): string[] {
  const own = strategy(apiVersion, kind)
  const [old, wanted] = [object(apiVersion, kind, before), object(apiVersion, kind, after)]
  own.create?.(old)
  own.default?.(old)
  own.update?.(wanted, old)
  own.default?.(wanted)
  return (own.validate?.(wanted, old) ?? []).map(({ field, message }) => `${field}: ${message}`)
}

function rollingOf(object: KubeObject): unknown {
  return (object as KubeObject & StatefulSet).spec?.updateStrategy?.rollingUpdate
}

const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'web', image: 'web:1' }] } }
const selector = { matchLabels: { app: 'web' } }

describe('strategyOf: defaults', () => {
  it('keeps of a StatefulSet how many may be away only where it was kept before', () => {
    const withShare = { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 2 } } }
    const spec = { selector, template, serviceName: 'web', ...withShare }
    const { stored } = create('apps/v1', 'StatefulSet', { spec })
    assert.deepEqual(rollingOf(stored), { partition: 0 })
    const own = strategy('apps/v1', 'StatefulSet')
    for (const [before, kept] of [
      [undefined, { partition: 0 }],
      [3, { partition: 0, maxUnavailable: 2 }],
    ] as const) {
      const old = object('apps/v1', 'StatefulSet', {
        spec: { ...spec, updateStrategy: { rollingUpdate: { maxUnavailable: before } } },
      })
      const wanted = object('apps/v1', 'StatefulSet', { spec })
      own.update?.(wanted, old)
      own.default?.(wanted)
      assert.deepEqual(rollingOf(wanted), kept)
    }
  })

  it('fills in a pod as v1 does', () => {
    const { stored, errors } = create('v1', 'Pod', {
      spec: {
        containers: [
          {
            name: 'web',
            image: 'registry:5000/web',
            ports: [{ containerPort: 80 }],
            readinessProbe: { httpGet: { port: 80 }, periodSeconds: 2 },
            resources: { limits: { cpu: '1000m', memory: 1048576 } },
            volumeMounts: [{ name: 'config', mountPath: '/config' }],
          },
        ],
        volumes: [{ name: 'config', configMap: { name: 'settings' } }, { name: 'scratch' }],
      },
      status: { phase: 'Running' },
    })
    assert.deepEqual(errors, [])
    assert.deepEqual(stored['status'], { phase: 'Pending', qosClass: 'Guaranteed' })
    assert.deepEqual(stored['spec'], {
      containers: [
        {
          name: 'web',
          image: 'registry:5000/web',
          imagePullPolicy: 'Always',
          ports: [{ containerPort: 80, protocol: 'TCP' }],
          readinessProbe: {
            httpGet: { port: 80, path: '/', scheme: 'HTTP' },
            periodSeconds: 2,
            timeoutSeconds: 1,
            successThreshold: 1,
            failureThreshold: 3,
          },
          resources: { limits: { cpu: '1', memory: '1048576' }, requests: { cpu: '1', memory: '1048576' } },
          terminationMessagePath: '/dev/termination-log',
          terminationMessagePolicy: 'File',
          volumeMounts: [{ name: 'config', mountPath: '/config' }],
        },
      ],
      volumes: [
        { name: 'config', configMap: { name: 'settings', defaultMode: 420 } },
        { name: 'scratch', emptyDir: {} },
      ],
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 30,
      dnsPolicy: 'ClusterFirst',
      securityContext: {},
      schedulerName: 'default-scheduler',
      enableServiceLinks: true,
    })
  })

  for (const [image, policy] of [
    ['web', 'Always'],
    ['web:latest', 'Always'],
    ['web:1', 'IfNotPresent'],
    ['host:5000/web', 'Always'],
    ['web@sha256:aa', 'IfNotPresent'],
  ]) {
    it(`pulls ${image} ${policy}`, () => {
      const { stored } = create('v1', 'Pod', { spec: { containers: [{ name: 'web', image }] } })
      const spec = stored['spec'] as { containers: { imagePullPolicy: string }[] }
      assert.equal(spec.containers[0]?.imagePullPolicy, policy)
    })
  }

  it('fills in a deployment and its template', () => {
    const { stored, errors } = create('apps/v1', 'Deployment', {
      spec: { selector, template, strategy: null },
      status: { replicas: 3 },
    })
    assert.deepEqual(errors, [])
    const { template: filled, ...spec } = stored['spec'] as { template: { spec: { restartPolicy: string } } }
    assert.deepEqual(spec, {
      selector,
      replicas: 1,
      revisionHistoryLimit: 10,
      progressDeadlineSeconds: 600,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%', maxSurge: '25%' } },
    })
    assert.equal(filled.spec.restartPolicy, 'Always')
    // Go writes it, as it is no pointer.
    assert.deepEqual(stored['status'], {})
  })

  it('fills in a service', () => {
    const { stored, errors } = create('v1', 'Service', { spec: { ports: [{ port: 80 }], selector: { app: 'web' } } })
    assert.deepEqual(errors, [])
    assert.deepEqual(stored['spec'], {
      ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
      selector: { app: 'web' },
      type: 'ClusterIP',
      sessionAffinity: 'None',
      internalTrafficPolicy: 'Cluster',
    })
  })

  it('moves stringData of a secret into data', () => {
    const { stored } = create('v1', 'Secret', { stringData: { token: 'abc' }, data: { key: 'AA==' } })
    assert.deepEqual(
      [stored['data'], stored['type'], stored['stringData']],
      [{ key: 'AA==', token: 'YWJj' }, 'Opaque', undefined],
    )
  })

  it('lets a job find its own pods', () => {
    const { stored, errors } = create('batch/v1', 'Job', {
      spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'a', image: 'a:1' }] } } },
    })
    assert.deepEqual(errors, [])
    const spec = stored['spec'] as { selector: unknown; completions: number; backoffLimit: number }
    assert.deepEqual(spec.selector, { matchLabels: { 'batch.kubernetes.io/controller-uid': 'u1' } })
    assert.deepEqual([spec.completions, spec.backoffLimit], [1, 6])
  })

  it('keeps the status a node registers with', () => {
    const status = { capacity: { cpu: '2000m' } }
    assert.deepEqual(create('v1', 'Node', { status }).stored['status'], { capacity: { cpu: '2' } })
  })
})

describe('strategyOf: validation', () => {
  const cases: { name: string; kind: [string, string]; rest: object; errors: string[] }[] = [
    {
      name: 'a pod without containers',
      kind: ['v1', 'Pod'],
      rest: { spec: {} },
      errors: ['spec.containers: Required value'],
    },
    {
      name: 'containers that repeat names, miss images and mount what is not there',
      kind: ['v1', 'Pod'],
      rest: {
        spec: {
          containers: [
            { name: 'a', image: 'a:1', volumeMounts: [{ name: 'gone', mountPath: '/x' }] },
            { name: 'a', ports: [{ containerPort: 70000 }] },
          ],
        },
      },
      errors: [
        'spec.containers[0].volumeMounts[0].name: Not found: "gone"',
        'spec.containers[1].image: Required value',
        'spec.containers[1].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive',
        'spec.containers[1].name: Duplicate value: "a"',
      ],
    },
    {
      name: 'sysctls that no kernel has',
      kind: ['v1', 'Pod'],
      rest: {
        spec: {
          containers: [{ name: 'a', image: 'a:1' }],
          securityContext: {
            sysctls: [
              { name: 'kernel.shmmax', value: '1' },
              { name: 'net/ipv4/ip_forward', value: '1' },
              { name: 'bar..', value: '1' },
            ],
          },
        },
      },
      errors: [
        'spec.securityContext.sysctls[2].name: Invalid value: "bar..": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$',
      ],
    },
    {
      name: 'requests above limits, quantities that are none',
      kind: ['v1', 'Pod'],
      rest: {
        spec: {
          containers: [
            { name: 'a', image: 'a:1', resources: { requests: { cpu: '2' }, limits: { cpu: '1', memory: '1MB' } } },
          ],
        },
      },
      errors: [
        'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
        'spec.containers[0].resources.limits[memory]: Invalid value: "1MB": quantities must match the regular expression \'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$\'',
        'spec.containers[0].resources.requests[memory]: Invalid value: "1MB": quantities must match the regular expression \'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$\'',
      ],
    },
    {
      name: 'a selector that does not match the template',
      kind: ['apps/v1', 'Deployment'],
      rest: { spec: { selector: { matchLabels: { app: 'other' } }, template } },
      errors: [
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
      ],
    },
    {
      name: 'a deployment with neither selector nor template',
      kind: ['apps/v1', 'Deployment'],
      rest: { spec: { replicas: -1 } },
      errors: [
        'spec.replicas: Invalid value: -1: must be greater than or equal to 0',
        'spec.selector: Required value',
        'spec.template.spec.containers: Required value',
      ],
    },
    {
      name: 'a template that would not restart',
      kind: ['apps/v1', 'Deployment'],
      rest: { spec: { selector, template: { ...template, spec: { ...template.spec, restartPolicy: 'Never' } } } },
      errors: ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
    },
    {
      name: 'a service without ports and with an unknown type',
      kind: ['v1', 'Service'],
      rest: { spec: { type: 'Magic' } },
      errors: [
        'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
        'spec.ports: Required value',
      ],
    },
    {
      name: 'service ports without names',
      kind: ['v1', 'Service'],
      rest: { spec: { ports: [{ port: 80 }, { port: 80 }] } },
      errors: [
        'spec.ports[0].name: Required value',
        'spec.ports[1].name: Required value',
        'spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}',
      ],
    },
    {
      name: 'secret data that is not base64',
      kind: ['v1', 'Secret'],
      rest: { data: { key: '###' } },
      errors: ['data[key]: Invalid value: "<hidden>": must be base64-encoded'],
    },
  ]
  for (const { name, kind, rest, errors } of cases) {
    it(name, () => assert.deepEqual(create(...kind, rest).errors, errors))
  }

  it('survives objects with nothing in them', () => {
    for (const info of kinds) {
      for (const rest of [{}, { spec: {} }, { spec: null, status: {} }]) create(info.apiVersion, info.kind, rest)
    }
  })
})

describe('strategyOf: updates', () => {
  it('refuses another selector', () => {
    const other = { ...template, metadata: { labels: { app: 'web', tier: 'a' } } }
    const wanted = { spec: { selector: { matchLabels: { tier: 'a' } }, template: other } }
    assert.deepEqual(update('apps/v1', 'Deployment', { spec: { selector, template } }, wanted), [
      'spec.selector: Invalid value: {"matchLabels":{"tier":"a"}}: field is immutable',
    ])
  })

  it('lets the image of a pod change, but nothing else: a node is given by a binding', () => {
    const before = { spec: { containers: [{ name: 'web', image: 'web:1' }] } }
    assert.deepEqual(
      update('v1', 'Pod', before, {
        spec: { containers: [{ name: 'web', image: 'web:2', imagePullPolicy: 'IfNotPresent' }] },
      }),
      [],
    )
    const [moved] = update('v1', 'Pod', before, { spec: { ...before.spec, nodeName: 'n1' } })
    assert.match(moved ?? '', /^spec: Forbidden: pod updates may not change fields other than/)
    const [error] = update('v1', 'Pod', before, {
      spec: { containers: [{ name: 'web', image: 'web:1', args: ['x'] }] },
    })
    assert.match(error ?? '', /^spec: Forbidden: pod updates may not change fields other than/)
  })

  it('keeps an immutable config map as it is', () => {
    const before = { immutable: true, data: { a: '1' } }
    assert.deepEqual(update('v1', 'ConfigMap', before, { immutable: true, data: { a: '2' } }), [
      'data: Forbidden: field is immutable when `immutable` is set',
    ])
  })

  it('leaves the status alone', () => {
    const wanted = object('apps/v1', 'Deployment', { spec: { selector, template }, status: { replicas: 9 } })
    const old = object('apps/v1', 'Deployment', { status: { replicas: 1 } })
    strategy('apps/v1', 'Deployment').update?.(wanted, old)
    assert.deepEqual(wanted['status'], { replicas: 1 })
  })
})

describe('strategyOf: writes of a status', () => {
  it('refuses quantities that are none', () => {
    const pod = object('v1', 'Pod', { spec: { containers: [{ name: 'web', image: 'web:1' }] } })
    const web = { name: 'web', image: 'web:1', imageID: '', ready: true, restartCount: 0 }
    const status = { phase: 'Running', containerStatuses: [{ ...web, allocatedResources: { cpu: 'much' } }] }
    const errors = strategy('v1', 'Pod').validateStatus?.({ ...pod, status }, pod) ?? []
    assert.deepEqual(
      errors.map(({ field }) => field),
      ['status.containerStatuses[0].allocatedResources[cpu]'],
    )
  })

  it('does not look at the spec again', () => {
    const pod = object('v1', 'Pod', { spec: { containers: [{ name: 'Not_a_name', image: '' }] } })
    assert.deepEqual(strategy('v1', 'Pod').validateStatus?.({ ...pod, status: { phase: 'Running' } }, pod), [])
  })
})

describe('strategyOf: columns', () => {
  const cases: { kind: [string, string]; rest: object; row: unknown[] }[] = [
    {
      kind: ['apps/v1', 'Deployment'],
      rest: {
        spec: { replicas: 2, selector, template },
        status: { readyReplicas: 1, updatedReplicas: 2, availableReplicas: 1 },
      },
      row: ['web', '1/2', 2, 1, '2m', 'web', 'web:1', 'app=web'],
    },
    {
      kind: ['v1', 'Service'],
      rest: {
        spec: {
          type: 'LoadBalancer',
          clusterIP: '10.96.0.10',
          ports: [{ port: 80, nodePort: 30080, protocol: 'TCP' }],
          selector: { app: 'web' },
        },
      },
      row: ['web', 'LoadBalancer', '10.96.0.10', '<pending>', '80:30080/TCP', '2m', 'app=web'],
    },
    {
      kind: ['v1', 'Node'],
      rest: {
        metadata: { name: 'n1', labels: { 'node-role.kubernetes.io/control-plane': '' } },
        spec: { unschedulable: true },
        status: { conditions: [{ type: 'Ready', status: 'True' }], nodeInfo: { kubeletVersion: 'v1.36.0' } },
      },
      row: [
        'n1',
        'Ready,SchedulingDisabled',
        'control-plane',
        '<unknown>',
        'v1.36.0',
        '<none>',
        '<none>',
        '<unknown>',
        '<unknown>',
        '<unknown>',
      ],
    },
    {
      kind: ['v1', 'Event'],
      rest: {
        involvedObject: { kind: 'Pod', name: 'web-1' },
        type: 'Normal',
        reason: 'Started',
        message: 'Started container\n',
        source: { component: 'kubelet', host: 'n1' },
        firstTimestamp: '2026-01-01T00:30:00Z',
        lastTimestamp: '2026-01-01T00:59:30Z',
        count: 4,
      },
      row: ['30s', 'Normal', 'Started', 'pod/web-1', '', 'kubelet, n1', 'Started container', '30m', 4, 'web'],
    },
    {
      kind: ['v1', 'Endpoints'],
      rest: { subsets: [{ addresses: [{ ip: '10.0.0.1' }, { ip: '10.0.0.2' }], ports: [{ port: 80 }] }] },
      row: ['web', '10.0.0.1:80,10.0.0.2:80', '2m'],
    },
    { kind: ['v1', 'ConfigMap'], rest: { data: { a: '', b: '' } }, row: ['web', 2, '2m'] },
    { kind: ['v1', 'Namespace'], rest: { status: { phase: 'Active' } }, row: ['web', 'Active', '2m'] },
    { kind: ['node.k8s.io/v1', 'RuntimeClass'], rest: { handler: 'runc' }, row: ['web', 'runc', '2m'] },
  ]
  for (const { kind, rest, row } of cases) {
    it(kind[1], () => assert.deepEqual(strategy(...kind).row(object(...kind, rest), now), row))
  }

  it('gives every kind as many cells as columns', () => {
    for (const info of kinds) {
      const own = strategyOf(info)
      const each = object(info.apiVersion, info.kind, { spec: {} })
      own.create?.(each)
      own.default?.(each)
      assert.equal(own.row(each, now).length, own.columns.length, info.kind)
    }
  })

  it('selects by fields', () => {
    const pod = object('v1', 'Pod', {
      spec: { nodeName: 'n1', containers: [] },
      status: { phase: 'Running', podIP: '10.0.0.1' },
    })
    const fields = strategy('v1', 'Pod').fields?.(pod)
    assert.equal(fields?.['spec.nodeName'], 'n1')
    assert.equal(fields?.['status.phase'], 'Running')
    assert.equal(fields?.['spec.hostNetwork'], 'false')
  })
})

describe('a StatefulSet', () => {
  it('may mount what its claims bring, and nothing that is not there', () => {
    const mounting = (name: string): object => {
      const containers = [{ name: 'web', image: 'web:1', volumeMounts: [{ name, mountPath: '/data' }] }]
      const claim = {
        metadata: { name: 'data' },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
      }
      const spec = { selector, serviceName: 'web', template: { ...template, spec: { containers } } }
      return { spec: { ...spec, volumeClaimTemplates: [claim] } }
    }
    const { stored, errors } = create('apps/v1', 'StatefulSet', mounting('data'))
    assert.deepEqual(errors, [])
    assert.equal(JSON.stringify(stored).includes('persistentVolumeClaim"'), false)
    assert.match(create('apps/v1', 'StatefulSet', mounting('other')).errors.join(), /volumeMounts\[0\].name: .*"other"/)
  })
})
