import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { isNotFound } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { KubeObject } from '@fairlead/kube/types'

import { asTimePasses, createJumpClock } from './testing/jump-clock.ts'
import { eventually, openWorkbench } from './testing/workbench.ts'

const definitionsOf = (client: KubeClient) => client.object('apiextensions.k8s.io/v1', 'CustomResourceDefinition')

function definition(): KubeObject {
  const names = { plural: 'ships', singular: 'ship', kind: 'Ship', listKind: 'ShipList' }
  const schema = { openAPIV3Schema: { type: 'object' } }
  const spec = {
    group: 'sea.example',
    scope: 'Namespaced',
    names,
    versions: [{ name: 'v1', served: true, storage: true, schema }],
  }
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'ships.sea.example' },
    spec,
  }
}

/** An object of the defined kind whose owner is nowhere. */
async function createLost(client: KubeClient): Promise<void> {
  const owner = { apiVersion: 'v1', kind: 'ConfigMap', name: 'harbour', uid: 'nowhere' }
  const metadata = { name: 'lost', namespace: 'default', ownerReferences: [owner] }
  const ships = client.object('sea.example/v1', 'Ship')
  await eventually('the kind is served', () =>
    ships.create({ apiVersion: 'sea.example/v1', kind: 'Ship', metadata }).catch(() => undefined),
  )
}

void describe('runGarbageCollector', () => {
  void it('follows a kind while it is defined, and asks no more for one that is not', async () => {
    const clock = createJumpClock()
    await using bench = await openWorkbench({ clock })
    const { client, errors } = bench
    const ships = client.object('sea.example/v1', 'Ship')
    const isGone = (): Promise<boolean> => ships.get('lost', { namespace: 'default' }).then(() => false, isNotFound)
    for (let round = 0; round < 3; round += 1) {
      await definitionsOf(client).create(definition())
      await createLost(client)
      await eventually('what is lost is collected', asTimePasses(clock, isGone))
      await definitionsOf(client).delete('ships.sea.example')
      await eventually('the definition is gone', () =>
        definitionsOf(client)
          .get('ships.sea.example')
          .then(() => false, isNotFound),
      )
    }
    // Time enough for ten questions more.
    for (let question = 0; question < 100; question += 1) {
      clock.jump(3000)
      await client.resource('v1/ConfigMap').list({ namespace: 'default' })
    }
    // The end of a watch may be seen before the end of the definition: one question each.
    const asked = errors.filter((error) => error.includes('could not find the requested resource'))
    assert.ok(asked.length <= 6, asked.join('\n'))
  })
})
