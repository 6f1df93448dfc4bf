import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Deployment, DeploymentStatus, ReplicaSet } from '@fairlead/kube/types/apps-v1'
import type { Pod, Service } from '@fairlead/kube/types/core-v1'

import { describeDeployment, pauseVerdict } from './deployment-status.ts'
import { matchesSelector } from '../label-selector.ts'
import { describeRemainder } from './namespace.ts'
import { createOwnerGraph, decideCollection } from './owner-graph.ts'
import type { OwnerState } from './owner-graph.ts'
import { decideClaim } from './ownership.ts'
import { describeReplicaSet, rankForDeletion } from './replica-set-plan.ts'
import {
  canonicalTemplate,
  decideCleanup,
  hashTemplate,
  newestAnnotations,
  nextRevision,
  revisionAnnotation,
} from './revision.ts'
import { decideRollback, rollBack } from './rollback.ts'
import { renderEndpoints, renderEndpointSlices } from './service-endpoints.ts'

void describe('matchesSelector', () => {
  const expression = (operator: string, values?: string[]) => ({ matchExpressions: [{ key: 'a', operator, values }] })
  for (const [name, selector, labels, expected] of [
    ['nothing', undefined, { a: '1' }, false],
    ['everything', {}, undefined, true],
    ['labels', { matchLabels: { a: '1' } }, { a: '1', b: '2' }, true],
    ['other labels', { matchLabels: { a: '1' } }, { a: '2' }, false],
    ['In', expression('In', ['1', '2']), { a: '2' }, true],
    ['NotIn', expression('NotIn', ['1']), {}, true],
    ['Exists', expression('Exists'), {}, false],
    ['DoesNotExist', expression('DoesNotExist'), {}, true],
  ] as const) {
    void it(name, () =>
      assert.equal(matchesSelector(selector as Parameters<typeof matchesSelector>[0], labels), expected),
    )
  }
})

void describe('decideClaim', () => {
  const owner = { metadata: { name: 'web', uid: 'owner' } }
  const reference = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', controller: true }
  const pod = (name: string, app: string, uid?: string): Pod => {
    return { metadata: { name, labels: { app }, ownerReferences: uid === undefined ? [] : [{ ...reference, uid }] } }
  }
  const pods = [
    pod('mine', 'web', 'owner'),
    pod('lost', 'other', 'owner'),
    pod('orphan', 'web'),
    pod('theirs', 'web', 'x'),
    pod('alien', 'z'),
  ]
  const names = (list: readonly Pod[]): (string | undefined)[] => list.map(({ metadata }) => metadata?.name)

  void it('keeps, adopts and releases', () => {
    const claim = decideClaim(owner, { matchLabels: { app: 'web' } }, pods)
    assert.deepEqual([names(claim.kept), names(claim.adopted), names(claim.released)], [['mine'], ['orphan'], ['lost']])
  })

  void it('adopts nothing for an owner that is being deleted', () => {
    const dying = { metadata: { ...owner.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } }
    assert.deepEqual(decideClaim(dying, { matchLabels: { app: 'web' } }, pods).adopted, [])
  })
})

