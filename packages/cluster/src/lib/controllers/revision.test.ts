import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Deployment, ReplicaSet } from '@fairlead/kube/types/apps-v1'

import {
  canonicalTemplate,
  decideCleanup,
  hashTemplate,
  newestAnnotations,
  nextRevision,
  revisionAnnotation,
} from './revision.ts'
import { decideRollback, rollBack } from './rollback.ts'

describe('revision', () => {
  const template = (image: string, labels: Record<string, string> = {}) => ({
    metadata: { labels: { app: 'web', ...labels } },
    spec: { containers: [{ name: 'app', image, ports: [] }] },
  })

  it('knows equal templates whatever their order, hash label and empty fields', () => {
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
    it(`of old: ${name}`, () => {
      const step = decideRollback(asking(to), replicaSets)
      assert.equal(step?.act === 'roll-back' ? step.to.metadata?.name : step?.reason, expected)
    })
  }

  it('of old: brings back the template, and what was said of it', () => {
    const { metadata, spec } = rollBack(asking('2'), replicaSet('a', 2))
    assert.deepEqual(metadata?.annotations, { [revisionAnnotation]: '3', 'kubernetes.io/change-cause': 'a' })
    assert.deepEqual(spec?.template, template('a'))
  })

  it('names a template by ten safe letters, and otherwise after a collision', () => {
    assert.match(hashTemplate(template('a'), 0), /^[bcdfghjklmnpqrstvwxz2-9]{10}$/)
    assert.equal(hashTemplate(template('a'), 0), hashTemplate(template('a', { 'pod-template-hash': 'x' }), 0))
    assert.notEqual(hashTemplate(template('a'), 0), hashTemplate(template('a'), 1))
  })

  it('copies annotations that are the template’s, not those that are the deployment’s', () => {
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

  it('counts revisions beyond what a number holds exactly', () => {
    const annotations = { 'deployment.kubernetes.io/revision': '3546343826724305832' }
    assert.equal(
      nextRevision([{ apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: { annotations } }]),
      3546343826724305833n,
    )
    assert.equal(nextRevision([{ apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: { annotations: {} } }]), 1n)
  })

  it('cleans up beyond the limit, lowest revisions first, and nothing that still runs', () => {
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
