import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { isToBeSigned } from './certificate-signing.ts'
import { aggregateRules } from './cluster-role-aggregation.ts'
import { decideTokenSecret } from './token-secret.ts'

describe('aggregateRules', () => {
  it('collects the rules of the roles that are selected, by name, each once, and not its own', () => {
    const rule = (resource: string): { verbs: string[]; resources: string[] } => ({
      verbs: ['get'],
      resources: [resource],
    })
    const part = (name: string, ...resources: string[]): object => ({
      metadata: { name, labels: { into: 'a' } },
      rules: resources.map(rule),
    })
    const aggregate = {
      metadata: { name: 'a', labels: { into: 'a' } },
      aggregationRule: { clusterRoleSelectors: [{ matchLabels: { into: 'a' } }] },
      rules: [rule('old')],
    }
    const all = [
      aggregate,
      part('z', 'pods', 'nodes'),
      part('b', 'pods'),
      { metadata: { name: 'c' }, rules: [rule('x')] },
    ]
    assert.deepEqual(aggregateRules(aggregate, all), [rule('pods'), rule('nodes')])
  })
})

describe('decideTokenSecret', () => {
  const annotations = { 'kubernetes.io/service-account.name': 'robot' }
  const account = { metadata: { name: 'robot', uid: '1' } }
  const whole = { token: 'dA==', 'ca.crt': 'Yw==', namespace: 'bg==' }
  const of = (uid: string): Record<string, string> => ({ ...annotations, 'kubernetes.io/service-account.uid': uid })
  for (const { name, secret, known, step } of [
    { name: 'fills an empty one', secret: { metadata: { annotations } }, known: account, step: 'fill' },
    {
      name: 'keeps a whole one',
      secret: { metadata: { annotations: of('1') }, data: whole },
      known: account,
      step: 'keep',
    },
    {
      name: 'deletes that of an account that is gone',
      secret: { metadata: { annotations } },
      known: undefined,
      step: 'delete',
    },
    {
      name: 'deletes that of a former account',
      secret: { metadata: { annotations: of('0') } },
      known: account,
      step: 'delete',
    },
  ]) {
    it(name, () => assert.equal(decideTokenSecret(secret, known), step))
  }
})

describe('isToBeSigned', () => {
  const spec = { request: '', signerName: 'kubernetes.io/kubelet-serving', usages: [] }
  const approved = [{ type: 'Approved', status: 'True' }]
  for (const { name, request, expected } of [
    { name: 'signs what was approved', request: { spec, status: { conditions: approved } }, expected: true },
    { name: 'waits for somebody', request: { spec }, expected: false },
    { name: 'signs once', request: { spec, status: { conditions: approved, certificate: 'x' } }, expected: false },
    {
      name: 'leaves other signers to others',
      request: { spec: { ...spec, signerName: 'example.com/x' }, status: { conditions: approved } },
      expected: false,
    },
    {
      name: 'does not try what failed again',
      request: { spec, status: { conditions: [...approved, { type: 'Failed', status: 'True' }] } },
      expected: false,
    },
  ]) {
    it(name, () => assert.equal(isToBeSigned(request), expected))
  }
})