void describe('rankForDeletion', () => {
  const time = (second: number): string => `2026-01-01T00:00:${String(second).padStart(2, '0')}Z`
  interface Facts {
    nodeName?: string
    phase?: string
    readySince?: number
    cost?: string
    restarts?: number
    created?: number
  }
  const pod = (
    name: string,
    { nodeName, phase = 'Running', readySince, cost, restarts = 0, created = 0 }: Facts,
  ): Pod => {
    const ready =
      readySince === undefined ? [] : [{ type: 'Ready', status: 'True', lastTransitionTime: time(readySince) }]
    const annotations: Record<string, string> =
      cost === undefined ? {} : { 'controller.kubernetes.io/pod-deletion-cost': cost }
    return {
      metadata: { name, annotations, creationTimestamp: time(created) },
      spec: { nodeName, containers: [] },
      status: {
        phase,
        conditions: ready,
        containerStatuses: [{ name: 'a', restartCount: restarts, ready: true, image: '', imageID: '' }],
      },
    }
  }
  const cases: { name: string; pods: [Pod, Pod] }[] = [
    { name: 'one without a node', pods: [pod('first', {}), pod('second', { nodeName: 'n' })] },
    {
      name: 'a pending one',
      pods: [pod('first', { nodeName: 'n', phase: 'Pending' }), pod('second', { nodeName: 'n' })],
    },
    {
      name: 'one that is not ready',
      pods: [pod('first', { nodeName: 'n' }), pod('second', { nodeName: 'n', readySince: 1 })],
    },
    {
      name: 'a cheaper one',
      pods: [
        pod('first', { nodeName: 'n', readySince: 1, cost: '-1' }),
        pod('second', { nodeName: 'n', readySince: 2 }),
      ],
    },
    {
      name: 'one ready for a shorter time',
      pods: [pod('first', { nodeName: 'n', readySince: 9 }), pod('second', { nodeName: 'n', readySince: 1 })],
    },
    {
      name: 'one restarted more often',
      pods: [
        pod('first', { nodeName: 'n', readySince: 1, restarts: 3 }),
        pod('second', { nodeName: 'n', readySince: 1 }),
      ],
    },
    {
      name: 'a younger one',
      pods: [
        pod('first', { nodeName: 'n', readySince: 1, created: 5 }),
        pod('second', { nodeName: 'n', readySince: 1 }),
      ],
    },
  ]
  for (const { name, pods } of cases) {
    void it(`${name} goes first`, () => {
      const now = Date.parse(time(10))
      assert.equal(rankForDeletion(pods.toReversed(), { now })[0]?.metadata?.name, 'first')
      assert.equal(rankForDeletion(pods, { now })[0]?.metadata?.name, 'first')
    })
  }

  void it('takes times of one power of two as equal, and the uid decides', () => {
    const now = Date.parse(time(40))
    const [old, young] = [pod('old', { nodeName: 'n', readySince: 1 }), pod('young', { nodeName: 'n', readySince: 5 })]
    const named = (one: Pod, uid: string): Pod => ({ ...one, metadata: { ...one.metadata, uid } })
    const first = (pods: Pod[]) => rankForDeletion(pods, { now })[0]?.metadata?.name
    assert.equal(first([named(old, 'a'), named(young, 'b')]), 'old')
    assert.equal(first([named(old, 'b'), named(young, 'a')]), 'young')
  })

  void it('counts the pods of other replica sets of the deployment', () => {
    const [a, b] = [pod('a', { nodeName: 'a', readySince: 1 }), pod('b', { nodeName: 'b', readySince: 1 })]
    const other = pod('other', { nodeName: 'b', readySince: 1 })
    assert.equal(rankForDeletion([a, b], { related: [a, b, other] })[0]?.metadata?.name, 'b')
  })

  void it('one of many on a node goes first', () => {
    const pods = [
      pod('alone', { nodeName: 'a', readySince: 9 }),
      pod('b1', { nodeName: 'b', readySince: 1 }),
      pod('b2', { nodeName: 'b', readySince: 1 }),
    ]
    assert.match(rankForDeletion(pods)[0]?.metadata?.name ?? '', /^b/)
  })
})

