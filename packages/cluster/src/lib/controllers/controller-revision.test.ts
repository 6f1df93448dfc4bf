import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { ControllerRevision } from '@fairlead/kube/types/apps-v1'
import type { PodTemplateSpec } from '@fairlead/kube/types/core-v1'

import { decideHistory, decideTruncation, hashRevision, renderRevision, templateOf } from './controller-revision.ts'

const template = (image: string): PodTemplateSpec => ({
  metadata: { labels: { app: 'db' } },
  spec: { containers: [{ name: 'db', image }] },
})

const revisionOf = (image: string, number: number): ControllerRevision =>
  renderRevision(
    {
      object: { apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: { name: 'db', uid: 'u' } },
      selector: {},
      template: template(image),
      collisionCount: 0,
      hashLabel: 'hash',
    },
    number,
  )

void describe('decideHistory', () => {
  const history = [revisionOf('db:1', 1), revisionOf('db:2', 2)]
  for (const { name, image, step } of [
    { name: 'keeps the newest', image: 'db:2', step: 'keep' },
    { name: 'brings an earlier one back as the newest', image: 'db:1', step: 'renumber 3' },
    { name: 'adds what is new', image: 'db:3', step: 'create 3' },
  ]) {
    void it(name, () => {
      const plan = decideHistory(history, template(image))
      assert.equal(plan.act === 'keep' ? plan.act : `${plan.act} ${plan.number}`, step)
    })
  }
})

void describe('decideTruncation', () => {
  void it('lets the oldest go that nobody uses', () => {
    const history = [1, 2, 3, 4].map((number) => revisionOf(`db:${number}`, number))
    const live = new Set([history[0]?.metadata?.name ?? ''])
    const gone = decideTruncation(history, { live, limit: 1 })
    assert.deepEqual(
      gone.map(({ revision }) => revision),
      [2, 3],
    )
  })
})

void describe('renderRevision', () => {
  void it('is a patch that puts the whole template in place', () => {
    const revision = revisionOf('db:1', 1)
    assert.deepEqual(revision.data, { spec: { template: { $patch: 'replace', ...template('db:1') } } })
    assert.deepEqual(templateOf(revision), template('db:1'))
    assert.equal(revision.metadata?.name, `db-${revision.metadata?.labels?.['hash']}`)
  })
})

void describe('the bytes of a revision', () => {
  void it('are those that Go writes: keys in order, at every depth', () => {
    const { data } = revisionOf('db:1', 1)
    const expected =
      '{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"db"}},"spec":{"containers":[{"image":"db:1","name":"db"}]}}}}'
    assert.equal(JSON.stringify(data), expected)
  })
})

void describe('hashRevision', () => {
  void it('differs by template and by collision', () => {
    const hashes = [
      hashRevision(template('db:1'), 0),
      hashRevision(template('db:2'), 0),
      hashRevision(template('db:1'), 1),
    ]
    assert.equal(new Set(hashes).size, 3)
    assert.match(hashes[0] ?? '', /^[bcdfghjklmnpqrstvwxz2456789]+$/)
  })
})
