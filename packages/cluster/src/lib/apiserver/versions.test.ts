import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { findKind } from '@fairlead/kube/types'

import { podNamed, startTestServer } from './test-server.ts'
import { convert } from './versions.ts'

const older = '/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers'
const newer = '/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers'

function autoscaler(): Record<string, unknown> {
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'web' },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
      minReplicas: 1,
      maxReplicas: 3,
      metrics: [
        { type: 'Pods', pods: { metric: { name: 'queue' }, target: { type: 'AverageValue', averageValue: '10' } } },
        { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 60 } } },
      ],
      behavior: { scaleDown: { stabilizationWindowSeconds: 60 } },
    },
  }
}

describe('an autoscaler written in the older version', () => {
  it('keeps metrics and behaviour that version has no field for', async () => {
    await using api = await startTestServer()
    await api.call('POST', newer, autoscaler())
    const before = (await api.call('GET', `${newer}/web`)).body
    const read = (await api.call('GET', `${older}/web`)).body
    assert.equal(read.spec.targetCPUUtilizationPercentage, 60)
    read.spec.maxReplicas = 9
    assert.equal((await api.call('PUT', `${older}/web`, read)).status, 200)
    const after = (await api.call('GET', `${newer}/web`)).body
    assert.equal(after.spec.maxReplicas, 9)
    assert.deepEqual(after.spec.metrics, before.spec.metrics)
    assert.deepEqual(after.spec.behavior, before.spec.behavior)
    assert.equal(after.metadata.annotations, undefined)
  })
})

describe('convert', () => {
  it('gives the status back as well', () => {
    const v1 = findKind('autoscaling/v1', 'HorizontalPodAutoscaler')
    const v2 = findKind('autoscaling/v2', 'HorizontalPodAutoscaler')
    assert.ok(v1 !== undefined && v2 !== undefined)
    const status = {
      currentReplicas: 2,
      currentMetrics: [{ type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: 7 } } }],
      conditions: [{ type: 'AbleToScale', status: 'True' }],
    }
    const object = {
      ...autoscaler(),
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: {},
      status,
    }
    const expected = structuredClone(object)
    const older = convert(object, v1)
    assert.equal((older['status'] as { currentCPUUtilizationPercentage: number }).currentCPUUtilizationPercentage, 7)
    assert.deepEqual(convert(older, v2), expected)
  })
})

describe('what services and events may have', () => {
  const services = '/api/v1/namespaces/default/services'
  const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' } }

  it('a list of addresses needs the first one beside it', async () => {
    await using api = await startTestServer()
    const spec = { ports: [{ port: 80 }], clusterIPs: ['10.96.7.7'] }
    const refused = await api.call('POST', services, { ...service, spec })
    assert.equal(refused.status, 422)
    assert.match(
      refused.body.message,
      /spec\.clusterIPs: Invalid value: \["10\.96\.7\.7"\]: must be empty when `clusterIP` is not specified/,
    )
    const other = await api.call('POST', services, { ...service, spec: { ...spec, clusterIP: '10.96.7.8' } })
    assert.match(other.body.message, /first value must match `clusterIP`/)
    const good = await api.call('POST', services, { ...service, spec: { ...spec, clusterIP: '10.96.7.7' } })
    assert.deepEqual([good.status, good.body.spec.clusterIPs], [201, ['10.96.7.7']])
    const patched = await api.call('PATCH', `${services}/web`, { spec: { clusterIP: null } })
    assert.deepEqual([patched.status, patched.body.spec.clusterIP], [200, '10.96.7.7'])
  })

  it('a service that is no load balancer any more has no address of one', async () => {
    await using api = await startTestServer()
    await api.call('POST', services, { ...service, spec: { type: 'LoadBalancer', ports: [{ port: 80 }] } })
    const status = { loadBalancer: { ingress: [{ ip: '127.0.0.1' }] } }
    await api.call('PATCH', `${services}/web/status`, { status })
    const labelled = await api.call('PATCH', `${services}/web`, { metadata: { labels: { a: 'b' } } })
    assert.deepEqual(labelled.body.status, status)
    const plain = await api.call('PATCH', `${services}/web`, { spec: { type: 'ClusterIP' } })
    assert.deepEqual(plain.body.status, { loadBalancer: {} })
  })

  it('an event may be named after a pod with the longest name', async () => {
    await using api = await startTestServer()
    const pod = 'p'.repeat(253)
    assert.equal(
      (await api.call('POST', '/api/v1/namespaces/default/pods', podNamed(pod, { metadata: { name: pod } }))).status,
      201,
    )
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${pod}.17c5c0a1b2c3d4e5` },
      involvedObject: { kind: 'Pod', name: pod, namespace: 'default' },
    }
    assert.equal((await api.call('POST', '/api/v1/namespaces/default/events', event)).status, 201)
  })

  it('quantities of a status have their one spelling, and nothing is null', async () => {
    await using api = await startTestServer()
    await api.call('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' } })
    const status = {
      capacity: { cpu: '2000m', memory: 1024, pods: '1e2' },
      conditions: [{ type: 'Ready', status: 'True' }],
    }
    const headers = { 'content-type': 'application/merge-patch+json' }
    const { body } = await api.call('PATCH', '/api/v1/nodes/n1/status', { status }, headers)
    assert.deepEqual(body.status.capacity, { cpu: '2', memory: '1024', pods: '100' })
  })
})