void describe('revision', () => {
  const template = (image: string, labels: Record<string, string> = {}) => ({
    metadata: { labels: { app: 'web', ...labels } },
    spec: { containers: [{ name: 'app', image, ports: [] }] },
  })

  void it('knows equal templates whatever their order, hash label and empty fields', () => {
    const other = {
      spec: { containers: [{ image: 'a', name: 'app' }] },
      metadata: { labels: { 'pod-template-hash': 'x', app: 'web' } },
    }
    assert.equal(canonicalTemplate(template('a')), canonicalTemplate(other))
    assert.notEqual(canonicalTemplate(template('a')), canonicalTemplate(template('b')))
  })

  const asking = (to: string): Deployment => ({
    metadata: {
      name: 'web',
      annotations: {
        'deprecated.deployment.rollback.to': to,
        'kubernetes.io/change-cause': 'b',
        [revisionAnnotation]: '3',
      },
    },
    spec: { selector: {}, template: template('b') },
  })
  const replicaSet = (image: string, revision: number): ReplicaSet => ({
    metadata: {
      name: image,
      annotations: { [revisionAnnotation]: `${revision}`, 'kubernetes.io/change-cause': image },
    },
    spec: { selector: {}, template: template(image, { 'pod-template-hash': image }) },
  })
  const made = [replicaSet('b', 3), replicaSet('a', 2), replicaSet('c', 1)]
  for (const { name, to, replicaSets = made, expected } of [
    { name: 'goes back to the one before', to: '0', expected: 'a' },
    { name: 'goes back to the one named', to: '1', expected: 'c' },
    { name: 'asks for nothing that can be read', to: 'x', expected: undefined },
    {
      name: 'finds none before the first',
      to: '0',
      replicaSets: [replicaSet('b', 1)],
      expected: 'DeploymentRollbackRevisionNotFound',
    },
    { name: 'finds none of that number', to: '9', expected: 'DeploymentRollbackRevisionNotFound' },
    { name: 'is there already', to: '3', expected: 'DeploymentRollbackTemplateUnchanged' },
  ]) {
    void it(`of old: ${name}`, () => {
      const step = decideRollback(asking(to), replicaSets)
      assert.equal(step?.act === 'roll-back' ? step.to.metadata?.name : step?.reason, expected)
    })
  }

  void it('of old: brings back the template, and what was said of it', () => {
    const { metadata, spec } = rollBack(asking('2'), replicaSet('a', 2))
    assert.deepEqual(metadata?.annotations, { [revisionAnnotation]: '3', 'kubernetes.io/change-cause': 'a' })
    assert.deepEqual(spec?.template, template('a'))
  })

  void it('names a template by ten safe letters, and otherwise after a collision', () => {
    assert.match(hashTemplate(template('a'), 0), /^[bcdfghjklmnpqrstvwxz2-9]{10}$/)
    assert.equal(hashTemplate(template('a'), 0), hashTemplate(template('a', { 'pod-template-hash': 'x' }), 0))
    assert.notEqual(hashTemplate(template('a'), 0), hashTemplate(template('a'), 1))
  })

  void it('copies annotations that are the template’s, not those that are the deployment’s', () => {
    const deployment: Deployment = {
      metadata: {
        annotations: {
          'kubernetes.io/change-cause': 'why',
          'kubectl.kubernetes.io/last-applied-configuration': '{}',
          'deployment.kubernetes.io/revision': '4',
        },
      },
      spec: { replicas: 2, selector: {}, template: template('a') },
    }
    assert.deepEqual(newestAnnotations(deployment, undefined, { revision: 5n, maxReplicas: 3 }), {
      'kubernetes.io/change-cause': 'why',
      'deployment.kubernetes.io/desired-replicas': '2',
      'deployment.kubernetes.io/max-replicas': '3',
      'deployment.kubernetes.io/revision': '5',
    })
  })

  void it('counts revisions beyond what a number holds exactly', () => {
    const annotations = { 'deployment.kubernetes.io/revision': '3546343826724305832' }
    assert.equal(
      nextRevision([{ apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: { annotations } }]),
      3546343826724305833n,
    )
    assert.equal(nextRevision([{ apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: { annotations: {} } }]), 1n)
  })

  void it('cleans up beyond the limit, lowest revisions first, and nothing that still runs', () => {
    const old = (revision: number, replicas = 0): ReplicaSet => ({
      metadata: { name: `r${revision}`, annotations: { 'deployment.kubernetes.io/revision': String(revision) } },
      spec: { replicas, selector: {} },
      status: { replicas },
    })
    const deployment: Deployment = { spec: { revisionHistoryLimit: 2, selector: {}, template: template('a') } }
    const cleaned = decideCleanup(deployment, [old(9), old(10), old(2), old(1, 1), old(3)])
    assert.deepEqual(
      cleaned.map(({ metadata }) => metadata?.name),
      ['r2', 'r3'],
    )
  })
})

