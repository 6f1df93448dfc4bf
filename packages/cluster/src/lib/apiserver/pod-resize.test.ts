import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Container, Pod, ResourceRequirements } from '@fairlead/kube/types/core-v1'

import { replaceResources, validateResize } from './pod-resize.ts'

type Parts = Partial<NonNullable<Pod['spec']>>

function pod(containers: readonly Partial<Container>[], more: Parts = {}, status: Pod['status'] = {}): Pod {
  const named = containers.map((container, index) => ({ name: `c${index + 1}`, image: 'app', ...container }))
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web' }, spec: { containers: named, ...more }, status }
}

function having(cpu: string, memory?: string): ResourceRequirements {
  return { requests: { cpu, ...(memory === undefined ? {} : { memory }) } }
}

function judge(asked: Pod, current: Pod): string[] {
  const spec = replaceResources(asked, current)
  const object = { ...current, spec }
  const errors = validateResize(object as never, current as never)
  return errors.map(({ field, message }) => `${field}: ${message}`)
}

const small = pod([{ resources: having('20m') }])
const policies = (restartPolicy: string): Partial<Container> => ({
  resizePolicy: [{ resourceName: 'cpu', restartPolicy }],
})

const refused: readonly { name: string; asked: Pod; current: Pod; says: RegExp }[] = [
  {
    name: 'requests for a pod that had none',
    current: pod([{}]),
    asked: small,
    says: /^spec: Invalid value: .*Pod QOS Class may not change as a result of resizing$/,
  },
  {
    name: 'requests that are taken away',
    current: pod([{ resources: having('20m', '1Mi') }]),
    asked: small,
    says: /^spec.containers\[0\].resources.requests: Forbidden: resource requests cannot be removed$/,
  },
  {
    name: 'limits that are taken away',
    current: pod([{ resources: { ...having('20m'), limits: { cpu: '1' } } }]),
    asked: small,
    says: /^spec.containers\[0\].resources.limits: Forbidden: resource limits cannot be removed$/,
  },
  {
    name: 'other resources',
    current: pod([{ resources: { requests: { cpu: '20m', 'ephemeral-storage': '1' } } }]),
    asked: pod([{ resources: { requests: { cpu: '20m', 'ephemeral-storage': '3' } } }]),
    says: /^spec: Forbidden: only cpu and memory resources are mutable$/,
  },
  {
    name: 'another resize policy',
    current: pod([{ resources: having('20m'), ...policies('NotRequired') }]),
    asked: pod([{ resources: having('20m'), ...policies('RestartContainer') }]),
    says: /^spec: Forbidden: only cpu and memory resources are mutable$/,
  },
  {
    name: 'containers of another name',
    current: small,
    asked: pod([{ name: 'other', resources: having('20m') }]),
    says: /^spec.containers\[0\].name: Forbidden: containers may not be renamed or reordered on resize$/,
  },
  {
    name: 'more containers',
    current: small,
    asked: pod([{ resources: having('20m') }, { resources: having('20m') }]),
    says: /^spec.containers: Forbidden: containers may not be added or removed on resize$/,
  },
  {
    name: 'init containers that end',
    current: pod([{ resources: having('20m') }], {
      initContainers: [{ name: 'i', image: 'app', resources: having('1') }],
    }),
    asked: pod([{ resources: having('20m') }], {
      initContainers: [{ name: 'i', image: 'app', resources: having('2') }],
    }),
    says: /^spec: Forbidden: resources for non-sidecar init containers are immutable$/,
  },
  {
    name: 'pods on nodes that do not tell of resources',
    current: pod(
      [{ resources: having('20m') }],
      {},
      {
        containerStatuses: [
          { name: 'c1', image: '', imageID: '', ready: true, restartCount: 0, state: { running: {} } },
        ],
      },
    ),
    asked: pod([{ resources: having('30m') }]),
    says: /^spec: Forbidden: Pod running on node without support for resize$/,
  },
  {
    name: 'resources of the pod as a whole that are taken away',
    current: pod([{}], { resources: having('20m') }),
    asked: pod([{}]),
    says: /^spec.resources: Forbidden: pod-level resources cannot be removed$/,
  },
]

describe('validateResize', () => {
  for (const { name, asked, current, says } of refused) {
    it(`refuses ${name}`, () => {
      const errors = judge(asked, current)
      assert.ok(
        errors.some((text) => says.test(text)),
        errors.join('; '),
      )
    })
  }

  it('takes more, less, limits where there were none, and what is the same in other words', () => {
    const current = pod([{ resources: having('1000m', '1Gi') }, { resources: having('1') }])
    const resources = { requests: { cpu: '1', memory: '512Mi' }, limits: { cpu: '2' } }
    assert.deepEqual(judge(pod([{ resources }, { resources: having('2', '1Mi') }]), current), [])
  })

  it('takes other resources of a sidecar', () => {
    const side = (cpu: string): Parts => ({
      initContainers: [{ name: 's', image: 'app', restartPolicy: 'Always', resources: having(cpu) }],
    })
    assert.deepEqual(judge(pod([{}], side('2')), pod([{}], side('1'))), [])
  })
})

describe('replaceResources', () => {
  it('takes resources from what is asked, and nothing else', () => {
    const asked = pod([{ image: 'evil', resources: having('30m') }], { nodeName: 'elsewhere' })
    const spec = replaceResources(asked, small)
    assert.deepEqual(spec, pod([{ resources: having('30m') }]).spec)
  })
})
