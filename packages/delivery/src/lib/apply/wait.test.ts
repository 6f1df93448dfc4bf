import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { KubeObject } from '@fairlead/kube/types'
import { createDouble, type Double } from '../double.ts'
import { type ServiceProgress, waitForReady } from './wait.ts'

const namespace = '/namespaces/default'
const revision = { 'deployment.kubernetes.io/revision': '2' }

function labels(name: string): Record<string, string> {
  return { 'app.kubernetes.io/part-of': 'shop', 'app.kubernetes.io/name': name }
}

function deployment(name: string, status: object): KubeObject {
  const metadata = {
    name,
    namespace: 'default',
    uid: `d-${name}`,
    generation: 1,
    labels: labels(name),
    annotations: revision,
  }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: { replicas: 1 },
    status: { observedGeneration: 1, ...status },
  }
}

function service(name: string, ip?: string): KubeObject {
  const ingress = ip === undefined ? [] : [{ ip }]
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default', labels: labels(name) },
    spec: { type: 'LoadBalancer', ports: [{ port: 8080 }] },
    status: { loadBalancer: { ingress } },
  }
}

const ready = { replicas: 1, updatedReplicas: 1, availableReplicas: 1 }
const starting = { replicas: 1, updatedReplicas: 1, availableReplicas: 0 }

function put(double: Double, object: KubeObject): KubeObject {
  const plural = {
    Deployment: 'deployments',
    StatefulSet: 'statefulsets',
    ReplicaSet: 'replicasets',
    Pod: 'pods',
    Service: 'services',
  }[object.kind]
  const group = object.apiVersion === 'v1' ? '/api/v1' : `/apis/${object.apiVersion}`
  double.put(`${group}${namespace}/${plural}/${object.metadata.name}`, object)
  return object
}

/** A ReplicaSet of the newest revision and one of its pods, with this container status. */
function putPod(double: Double, name: string, containerStatus: object): void {
  const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name, uid: `d-${name}`, controller: true }
  const set = { name: `${name}-2`, namespace: 'default', uid: `r-${name}`, labels: labels(name), annotations: revision }
  put(double, { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: { ...set, ownerReferences: [owner] } })
  const parent = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: set.name, uid: set.uid, controller: true }
  const metadata = {
    name: `${name}-2-abc`,
    namespace: 'default',
    uid: `p-${name}`,
    labels: labels(name),
    ownerReferences: [parent],
  }
  const status = { containerStatuses: [{ name, image: `${name}:1`, ...containerStatus }] }
  put(double, { apiVersion: 'v1', kind: 'Pod', metadata, status })
}

const crashed = {
  restartCount: 1,
  state: { waiting: { reason: 'CrashLoopBackOff' } },
  lastState: { terminated: { exitCode: 7 } },
}