void describe('describeDeployment', () => {
  const now = Date.parse('2026-01-01T01:00:00Z')
  const base: Deployment = {
    metadata: { name: 'web', generation: 1 },
    spec: { replicas: 2, progressDeadlineSeconds: 60, selector: {}, template: { spec: { containers: [] } } },
  }
  const newest = (ready: number): ReplicaSet => ({
    metadata: { name: 'web-1' },
    spec: { replicas: 2, selector: {} },
    status: { replicas: 2, readyReplicas: ready, availableReplicas: ready },
  })
  const reasons = (status: DeploymentStatus): Record<string, string | undefined> =>
    Object.fromEntries((status.conditions ?? []).map(({ type, status: value, reason }) => [type, `${value} ${reason}`]))
  const begun = '2026-01-01T00:59:30Z'
  const progressing = {
    type: 'Progressing',
    status: 'True',
    reason: 'ReplicaSetUpdated',
    lastUpdateTime: begun,
    lastTransitionTime: begun,
  }
  const before = {
    ...base,
    status: {
      observedGeneration: 1,
      replicas: 2,
      updatedReplicas: 2,
      unavailableReplicas: 2,
      conditions: [progressing],
    },
  }

  void it('is complete when all replicas are new and available', () => {
    const status = describeDeployment(before, { newest: newest(2), old: [] }, {}, now)
    assert.deepEqual(reasons(status), {
      Progressing: 'True NewReplicaSetAvailable',
      Available: 'True MinimumReplicasAvailable',
    })
    assert.equal(status.unavailableReplicas, undefined)
  })

  void it('says nothing of progress without a deadline', () => {
    const { progressDeadlineSeconds: _, ...spec } = before.spec ?? { selector: {}, template: {} }
    const verdict = { type: 'Progressing', status: 'True', reason: 'NewReplicaSetCreated', message: '' }
    const status = describeDeployment({ ...before, spec }, { newest: newest(1), old: [] }, { verdict }, now)
    assert.deepEqual(reasons(status), { Available: 'False MinimumReplicasUnavailable' })
  })

  for (const { name, paused, reason, expected } of [
    { name: 'is paused', paused: true, reason: 'ReplicaSetUpdated', expected: 'DeploymentPaused' },
    { name: 'is paused still', paused: true, reason: 'DeploymentPaused', expected: undefined },
    { name: 'goes on', paused: false, reason: 'DeploymentPaused', expected: 'DeploymentResumed' },
    { name: 'was never paused', paused: false, reason: 'ReplicaSetUpdated', expected: undefined },
    { name: 'is paused after it was too slow', paused: true, reason: 'ProgressDeadlineExceeded', expected: undefined },
  ]) {
    void it(`says of a deployment that ${name}: ${expected ?? 'nothing'}`, () => {
      const conditions = [{ ...progressing, reason }]
      const subject = { ...before, spec: { ...before.spec, paused }, status: { ...before.status, conditions } }
      assert.equal(pauseVerdict(subject as Deployment)?.reason, expected)
    })
  }

  void it('renews its deadline with every step', () => {
    const status = describeDeployment(before, { newest: newest(1), old: [] }, {}, now)
    assert.equal(status.conditions?.find(({ type }) => type === 'Progressing')?.lastUpdateTime, '2026-01-01T01:00:00Z')
    assert.equal(status.conditions?.find(({ type }) => type === 'Progressing')?.lastTransitionTime, begun)
  })

  void it('gives up when nothing happened until the deadline, once', () => {
    const late = now + 30_000
    const status = describeDeployment(before, { newest: newest(0), old: [] }, {}, late)
    assert.deepEqual(reasons(status), {
      Progressing: 'False ProgressDeadlineExceeded',
      Available: 'False MinimumReplicasUnavailable',
    })
    const again = describeDeployment({ ...before, status }, { newest: newest(0), old: [] }, {}, late + 60_000)
    assert.deepEqual(again, status)
  })

  void it('passes a failure to create pods on', () => {
    const failing = newest(0)
    const failure = { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message: 'forbidden' }
    const withFailure = { ...failing, status: { replicas: 0, conditions: [failure] } }
    assert.equal(
      reasons(describeDeployment(before, { newest: withFailure, old: [] }, {}, now))['ReplicaFailure'],
      'True FailedCreate',
    )
  })
})

