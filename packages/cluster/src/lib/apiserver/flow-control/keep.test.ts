import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { KubeObject } from '@fairlead/kube/types'

import { openStore } from '../../storage/store.ts'
import { createApiServer } from '../server.ts'
import { startTestServer } from '../test-server.ts'
import { autoUpdate, firstObjects } from './first-objects.ts'
import { revise } from './keep.ts'

const root = '/apis/flowcontrol.apiserver.k8s.io/v1'

describe('ensureFlowControl', () => {
  it('makes the levels and schemas every cluster has', async () => {
    await using api = await startTestServer()
    const levels = (await api.call('GET', `${root}/prioritylevelconfigurations`)).body.items as KubeObject[]
    assert.deepEqual(
      levels.map(({ metadata }) => metadata.name),
      [
        'catch-all',
        'exempt',
        'global-default',
        'leader-election',
        'node-high',
        'system',
        'workload-high',
        'workload-low',
      ],
    )
    const schemas = (await api.call('GET', `${root}/flowschemas`)).body.items as KubeObject[]
    assert.deepEqual(
      schemas.map(({ metadata }) => metadata.name),
      [
        'catch-all',
        'exempt',
        'global-default',
        'kube-controller-manager',
        'kube-scheduler',
        'kube-system-service-accounts',
        'probes',
        'service-accounts',
        'system-leader-election',
        'system-node-high',
        'system-nodes',
      ],
    )
    for (const { metadata } of [...levels, ...schemas]) {
      assert.deepEqual([metadata.annotations?.[autoUpdate], metadata.generation], ['true', 1])
      const managers = (metadata.managedFields as { manager: string }[]).map(({ manager }) => manager)
      assert.ok(managers.includes('api-priority-and-fairness-config-producer-v1'), managers.join())
    }
  })

  it('describes them with nothing left to default', async () => {
    await using api = await startTestServer()
    for (const { object } of firstObjects) {
      const { body } = await api.call('GET', `${root}/${object.kind.toLowerCase()}s/${object.metadata.name}`)
      assert.deepEqual(body.spec, object['spec'], object.metadata.name)
    }
  })

  it('puts mandatory ones back at the next start, makes what is missing, and deletes what it made in another version', async () => {
    await using store = await openStore({ dir: '', durability: 'memory' })
    await using before = await startTestServer({ store })
    const mine = { spec: { matchingPrecedence: 77 } }
    await before.call('PATCH', `${root}/flowschemas/catch-all`, { spec: { distinguisherMethod: null } })
    await before.call('PATCH', `${root}/flowschemas/service-accounts`, mine)
    const taken = { metadata: { annotations: { [autoUpdate]: 'false' } }, ...mine }
    await before.call('PATCH', `${root}/flowschemas/global-default`, taken)
    await before.call('DELETE', `${root}/flowschemas/probes`)
    const { body } = await before.call('GET', `${root}/flowschemas/system-nodes`)
    for (const [name, annotations] of [
      ['of-an-earlier-version', { [autoUpdate]: 'true' }],
      ['somebodys', {}],
    ] as const) {
      const made = await before.call('POST', `${root}/flowschemas`, {
        metadata: { name, annotations },
        spec: body.spec,
      })
      assert.equal(made.status, 201)
    }
    await using after = await startTestServer({ store })
    const get = async (name: string): Promise<KubeObject & { spec: Record<string, unknown> }> =>
      (await after.call('GET', `${root}/flowschemas/${name}`)).body
    assert.deepEqual((await get('catch-all')).spec['distinguisherMethod'], { type: 'ByUser' })
    assert.equal((await get('service-accounts')).spec['matchingPrecedence'], 9000)
    assert.equal((await get('global-default')).spec['matchingPrecedence'], 77)
    assert.equal((await get('probes')).metadata.name, 'probes')
    assert.equal((await get('somebodys')).metadata.name, 'somebodys')
    assert.equal((await after.call('GET', `${root}/flowschemas/of-an-earlier-version`)).status, 404)
  })

  it('writes nothing where nothing has to be done', async () => {
    await using store = await openStore({ dir: '', durability: 'memory' })
    await using before = await startTestServer({ store })
    // What schemas say of their levels is written a moment later.
    const isSaid = async (): Promise<boolean> => {
      const { items } = (await before.call('GET', `${root}/flowschemas`)).body
      return items.every(({ status }: { status?: { conditions?: unknown } }) => status?.conditions !== undefined)
    }
    while (!(await isSaid())) await new Promise((resolve) => setImmediate(resolve))
    const { revision } = store
    await using after = createApiServer({ store })
    await after.ready()
    assert.equal(store.revision, revision)
  })
})

describe('keepFlowControl', () => {
  it('has what was deleted back within a minute', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] })
    await using api = await startTestServer()
    await api.call('DELETE', `${root}/prioritylevelconfigurations/exempt`)
    assert.equal((await api.call('GET', `${root}/prioritylevelconfigurations/exempt`)).status, 404)
    context.mock.timers.tick(60_000)
    let answer = await api.call('GET', `${root}/prioritylevelconfigurations/exempt`)
    while (answer.status === 404) answer = await api.call('GET', `${root}/prioritylevelconfigurations/exempt`)
    assert.equal(answer.body.spec.type, 'Exempt')
  })
})

describe('revise', () => {
  const suggested = firstObjects.find(({ object }) => object.metadata.name === 'probes')
  assert.ok(suggested !== undefined)
  const { object } = suggested
  const other = { ...(object['spec'] as object), matchingPrecedence: 5 }
  const existing = (said: string | undefined, generation: number, spec: unknown): KubeObject => ({
    ...object,
    metadata: { name: 'probes', generation, ...(said === undefined ? {} : { annotations: { [autoUpdate]: said } }) },
    spec,
  })
  const cases: {
    name: string
    said?: string
    generation: number
    isChanged: boolean
    says: string | undefined
    isOurs?: boolean
  }[] = [
    { name: 'leaves what is as it should be', said: 'true', generation: 1, isChanged: false, says: undefined },
    { name: 'puts back what it may change', said: 'true', generation: 2, isChanged: true, says: 'true', isOurs: true },
    {
      name: 'leaves what is said to be somebody else’s',
      said: 'false',
      generation: 2,
      isChanged: true,
      says: undefined,
    },
    {
      name: 'takes one without annotation for its own while nobody has changed it',
      generation: 1,
      isChanged: true,
      says: 'true',
      isOurs: true,
    },
    {
      name: 'takes one that was changed for somebody else’s, and says so',
      generation: 2,
      isChanged: true,
      says: 'false',
    },
    {
      name: 'reads an annotation as Go reads a boolean',
      said: 'T',
      generation: 9,
      isChanged: true,
      says: 'true',
      isOurs: true,
    },
  ]
  for (const { name, said, generation, isChanged, says, isOurs = false } of cases) {
    it(name, () => {
      const revised = revise(existing(said, generation, isChanged ? other : object['spec']), suggested)
      assert.equal(revised?.metadata.annotations?.[autoUpdate], says)
      if (revised !== undefined) assert.deepEqual(revised['spec'], isOurs ? object['spec'] : other)
    })
  }
})
