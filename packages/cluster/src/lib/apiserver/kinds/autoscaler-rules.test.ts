import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget } from '@fairlead/kube/types/autoscaling-v2'

import { validateAutoscaler } from './autoscaler-rules.ts'

const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' }

function specOf(change: Partial<HorizontalPodAutoscalerSpec> = {}): HorizontalPodAutoscalerSpec {
  return { scaleTargetRef, minReplicas: 1, maxReplicas: 5, metrics: [cpu({ averageUtilization: 50 })], ...change }
}

function target(change: Partial<MetricTarget>, type = 'Utilization'): MetricTarget {
  return { type, ...change }
}

function cpu(change: Partial<MetricTarget>, type?: string): MetricSpec {
  return { type: 'Resource', resource: { name: 'cpu', target: target(change, type) } }
}

function external(change: Partial<MetricTarget>, name = 'queue'): MetricSpec {
  return { type: 'External', external: { metric: { name }, target: target(change, 'Value') } }
}

const rules = (change: object): Partial<HorizontalPodAutoscalerSpec> => {
  const policies = [{ type: 'Pods', value: 1, periodSeconds: 60 }]
  return { behavior: { scaleUp: { policies, ...change } } }
}

void describe('validateAutoscaler', () => {
  const describedObject = { kind: 'Service', name: 'web' }
  const cases: readonly {
    name: string
    change?: Partial<HorizontalPodAutoscalerSpec>
    before?: HorizontalPodAutoscalerSpec
    expected: readonly string[]
  }[] = [
    { name: 'one that is right', expected: [] },
    {
      name: 'no replicas at all',
      change: { maxReplicas: 0 },
      expected: [
        'spec.maxReplicas Required value: must be set and greater than 0',
        'spec.maxReplicas Invalid value: 0: must be greater than or equal to `minReplicas`',
      ],
    },
    {
      name: 'less than one',
      change: { minReplicas: 0, metrics: [external({ value: '5' })] },
      expected: ['spec.minReplicas Invalid value: 0: must be greater than or equal to 1'],
    },
    {
      name: 'nothing, as before',
      change: { minReplicas: 0, metrics: [external({ value: '5' })] },
      before: specOf({ minReplicas: 0 }),
      expected: [],
    },
    {
      name: 'nothing by what runs',
      change: { minReplicas: 0 },
      before: specOf({ minReplicas: 0 }),
      expected: [
        'spec.metrics Forbidden: must specify at least one Object or External metric to support scaling to zero replicas',
      ],
    },
    {
      name: 'a target without group',
      change: { scaleTargetRef: { ...scaleTargetRef, apiVersion: 'v1' } },
      expected: ['spec.scaleTargetRef.apiVersion Invalid value: "v1": apiVersion must specify API group'],
    },
    {
      name: 'a target whose kind has none',
      change: { scaleTargetRef: { apiVersion: 'v1', kind: 'ReplicationController', name: 'web' } },
      expected: [],
    },
    {
      name: 'a target that was wrong before',
      change: { scaleTargetRef: { ...scaleTargetRef, apiVersion: 'v1' } },
      before: specOf({ scaleTargetRef: { ...scaleTargetRef, apiVersion: 'v1' } }),
      expected: [],
    },
    {
      name: 'a target that is a path',
      change: { scaleTargetRef: { ...scaleTargetRef, name: 'a/b' } },
      expected: [`spec.scaleTargetRef.name Invalid value: "a/b": may not contain '/'`],
    },
    {
      name: 'a version of too many parts',
      change: { scaleTargetRef: { ...scaleTargetRef, apiVersion: 'a/b/c' } },
      expected: ['spec.scaleTargetRef.apiVersion Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c'],
    },
    {
      name: 'a metric of no known type',
      change: { metrics: [{ type: 'Weather' }] },
      // Twice, as upstream tells it.
      expected: [
        'spec.metrics[0].type Unsupported value: "Weather": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"',
        'spec.metrics[0].type Unsupported value: "Weather": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"',
      ],
    },
    {
      name: 'a metric that tells nothing',
      change: { metrics: [{ type: 'Pods' }] },
      expected: ['spec.metrics[0].pods Required value: must populate information for the given metric source'],
    },
    {
      name: 'a metric of two sources',
      change: { metrics: [{ ...cpu({ averageUtilization: 50 }), ...external({ value: '5' }), type: 'Resource' }] },
      expected: ['spec.metrics[0].external Forbidden: must populate the given metric source only'],
    },
    {
      name: 'a share and an amount',
      change: { metrics: [cpu({ averageUtilization: 50, averageValue: '1' })] },
      expected: [
        'spec.metrics[0].resource.target.averageValue Forbidden: may not set both a target raw value and a target utilization',
      ],
    },
    {
      name: 'neither share nor amount',
      change: { metrics: [cpu({})] },
      expected: [
        'spec.metrics[0].resource.target.averageUtilization Required value: must set either a target raw value or a target utilization',
      ],
    },
    {
      name: 'a share of nothing, of no known kind',
      change: { metrics: [cpu({ averageUtilization: 0 }, 'Most')] },
      expected: [
        'spec.metrics[0].resource.target.type Invalid value: "Most": must be either Utilization, Value, or AverageValue',
        'spec.metrics[0].resource.target.averageUtilization Invalid value: 0: must be greater than 0',
      ],
    },
    {
      name: 'a container that cannot be named so',
      change: {
        metrics: [
          {
            type: 'ContainerResource',
            containerResource: { name: 'cpu', container: '', target: target({ averageUtilization: 5 }) },
          },
        ],
      },
      expected: ['spec.metrics[0].containerResource.container Required value: must specify a container'],
    },
    {
      name: 'a metric from outside, twice',
      change: { metrics: [external({ value: '5', averageValue: '1' })] },
      expected: [
        'spec.metrics[0].external.target.value Forbidden: may not set both a target value for metric and a per-pod target',
      ],
    },
    {
      name: 'a metric from outside without name, of nothing',
      change: { metrics: [external({ value: '0' }, '')] },
      expected: [
        'spec.metrics[0].external.metric.name Required value: must specify a metric name',
        'spec.metrics[0].external.target.value Invalid value: "0": must be positive',
      ],
    },
    {
      name: 'a metric of pods that has no average',
      change: { metrics: [{ type: 'Pods', pods: { metric: { name: 'rps' }, target: target({}, 'AverageValue') } }] },
      expected: [
        'spec.metrics[0].pods.target.averageValue Required value: must specify a positive target averageValue',
      ],
    },
    {
      name: 'an object of the core group',
      change: {
        metrics: [
          {
            type: 'Object',
            object: { describedObject, metric: { name: 'rps' }, target: target({ value: '5' }, 'Value') },
          },
        ],
      },
      expected: [],
    },
    {
      name: 'rules out of bounds',
      change: rules({ stabilizationWindowSeconds: 3601, selectPolicy: 'Any', policies: [], tolerance: '-1' }),
      expected: [
        'spec.behavior.scaleUp.stabilizationWindowSeconds Invalid value: 3601: must be less than or equal to 3600',
        'spec.behavior.scaleUp.selectPolicy Unsupported value: "Any": supported values: "Disabled", "Max", "Min"',
        'spec.behavior.scaleUp.policies Required value: must specify at least one Policy',
        'spec.behavior.scaleUp.tolerance Invalid value: "-1": must be greater than or equal to 0',
      ],
    },
    {
      name: 'a policy out of bounds',
      change: rules({ policies: [{ type: 'Some', value: 0, periodSeconds: 1801 }] }),
      expected: [
        'spec.behavior.scaleUp.policies[0].type Unsupported value: "Some": supported values: "Percent", "Pods"',
        'spec.behavior.scaleUp.policies[0].value Invalid value: 0: must be greater than zero',
        'spec.behavior.scaleUp.policies[0].periodSeconds Invalid value: 1801: must be less than or equal to 1800',
      ],
    },
  ]
  for (const { name, change, before, expected } of cases) {
    void it(`${expected.length === 0 ? 'allows' : 'refuses'} ${name}`, () => {
      const errors = validateAutoscaler(specOf(change), before)
      assert.deepEqual(
        errors.map(({ field, message }) => `${field} ${message}`),
        expected,
      )
    })
  }
})