void describe('decideCollection', () => {
  const owner = (uid: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', name: uid, uid })
  const node = (owners: string[], finalizers: string[] = []) => ({
    uid: 'x',
    apiVersion: 'v1',
    kind: 'Pod',
    namespace: 'a',
    name: 'x',
    resourceVersion: '1',
    owners: owners.map(owner),
    finalizers,
    isDeleting: false,
  })
  const cases: {
    name: string
    states: Record<string, OwnerState>
    finalizers?: string[]
    dependents?: number
    expected: object
  }[] = [
    { name: 'keeps what nobody owns', states: {}, expected: { act: 'keep' } },
    { name: 'keeps what has an owner', states: { a: 'solid' }, expected: { act: 'keep' } },
    {
      name: 'drops owners that are gone while one is left',
      states: { a: 'solid', b: 'absent', c: 'waiting' },
      expected: { act: 'disown', uids: ['b', 'c'] },
    },
    {
      name: 'deletes what all owners have left',
      states: { a: 'absent', b: 'absent' },
      expected: { act: 'delete', propagationPolicy: 'Background' },
    },
    {
      name: 'deletes what an owner waits for',
      states: { a: 'waiting' },
      expected: { act: 'delete', propagationPolicy: 'Background' },
    },
    {
      name: 'passes waiting on',
      states: { a: 'waiting' },
      dependents: 1,
      expected: { act: 'delete', propagationPolicy: 'Foreground' },
    },
    {
      name: 'keeps to the object’s own finalizer',
      states: { a: 'absent' },
      finalizers: ['orphan'],
      expected: { act: 'delete', propagationPolicy: 'Orphan' },
    },
  ]
  for (const { name, states, finalizers, dependents = 0, expected } of cases) {
    void it(name, () => {
      const decision = decideCollection(
        node(Object.keys(states), finalizers),
        ({ uid }) => states[uid] ?? 'solid',
        Array.from({ length: dependents }, () => node([])),
      )
      assert.deepEqual(decision, expected)
    })
  }
})

void describe('createOwnerGraph', () => {
  const object = (uid: string, owner?: string, deleting: string[] = []) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      uid,
      name: uid,
      namespace: 'a',
      ownerReferences: owner === undefined ? [] : [{ apiVersion: 'v1', kind: 'Pod', name: owner, uid: owner }],
      ...(deleting.length > 0 && { finalizers: deleting, deletionTimestamp: '2026-01-01T00:00:00Z' }),
    },
  })

  void it('asks for a look at objects whose owner is unknown, and at dependents of one that goes', () => {
    const graph = createOwnerGraph()
    assert.deepEqual(graph.put(object('child', 'parent')), ['child'])
    assert.deepEqual(graph.put(object('parent')), [])
    assert.deepEqual(graph.put(object('second', 'parent')), [])
    assert.deepEqual(graph.remove('parent'), ['child', 'second'])
    assert.equal(graph.isAbsent('parent'), true)
    assert.deepEqual(graph.remove('child'), ['parent'])
    assert.deepEqual(
      graph.dependentsOf('parent').map(({ uid }) => uid),
      ['second'],
    )
  })

  void it('asks for a look at an owner that waits, and at all it waits for', () => {
    const graph = createOwnerGraph()
    graph.put(object('parent'))
    graph.put(object('child', 'parent'))
    assert.deepEqual(graph.put(object('parent', undefined, ['foregroundDeletion'])), ['parent', 'child'])
  })

  void it('asks for a look at a former owner', () => {
    const graph = createOwnerGraph()
    graph.put(object('parent'))
    graph.put(object('child', 'parent'))
    assert.deepEqual(graph.put(object('child')), ['parent'])
  })
})

