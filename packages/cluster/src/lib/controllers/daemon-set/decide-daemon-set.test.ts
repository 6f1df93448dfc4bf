import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { DaemonSet, DaemonSetSpec } from '@fairlead/kube/types/apps-v1'
import type { Node, NodeSpec, Pod } from '@fairlead/kube/types/core-v1'

import { judgeNode, nodeNameOf, renderPod } from './daemon-pod.ts'
import { describeDaemonSet } from './daemon-set-status.ts'
import { decidePlacement, decideUpdate } from './decide-daemon-set.ts'
import type { DaemonPlan, DaemonView } from './decide-daemon-set.ts'
import { createNodeBackoff } from './node-backoff.ts'

const labels = { app: 'log' }

function setOf(spec: Partial<DaemonSetSpec> = {}): DaemonSet {
  const template = { metadata: { labels }, spec: { containers: [{ name: 'log', image: 'log:1' }] } }
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'log', namespace: 'default', uid: 'set' },
    spec: { selector: { matchLabels: labels }, template, ...spec },
  }
}

const nodeOf = (name: string, spec: NodeSpec = {}): Node => ({ metadata: { name, labels: { on: name } }, spec })

/** `a` ready on node a, `a?` not ready, `a!` failed, `a.` succeeded, `a-` being deleted, `a@old` of an older template. */
function podOf(text: string, index: number): Pod {
  const [nodeName = '', mark = '', hash = 'new'] = /^(\w+)([?!.-]?)@?(\w+)?$/.exec(text)?.slice(1) ?? []
  const pod = renderPod(setOf(), nodeName, hash)
  const phase = mark === '!' ? 'Failed' : mark === '.' ? 'Succeeded' : 'Running'
  const status = mark === '' || mark === '-' ? 'True' : 'False'
  const conditions = [{ type: 'Ready', status, lastTransitionTime: '2026-01-01T00:00:00Z' }]
  const deletion = mark === '-' ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}
  const creationTimestamp = `2026-01-01T00:00:0${index}Z`
  return {
    ...pod,
    metadata: { ...pod.metadata, name: text, creationTimestamp, ...deletion },
    spec: { containers: [], ...pod.spec, nodeName },
    status: { phase, conditions },
  }
}

const view = (spec: Partial<DaemonSetSpec>, nodes: readonly Node[], pods: readonly string[]): DaemonView => ({
  set: setOf(spec),
  nodes,
  pods: pods.map(podOf),
  hash: 'new',
  now: Date.parse('2026-01-01T00:00:10Z'),
})

function render({ create, remove }: DaemonPlan): string {
  return [...create.map((node) => `+${node}`), ...remove.map(({ pod, why }) => `-${pod.metadata?.name} ${why}`)].join(
    ', ',
  )
}

const three = ['a', 'b', 'c'].map((name) => nodeOf(name))
const taint = (effect: string): NodeSpec => ({ taints: [{ key: 'special', effect }] })
const surge = (maxSurge: number): Partial<DaemonSetSpec> => ({
  updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable: 0 } },
})
const away = (maxUnavailable: number | string): Partial<DaemonSetSpec> => ({
  updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable } },
})

void describe('decidePlacement', () => {
  for (const { name, spec = {}, nodes = three, pods, plan } of [
    { name: 'puts a pod on each node without one', pods: ['b'], plan: '+a, +c' },
    { name: 'waits for a pod that leaves', pods: ['a-', 'b', 'c'], plan: '' },
    { name: 'keeps the older of two', pods: ['a', 'a?', 'b', 'c'], plan: '-a? surplus' },
    { name: 'replaces a failed one', pods: ['a!', 'b', 'c'], plan: '-a! failed' },
    { name: 'replaces one that ended', pods: ['a.', 'b', 'c'], plan: '-a. ended' },
    { name: 'stays away from a tainted node', nodes: [nodeOf('a', taint('NoSchedule'))], pods: [], plan: '' },
    { name: 'stays where it was before the taint', nodes: [nodeOf('a', taint('NoSchedule'))], pods: ['a'], plan: '' },
    { name: 'leaves where it may not run', nodes: [nodeOf('a', taint('NoExecute'))], pods: ['a'], plan: '-a surplus' },
    { name: 'keeps an old and a new pod while it surges', spec: surge(1), pods: ['a@old', 'a?', 'b', 'c'], plan: '' },
    {
      name: 'ends a surge when the new pod is ready',
      spec: surge(1),
      pods: ['a@old', 'a', 'b', 'c'],
      plan: '-a@old surplus',
    },
  ]) {
    void it(name, () => assert.equal(render(decidePlacement(view(spec, nodes, pods))), plan))
  }

  void it('takes back a pod that waits for a node that is gone', () => {
    const { spec, ...pod } = podOf('d', 0)
    const { nodeName: _, ...waiting } = spec ?? { containers: [] }
    const seen = { ...view({}, [], []), pods: [{ ...pod, spec: waiting }] }
    assert.equal(render(decidePlacement(seen)), '-d surplus')
  })
})