describe('waitForReady', () => {
  it('is content with programs that were started, where that is all that is asked for', async () => {
    const double = createDouble()
    const objects = [put(double, deployment('web', starting)), put(double, service('web', '127.0.0.1'))]
    const wait = waitForReady(double.client, objects, { until: 'started', deadlineMs: 30_000 })
    putPod(double, 'web', { restartCount: 0, state: { waiting: { reason: 'ContainerCreating' } } })
    putPod(double, 'web', { restartCount: 0, state: { running: {} } })
    assert.deepEqual(await wait, [{ service: 'web', url: 'http://127.0.0.1:8080' }])
    putPod(double, 'web', { ...crashed, restartCount: 5 })
    const [again] = await waitForReady(double.client, objects, { until: 'started' })
    assert.equal(again?.service, 'web')
  })

  it('resolves when a watch shows the last service ready, and told every change once', async () => {
    const double = createDouble()
    const objects = [put(double, deployment('web', starting)), put(double, service('web'))]
    const seen: string[] = []
    const onProgress = ({ phase, detail }: ServiceProgress): void => {
      seen.push(`${phase} ${detail}`)
      if (seen.length === 1) put(double, deployment('web', ready))
      if (detail.startsWith('waiting for the address')) put(double, service('web', '127.0.0.1'))
    }
    const services = await waitForReady(double.client, objects, { onProgress })
    assert.deepEqual(services, [{ service: 'web', url: 'http://127.0.0.1:8080' }])
    assert.deepEqual(seen, [
      'waiting 0 of 1 pods ready',
      'waiting waiting for the address of the load balancer',
      'ready http://127.0.0.1:8080',
    ])
  })

  it('waits for a StatefulSet too, and tells what its pod of the newest revision fails with', async () => {
    const double = createDouble()
    const set = (status: object): KubeObject => ({
      ...deployment('db', { updateRevision: 'db-2', ...status }),
      kind: 'StatefulSet',
    })
    const objects = [put(double, set(starting))]
    const onProgress = ({ phase }: ServiceProgress): void => {
      if (phase === 'waiting') put(double, set(ready))
    }
    assert.deepEqual(await waitForReady(double.client, objects, { onProgress }), [{ service: 'db', url: undefined }])
    put(double, set(starting))
    const owner = { apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'db', uid: 'd-db', controller: true }
    const putOwn = (name: string, hash: string, state: object): void => {
      const metadata = { name, namespace: 'default', uid: name, ownerReferences: [owner] }
      const own = { ...labels('db'), 'controller-revision-hash': hash }
      const status = { containerStatuses: [{ name: 'db', image: 'db:1', restartCount: 0, state }] }
      put(double, { apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, labels: own }, status })
    }
    putOwn('db-1', 'db-1', { waiting: { reason: 'InvalidImageName' } })
    putOwn('db-0', 'db-2', { waiting: { reason: 'ErrImagePull', message: 'no such image' } })
    await assert.rejects(waitForReady(double.client, objects), (error) => {
      assert.ok(error instanceof AggregateError)
      assert.match(String(error.errors[0]), /db.*cannot be pulled: no such image/)
      return true
    })
  })

  it('does not wait for ever for an address', async () => {
    const double = createDouble()
    const objects = [put(double, deployment('web', ready)), put(double, service('web'))]
    const services = await waitForReady(double.client, objects, { addressDeadlineMs: 1 })
    assert.deepEqual(services, [{ service: 'web', url: undefined }])
  })

  it('gives up at the second crash, with the exit code and the last words of the pod', async () => {
    const double = createDouble({ logs: { 'web-2-abc': { previous: 'starting\ncannot reach db\n' } } })
    const objects = [put(double, deployment('web', starting)), put(double, deployment('api', ready))]
    putPod(double, 'web', crashed)
    await assert.rejects(waitForReady(double.client, objects), (error: unknown) => {
      assert.ok(error instanceof AggregateError)
      assert.equal(error.message, 'Cannot start "web": crashed 2 times, last with exit code 7')
      const [only] = error.errors
      assert.equal(only.message, 'web: crashed 2 times, last with exit code 7\n| starting\n| cannot reach db')
      assert.equal(Reflect.get(error, 'code'), 'FAIRLEAD_DELIVERY_SERVICE_FAILED')
      return true
    })
  })

  it('looks only at pods of the newest revision', async () => {
    const double = createDouble()
    const objects = [put(double, deployment('web', starting))]
    putPod(double, 'web', crashed)
    put(double, {
      ...deployment('web', starting),
      metadata: { ...deployment('web', {}).metadata, annotations: { 'deployment.kubernetes.io/revision': '3' } },
    })
    await assert.rejects(waitForReady(double.client, objects, { deadlineMs: 1 }), { code: 'FAIRLEAD_DELIVERY_TIMEOUT' })
  })

  it('tells at the deadline what was waited for', async () => {
    const double = createDouble()
    const objects = [put(double, deployment('web', starting)), put(double, deployment('api', ready))]
    await assert.rejects(waitForReady(double.client, objects, { deadlineMs: 1 }), (error: unknown) => {
      assert.ok(error instanceof AggregateError)
      assert.equal(error.message, 'Cannot wait longer for "web": not ready after 0.001 s')
      assert.equal(error.errors[0].message, 'web: 0 of 1 pods ready')
      return true
    })
  })

  it('ends with the reason of the signal', async () => {
    const double = createDouble()
    const objects = [put(double, deployment('web', starting))]
    const controller = new AbortController()
    const reason = new Error('stop')
    const waiting = waitForReady(double.client, objects, {
      signal: controller.signal,
      onProgress: () => controller.abort(reason),
    })
    await assert.rejects(waiting, reason)
  })
})
