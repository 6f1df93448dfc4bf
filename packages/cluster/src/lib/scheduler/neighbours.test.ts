import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Node, Pod, PodAffinityTerm, TopologySpreadConstraint } from '@fairlead/kube/types/core-v1'

import { relate } from './affinity.ts'
import { viewNode } from './node-view.ts'
import type { NodeView } from './node-view.ts'
import { choose } from './score.ts'
import type { Rejection } from './rejection.ts'
import { spread } from './topology-spread.ts'
import type { Spread } from './topology-spread.ts'

const zones: Readonly<Record<string, string>> = { a1: 'a', a2: 'a', b1: 'b', b2: 'b' }

function node(name: string, labels: Record<string, string> = {}): Node {
  const zone = zones[name]
  return {
    metadata: { name, labels: { host: name, ...(zone === undefined ? {} : { zone }), ...labels } },
    status: { allocatable: { cpu: '4', memory: '8Gi', pods: '110' }, conditions: [{ type: 'Ready', status: 'True' }] },
  }
}

function pod(app: string, spec: Partial<NonNullable<Pod['spec']>> = {}, namespace = 'default'): Pod {
  return { metadata: { name: app, namespace, labels: { app } }, spec: { containers: [{ name: 'c' }], ...spec } }
}

/** Four nodes in two zones, with pods on them. */
function views(placed: Readonly<Record<string, readonly Pod[]>> = {}): NodeView[] {
  return Object.keys(zones).map((name) => viewNode(node(name), placed[name] ?? []))
}

function term(app: string, topologyKey: string, more: Partial<PodAffinityTerm> = {}): PodAffinityTerm {
  return { labelSelector: { matchLabels: { app } }, topologyKey, ...more }
}

const near = (...terms: PodAffinityTerm[]) => ({
  affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } },
})
const far = (...terms: PodAffinityTerm[]) => ({
  affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } },
})

const related = (...asked: Parameters<typeof relate>) =>
  relate(...asked) ?? { rejectionsOf: () => [], attractionOf: () => 0 }
/** The spread of a pod that has constraints. */
function spreadOf(...asked: Parameters<typeof spread>): Spread {
  const found = spread(...asked)
  assert.ok(found)
  return found
}
const reasonsOf = (rejections: readonly Rejection[]): string[] => rejections.map(({ reason }) => reason)

const team = (name: string): Record<string, string> => ({ team: name })

describe('relate', () => {
  const rows: { name: string; pod: Pod; placed?: Record<string, readonly Pod[]>; fits: string[]; reason?: string }[] = [
    { name: 'asks for nothing', pod: pod('web'), placed: { a1: [pod('db')] }, fits: ['a1', 'a2', 'b1', 'b2'] },
    {
      name: 'is near in the zone',
      pod: pod('web', near(term('db', 'zone'))),
      placed: { a1: [pod('db')] },
      fits: ['a1', 'a2'],
      reason: "node(s) didn't match pod affinity rules",
    },
    { name: 'has nobody to be near', pod: pod('web', near(term('db', 'zone'))), fits: [] },
    { name: 'is the first of its kind', pod: pod('web', near(term('web', 'zone'))), fits: ['a1', 'a2', 'b1', 'b2'] },
    { name: 'is the first, where there is such a place', pod: pod('web', near(term('web', 'rack'))), fits: [] },
    {
      name: 'is near those alone that all terms mean',
      pod: pod('web', near(term('db', 'zone'), term('cache', 'zone'))),
      placed: { a1: [pod('db'), pod('cache')] },
      fits: [],
    },
    {
      name: 'keeps away',
      pod: pod('web', far(term('web', 'host'))),
      placed: { a1: [pod('web')], b2: [pod('web')] },
      fits: ['a2', 'b1'],
      reason: "node(s) didn't match pod anti-affinity rules",
    },
    {
      name: 'is kept away',
      pod: pod('web'),
      placed: { a1: [pod('db', far(term('web', 'zone')))] },
      fits: ['b1', 'b2'],
      reason: "node(s) didn't satisfy existing pods anti-affinity rules",
    },
    {
      name: 'does not care for other namespaces',
      pod: pod('web', far(term('web', 'zone'))),
      placed: { a1: [pod('web', {}, 'other')] },
      fits: ['a1', 'a2', 'b1', 'b2'],
    },
    {
      name: 'cares for namespaces that are named',
      pod: pod('web', far(term('web', 'zone', { namespaces: ['other'] }))),
      placed: { a1: [pod('web', {}, 'other')] },
      fits: ['b1', 'b2'],
    },
    {
      name: 'cares for namespaces with labels',
      pod: pod('web', far(term('web', 'zone', { namespaceSelector: { matchLabels: { team: 'other' } } }))),
      placed: { a1: [pod('web', {}, 'other')], b1: [pod('web', {}, 'third')] },
      fits: ['b1', 'b2'],
    },
    {
      name: 'keeps away from its own version only',
      pod: pod('web', far(term('web', 'zone', { matchLabelKeys: ['version'] }))),
      placed: { a1: [pod('web')] },
      fits: ['a1', 'a2', 'b1', 'b2'].slice(2),
    },
  ]
  for (const { name, pod: wanting, placed, fits, reason } of rows) {
    it(name, () => {
      const all = views(placed)
      const { rejectionsOf } = related(wanting, all, team)
      const found = all.filter((view) => rejectionsOf(view).length === 0).map((view) => view.node.metadata?.name)
      assert.deepEqual(found, fits)
      if (reason !== undefined) assert.ok(all.some((view) => rejectionsOf(view)[0]?.reason === reason))
    })
  }

  it('draws to and from other pods by weight', () => {
    const preferred = (weight: number, app: string) => [{ weight, podAffinityTerm: term(app, 'zone') }]
    const affinity = {
      podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred(10, 'db') },
      podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred(4, 'noisy') },
    }
    const all = views({ a1: [pod('db')], a2: [pod('noisy')] })
    const { attractionOf } = related(pod('web', { affinity }), all, team)
    assert.deepEqual(all.map(attractionOf), [6, 6, 0, 0])
  })
})