void describe('renderEndpointSlices', () => {
  const service = (change: Partial<NonNullable<Service['spec']>> = {}): Service => ({
    metadata: { name: 'web', namespace: 'shop', uid: 's', labels: { team: 'a' } },
    spec: {
      selector: { app: 'web' },
      clusterIP: '10.96.0.1',
      ports: [{ name: 'http', port: 80, targetPort: 'serve', protocol: 'TCP' }],
      ...change,
    },
  })
  interface Facts {
    ready?: boolean
    port?: number
    deleting?: boolean
    phase?: string
    ip?: string
    hostname?: string
  }
  const pod = (
    name: string,
    { ready = true, port = 8080, deleting, phase = 'Running', ip = `10.0.0.${name.length}`, hostname }: Facts = {},
  ): Pod => ({
    metadata: {
      name,
      namespace: 'shop',
      uid: name,
      ...(deleting === true && { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    },
    spec: {
      nodeName: 'n1',
      containers: [{ name: 'a', ports: [{ name: 'serve', containerPort: port, protocol: 'TCP' }] }],
      ...(hostname !== undefined && { hostname, subdomain: 'web' }),
    },
    status: {
      phase,
      podIP: ip,
      podIPs: ip === '' ? [] : [{ ip }],
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
    },
  })
  const shown = (of: Service, pods: Pod[]) =>
    renderEndpointSlices(of, pods).map(({ ports, endpoints }) => ({
      ports: ports?.map(({ port }) => port),
      endpoints: endpoints?.map(
        ({ targetRef, conditions }) =>
          `${targetRef?.name} ${Object.entries(conditions ?? {})
            .filter(([, value]) => value)
            .map(([key]) => key)
            .join('+')}`,
      ),
    }))

  void it('tells ready, not ready and terminating pods apart, and leaves out ended ones and those without an address', () => {
    const pods = [
      pod('a'),
      pod('bb', { ready: false }),
      pod('ccc', { deleting: true }),
      pod('dddd', { phase: 'Failed' }),
      pod('eeeee', { ip: '' }),
    ]
    assert.deepEqual(shown(service(), pods), [
      { ports: [8080], endpoints: ['a ready+serving', 'bb ', 'ccc serving+terminating'] },
    ])
  })

  void it('publishes all when told to', () => {
    assert.deepEqual(shown(service({ publishNotReadyAddresses: true }), [pod('a', { ready: false })])[0]?.endpoints, [
      'a ready',
    ])
  })

  void it('makes a slice per set of ports', () => {
    assert.deepEqual(
      shown(service(), [pod('a'), pod('bb', { port: 9090 }), pod('ccc')]).map(({ ports, endpoints }) => [
        ports,
        endpoints?.length,
      ]),
      [
        [[8080], 2],
        [[9090], 1],
      ],
    )
  })

  void it('leaves out pods without the named port', () => {
    assert.deepEqual(shown(service({ ports: [{ port: 80, targetPort: 'other', protocol: 'TCP' }] }), [pod('a')]), [
      { ports: [], endpoints: [] },
    ])
  })

  void it('takes the service’s own port when no target is named', () => {
    assert.deepEqual(shown(service({ ports: [{ port: 80, protocol: 'TCP' }] }), [pod('a')])[0]?.ports, [80])
  })

  void it('puts a hundred endpoints in one slice', () => {
    const pods = Array.from({ length: 250 }, (_, index) =>
      pod(`p${index}`, { ip: `10.0.${index >> 8}.${index & 255}` }),
    )
    const slices = renderEndpointSlices(service(), pods)
    assert.deepEqual(
      slices.map(({ endpoints }) => endpoints?.length),
      [100, 100, 50],
    )
    assert.equal(new Set(slices.map(({ metadata }) => metadata?.name)).size, 3)
  })

  void it('labels slices by their service, and headless ones as such', () => {
    const [slice] = renderEndpointSlices(service({ clusterIP: 'None' }), [pod('a', { hostname: 'first' })])
    assert.deepEqual(slice?.metadata?.labels, {
      team: 'a',
      'service.kubernetes.io/headless': '',
      'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      'kubernetes.io/service-name': 'web',
    })
    assert.equal(slice?.endpoints?.[0]?.hostname, 'first')
  })

  void it('has a slice per address family', () => {
    const dual = pod('a')
    const both: Pod = { ...dual, status: { ...dual.status, podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] } }
    const slices = renderEndpointSlices(service({ ipFamilies: ['IPv4', 'IPv6'] }), [both])
    assert.deepEqual(
      slices.map(({ addressType, endpoints }) => [addressType, endpoints?.[0]?.addresses]),
      [
        ['IPv4', ['10.0.0.1']],
        ['IPv6', ['fd00::1']],
      ],
    )
  })

  void it('gives the legacy form without pods that are being deleted', () => {
    const { subsets } = renderEndpoints(service(), [
      pod('a'),
      pod('bb', { ready: false }),
      pod('ccc', { deleting: true }),
    ])
    assert.deepEqual(
      subsets?.map(({ addresses, notReadyAddresses, ports }) => [
        addresses?.map(({ ip }) => ip),
        notReadyAddresses?.map(({ ip }) => ip),
        ports,
      ]),
      [[['10.0.0.1'], ['10.0.0.2'], [{ name: 'http', port: 8080, protocol: 'TCP' }]]],
    )
  })
})

void describe('hints of endpoints', () => {
  const place = { metadata: { name: 'web-a', namespace: 'shop' }, spec: { nodeName: 'n1', containers: [] } }
  const ready = { podIP: '10.0.0.1', conditions: [{ type: 'Ready', status: 'True' }] }
  const service = (trafficDistribution?: string): Service => ({
    metadata: { name: 'web', namespace: 'shop' },
    spec: { selector: { app: 'web' }, ports: [{ port: 80 }], ...(trafficDistribution && { trafficDistribution }) },
  })
  const endpointOf = (distribution?: string, zone?: string, status: Pod['status'] = ready) =>
    renderEndpointSlices(service(distribution), [{ ...place, status }], { zoneOf: () => zone })[0]?.endpoints?.[0]

  for (const [name, distribution, zone, expected] of [
    ['none unless a service asks', undefined, 'a', undefined],
    ['the zone', 'PreferSameZone', 'a', { forZones: [{ name: 'a' }] }],
    ['the zone, by its old name', 'PreferClose', 'a', { forZones: [{ name: 'a' }] }],
    ['nothing where no zone is known', 'PreferSameZone', undefined, undefined],
    ['node and zone', 'PreferSameNode', 'a', { forZones: [{ name: 'a' }], forNodes: [{ name: 'n1' }] }],
    ['the node alone', 'PreferSameNode', undefined, { forNodes: [{ name: 'n1' }] }],
  ] as const) {
    void it(name, () => {
      const endpoint = endpointOf(distribution, zone)
      assert.deepEqual([endpoint?.hints, endpoint?.zone], [expected, zone])
    })
  }

  void it('are only for endpoints that are ready', () => {
    assert.equal(endpointOf('PreferSameZone', 'a', { podIP: '10.0.0.1' })?.hints, undefined)
  })
})

void describe('describeReplicaSet', () => {
  void it('keeps the first failure until pods can be made again', () => {
    const spec = { replicas: 1, selector: {}, template: {} }
    const failed = (message: string) => ({ now: 0, failure: { reason: 'FailedCreate', message } })
    const first = describeReplicaSet({ spec }, [], failed('pods "a" is forbidden'))
    assert.deepEqual(describeReplicaSet({ spec, status: first }, [], failed('pods "b" is forbidden')), first)
    assert.equal(describeReplicaSet({ spec, status: first }, [], { now: 0 }).conditions, undefined)
  })
})

void describe('describeRemainder', () => {
  void it('names what is left and which finalizers hold it', () => {
    const objects = [{ metadata: { finalizers: ['example.com/hold'] } }, {}]
    const left = [{ resource: 'widgets.example.com', objects }]
    const [content, finalizers, ...failures] = describeRemainder(undefined, left, 0)
    assert.equal(content?.message, 'Some resources are remaining: widgets.example.com has 2 resource instances')
    assert.equal(
      finalizers?.message,
      'Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances',
    )
    assert.deepEqual(
      failures.map(({ type, status }) => `${type} ${status}`),
      [
        'NamespaceDeletionDiscoveryFailure False',
        'NamespaceDeletionGroupVersionParsingFailure False',
        'NamespaceDeletionContentFailure False',
      ],
    )
  })
})
