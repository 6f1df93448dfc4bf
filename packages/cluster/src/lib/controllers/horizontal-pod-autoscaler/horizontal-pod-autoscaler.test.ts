import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { findCondition } from '@fairlead/kube/controller'
import type { HorizontalPodAutoscaler } from '@fairlead/kube/types/autoscaling-v2'

import { asTimePasses, createJumpClock } from '../testing/jump-clock.ts'
import { deployment, eventually, openWorkbench } from '../testing/workbench.ts'

function autoscaler(name: string): HorizontalPodAutoscaler {
  return {
    metadata: { name, namespace: 'default' },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
      minReplicas: 1,
      maxReplicas: 5,
      metrics: [
        { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 50 } } },
      ],
    },
  }
}

void describe('runHorizontalPodAutoscaler', () => {
  void it('scales no pods that another scales too, until the other is gone', async () => {
    const clock = createJumpClock()
    await using bench = await openWorkbench({ clock })
    const { client } = bench
    await client.resource('apps/v1/Deployment').create(deployment('web'))
    await eventually('there are pods', async () => (await client.resource('v1/Pod').list()).items.length === 3)
    const autoscalers = client.resource('autoscaling/v2/HorizontalPodAutoscaler')
    await autoscalers.create(autoscaler('first'))
    await autoscalers.create(autoscaler('second'))
    const activeOf = async (name: string) =>
      findCondition((await autoscalers.get(name)).status?.conditions, 'ScalingActive')
    for (const name of ['first', 'second']) {
      const active = await eventually(
        `${name} gives way`,
        asTimePasses(clock, async () => {
          const condition = await activeOf(name)
          return condition?.reason === 'AmbiguousSelector' && condition
        }),
      )
      assert.equal(active.status, 'False')
      assert.match(active.message ?? '', /^pods by selector app=web are controlled by multiple HPAs: \[/)
    }
    await autoscalers.delete('first')
    await eventually(
      'the second goes on, to where there are no metrics',
      asTimePasses(clock, async () => (await activeOf('second'))?.reason === 'FailedGetResourceMetric'),
    )
  })
})
