import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { normalise } from './normalise.ts'

const podSpec = 'io.k8s.api.core.v1.PodSpec'

describe('normalise', () => {
  it('leaves out what a Go client leaves out when it writes the object back', () => {
    const spec = {
      hostNetwork: false,
      nodeName: '',
      nodeSelector: {},
      imagePullSecrets: [],
      containers: [
        {
          name: 'a',
          stdin: false,
          env: [],
          ports: [{ containerPort: 80, hostPort: 0 }],
          volumeMounts: [{ name: 'v', mountPath: '/v', readOnly: false, subPath: '' }],
          resources: { limits: {} },
        },
      ],
      volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'c', readOnly: false } }],
    }
    normalise(podSpec, spec)
    assert.deepEqual(spec, {
      containers: [
        {
          name: 'a',
          ports: [{ containerPort: 80 }],
          volumeMounts: [{ name: 'v', mountPath: '/v' }],
          resources: {},
        },
      ],
      volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'c' } }],
    })
  })

  it('keeps what is an answer though it is empty: pointers, structs, entries of maps and required fields', () => {
    const spec = {
      priority: 0,
      automountServiceAccountToken: false,
      securityContext: {},
      nodeSelector: { zone: '' },
      containers: [],
      volumes: [{ name: 'v', emptyDir: {} }],
    }
    const before = structuredClone(spec)
    normalise(podSpec, spec)
    assert.deepEqual(spec, before)
    const deployment = { replicas: 0, paused: false, selector: {}, template: {} }
    normalise('io.k8s.api.apps.v1.DeploymentSpec', deployment)
    assert.deepEqual(deployment, { replicas: 0, selector: {}, template: {} })
  })

  it('gives required fields their zero value and quantities their one spelling', () => {
    const container = { resources: { requests: { cpu: '1000m', memory: 1024 } }, command: null }
    normalise('io.k8s.api.core.v1.Container', container)
    assert.deepEqual(container, { name: '', resources: { requests: { cpu: '1', memory: '1024' } } })
  })
})