void describe('decideUpdate', () => {
  for (const { name, spec = {}, pods, plan } of [
    { name: 'replaces one at a time', pods: ['a@old', 'b@old', 'c@old'], plan: '-a@old outdated' },
    { name: 'waits for the one that is away', pods: ['a?', 'b@old', 'c@old'], plan: '' },
    { name: 'replaces at once what is away anyhow', pods: ['a?@old', 'b@old', 'c@old'], plan: '-a?@old outdated' },
    {
      name: 'replaces a share',
      spec: away('50%'),
      pods: ['a@old', 'b@old', 'c@old'],
      plan: '-a@old outdated, -b@old outdated',
    },
    { name: 'leaves updates to others', spec: { updateStrategy: { type: 'OnDelete' } }, pods: ['a@old'], plan: '' },
    { name: 'adds before it removes', spec: surge(2), pods: ['a@old', 'b@old', 'c@old'], plan: '+a, +b' },
    { name: 'counts a surge under way', spec: surge(1), pods: ['a@old', 'a?', 'b@old', 'c@old'], plan: '' },
    { name: 'surges on the next', spec: surge(1), pods: ['a@old', 'a', 'b@old', 'c@old'], plan: '+b, -a@old outdated' },
  ]) {
    void it(name, () => assert.equal(render(decideUpdate(view(spec, three, pods))), plan))
  }
})

void describe('describeDaemonSet', () => {
  void it('counts nodes', () => {
    const nodes = [...three, nodeOf('d', taint('NoSchedule'))]
    const status = describeDaemonSet(view({}, nodes, ['a', 'b@old', 'd']), 0)
    assert.equal(status.desiredNumberScheduled, 3)
    assert.equal(status.currentNumberScheduled, 2)
    assert.equal(status.numberMisscheduled, 1)
    assert.equal(status.updatedNumberScheduled, 1)
    assert.equal(status.numberAvailable, 2)
    assert.equal(status.numberUnavailable, 1)
  })
})

void describe('renderPod', () => {
  void it('is for one node only, whatever affinity was asked for', () => {
    const required = { nodeSelectorTerms: [{ matchExpressions: [{ key: 'on', operator: 'Exists' }] }] }
    const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } }
    const set = setOf({ template: { metadata: { labels }, spec: { containers: [], affinity, hostNetwork: true } } })
    const pod = renderPod(set, 'b', 'h')
    assert.equal(nodeNameOf(pod), 'b')
    assert.equal(pod.spec?.tolerations?.length, 7)
    assert.equal(pod.metadata?.labels?.['controller-revision-hash'], 'h')
  })
})

void describe('judgeNode', () => {
  for (const { name, spec, expected } of [
    { name: 'follows the node selector', spec: { containers: [], nodeSelector: { on: 'b' } }, expected: false },
    { name: 'follows a node by name', spec: { containers: [], nodeName: 'b' }, expected: false },
    { name: 'takes any other', spec: { containers: [] }, expected: true },
  ]) {
    void it(name, () => {
      assert.equal(judgeNode(setOf({ template: { metadata: { labels }, spec } }), nodeOf('a')).shouldRun, expected)
    })
  }

  void it('goes to nodes that are cordoned', () => {
    const unschedulable = { taints: [{ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }] }
    assert.equal(judgeNode(setOf(), nodeOf('a', unschedulable)).shouldRun, true)
  })
})

void describe('createNodeBackoff', () => {
  void it('doubles the wait with each failure and forgets in the end', () => {
    const backoff = createNodeBackoff()
    const waits = [0, 0, 1000, 1000, 3000].map((now) => backoff.takeMs('n', now))
    assert.deepEqual(waits, [0, 1000, 0, 2000, 0])
    assert.equal(backoff.takeMs('n', 3_000_000), 0)
    assert.equal(backoff.takeMs('n', 3_000_000), 1000)
  })
})