describe('spread', () => {
  const even = (more: Partial<TopologySpreadConstraint> = {}) => ({
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'zone',
        whenUnsatisfiable: 'DoNotSchedule',
        labelSelector: { matchLabels: { app: 'web' } },
        ...more,
      },
    ],
  })
  const web = pod('web')
  const rows: {
    name: string
    change?: Partial<TopologySpreadConstraint>
    placed: Record<string, Pod[]>
    fits: string[]
  }[] = [
    { name: 'begins anywhere', placed: {}, fits: ['a1', 'a2', 'b1', 'b2'] },
    { name: 'goes where there are fewer', placed: { a1: [web] }, fits: ['b1', 'b2'] },
    { name: 'may be uneven', change: { maxSkew: 2 }, placed: { a1: [web] }, fits: ['a1', 'a2', 'b1', 'b2'] },
    {
      name: 'counts its own alone',
      placed: { a1: [pod('db'), pod('web', {}, 'other')] },
      fits: ['a1', 'a2', 'b1', 'b2'],
    },
    { name: 'needs the label', change: { topologyKey: 'rack' }, placed: {}, fits: [] },
    {
      name: 'wants more domains than there are',
      change: { minDomains: 3 },
      placed: { a1: [web], b1: [web] },
      fits: [],
    },
  ]
  for (const { name, change, placed, fits } of rows) {
    it(name, () => {
      const all = views(placed)
      const { rejectionsOf } = spreadOf(pod('web', even(change)), all)
      assert.deepEqual(
        all.filter((view) => rejectionsOf(view).length === 0).map((view) => view.node.metadata?.name),
        fits,
      )
    })
  }

  it('says why', () => {
    const all = views({ a1: [web] })
    assert.deepEqual(reasonsOf(spreadOf(pod('web', even()), all).rejectionsOf(all[0] as NodeView)), [
      "node(s) didn't match pod topology spread constraints",
    ])
    assert.deepEqual(
      reasonsOf(spreadOf(pod('web', even({ topologyKey: 'rack' })), all).rejectionsOf(all[0] as NodeView)),
      ["node(s) didn't match pod topology spread constraints (missing required label)"],
    )
  })

  it('counts only zones the pod may be in', () => {
    const nodeSelector = { host: 'a1' }
    const all = views({ a1: [web] })
    assert.deepEqual(spreadOf(pod('web', { ...even(), nodeSelector }), all).rejectionsOf(all[0] as NodeView), [])
    const ignoring = { ...even({ nodeAffinityPolicy: 'Ignore' }), nodeSelector }
    assert.equal(spreadOf(pod('web', ignoring), all).rejectionsOf(all[0] as NodeView).length, 1)
  })

  it('is a wish, if only that is asked for', () => {
    const all = views({ a1: [web], a2: [web], b1: [web] })
    const wanting = pod('web', even({ whenUnsatisfiable: 'ScheduleAnyway', topologyKey: 'host' }))
    const { rejectionsOf, crowdingOf } = spreadOf(wanting, all)
    assert.ok(all.every((view) => rejectionsOf(view).length === 0))
    assert.equal(choose(wanting, all, { crowdingOf })?.node.metadata?.name, 'b2')
  })
})
