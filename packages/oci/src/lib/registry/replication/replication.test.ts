import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { digestOf } from '../../spec/digest.ts'
import { parseReplication } from './config.ts'
import { listCandidates, planReplication } from './plan.ts'

const one = digestOf('one')
const two = digestOf('two')
const to = { registry: 'backup.example', prefix: 'mirror' }

describe('parseReplication', () => {
  it("takes ECR's own configuration, and registries in place of regions", () => {
    const { rules } = parseReplication(
      JSON.stringify({
        rules: [
          {
            destinations: [{ region: 'eu-west-1', registryId: '111122223333' }, to],
            repositoryFilters: [{ filter: 'prod-', filterType: 'PREFIX_MATCH' }],
          },
          { source: { registry: 'ghcr.io', prefix: 'acme', repositories: ['web'] }, destinations: [to] },
        ],
      }),
    )
    assert.deepEqual(rules, [
      {
        source: undefined,
        destinations: [{ registry: '111122223333.dkr.ecr.eu-west-1.amazonaws.com', prefix: '' }, to],
        prefixes: ['prod-'],
      },
      { source: { registry: 'ghcr.io', prefix: 'acme', repositories: ['web'] }, destinations: [to], prefixes: [] },
    ])
  })

  const filter = { filter: 'shop', filterType: 'PREFIX_MATCH' }
  const destinations = [to]
  const faults: [name: string, config: unknown, expected: RegExp][] = [
    ['no rules', {}, /it has no "rules"/],
    ['11 rules', { rules: Array.from({ length: 11 }, () => ({ destinations })) }, /11 rules, and 10/],
    [
      '26 destinations over all rules',
      {
        rules: [0, 13].map((from) => ({
          destinations: Array.from({ length: 13 }, (_, index) => ({ registry: `r${from + index}.example` })),
        })),
      },
      /26 destinations, and 25/,
    ],
    [
      '101 filters',
      { rules: [{ destinations, repositoryFilters: Array.from({ length: 101 }, () => filter) }] },
      /101 repositoryFilters, and 100/,
    ],
    ['no destinations', { rules: [{}] }, /rules\[0\] has no "destinations"/],
    ['an unknown field', { rules: [{ destinations, delete: true }] }, /rules\[0\]\.delete is not known/],
  ]
  for (const [name, config, message] of faults) {
    it(`refuses ${name}`, () =>
      assert.throws(() => parseReplication(JSON.stringify(config)), { code: 'FAIRLEAD_OCI_POLICY', message }))
  }

  it('names all faults at once', () => {
    const bad = {
      destinations: [{ registry: 'https://x' }, { region: '!', registryId: '1' }],
      repositoryFilters: [{ filter: 'A', filterType: 'REGEX' }],
    }
    assert.throws(
      () => parseReplication(JSON.stringify({ rules: [bad] })),
      (error: Error) => {
        for (const part of [
          '[0].registry is no host',
          '.region is no',
          '.registryId is not',
          '.filterType',
          '.filter is no',
        ]) {
          assert.ok(error.message.includes(part), `${part} in ${error.message}`)
        }
        return true
      },
    )
    assert.throws(() => parseReplication('{'), { code: 'FAIRLEAD_OCI_POLICY' })
  })
})

describe('planReplication', () => {
  const images = ['shop/web', 'shop/api', 'tools/x'].map((repository) => ({
    repository,
    tag: '1',
    digest: one,
    reference: `localhost/${repository}:1`,
  }))
  const rule = { source: undefined, destinations: [to], prefixes: ['shop/'] }
  const at = (name: string): string => `backup.example/mirror/${name}:1`

  it('copies what is new, moves what is other, and leaves what is there', () => {
    const candidates = listCandidates(rule, 1, images)
    assert.deepEqual(
      candidates.map((each) => each.to),
      [at('shop/web'), at('shop/api')],
    )
    const actions = (there: [string, typeof one][]): string[] =>
      planReplication(candidates, new Map(there)).map(({ action }) => action)
    assert.deepEqual(actions([]), ['copy', 'copy'])
    assert.deepEqual(
      actions([
        [at('shop/web'), one],
        [at('shop/api'), two],
      ]),
      ['same', 'move'],
    )
  })

  it('deals with a tag once, and tells of rules that contradict each other', () => {
    const [web] = listCandidates(rule, 1, images)
    assert.ok(web)
    const steps = planReplication([web, { ...web, rule: 2 }, { ...web, rule: 3, digest: two }], new Map())
    assert.deepEqual(
      steps.map(({ rule: number, action }) => [number, action]),
      [
        [1, 'copy'],
        [3, 'conflict'],
      ],
    )
  })

  it('leaves out itself and the lists that clients keep under tags', () => {
    const [image] = images
    assert.ok(image)
    const list = { ...image, tag: one.replace(':', '-') }
    const self = { ...image, reference: at('shop/web') }
    assert.deepEqual(listCandidates(rule, 1, [list, self]), [])
  })
})
