import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { KubeObject } from '@fairlead/kube/types'
import { createDouble, type Double } from '../double.ts'
import { followLogs, type LogLine, readLogs } from './logs.ts'
import { listServicePorts, listServices } from './status.ts'

function labels(app: string, name: string): Record<string, string> {
  return {
    'app.kubernetes.io/part-of': app,
    'app.kubernetes.io/name': name,
    'app.kubernetes.io/version': '1.2.0',
    'app.kubernetes.io/managed-by': 'fairlead',
  }
}

function putDeployment({ put }: Double, app: string, name: string): void {
  put(`/apis/apps/v1/namespaces/default/deployments/${name}`, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default', labels: labels(app, name), creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { replicas: 2, template: { spec: { containers: [{ name, image: `${name}:1` }] } } },
    status: { replicas: 3, updatedReplicas: 1, readyReplicas: 1 },
  })
}

function putPod({ put }: Double, app: string, name: string, restartCount = 0): void {
  const pod: KubeObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `${name}-2-abc`, namespace: 'default', uid: `p-${name}`, labels: labels(app, name) },
    status: { containerStatuses: [{ name, restartCount, state: { running: {} } }] },
  }
  put(`/api/v1/namespaces/default/pods/${name}-2-abc`, pod)
}

function putService({ put }: Double, app: string, name: string, port: number): void {
  put(`/api/v1/namespaces/default/services/${name}`, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default', labels: labels(app, name) },
    spec: { type: 'LoadBalancer', ports: [{ port }] },
    status: { loadBalancer: { ingress: [{ ip: '127.0.0.1' }] } },
  })
}

function createShop(logs = {}): Double {
  const double = createDouble({ logs })
  for (const name of ['web', 'api']) putDeployment(double, 'shop', name)
  putDeployment(double, 'blog', 'pages')
  putPod(double, 'shop', 'web', 3)
  putPod(double, 'shop', 'api')
  putService(double, 'shop', 'web', 8080)
  return double
}

describe('listServices', () => {
  it('tells of databases too', async () => {
    const double = createShop()
    double.put('/apis/apps/v1/namespaces/default/statefulsets/db', {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'db', namespace: 'default', labels: labels('shop', 'db') },
      spec: { replicas: 1, template: { spec: { containers: [{ name: 'db', image: 'postgres:17' }] } } },
      status: { replicas: 1, updatedReplicas: 1, readyReplicas: 1 },
    })
    const found = (await listServices(double.client, { app: 'shop' })).find(({ service }) => service === 'db')
    assert.deepEqual(
      [found?.app, found?.replicas, found?.readyReplicas, found?.outdatedReplicas, found?.image, found?.url],
      ['shop', 1, 1, 0, 'postgres:17', undefined],
    )
  })

  it('tells of every service, sorted by app and name', async () => {
    const services = await listServices(createShop().client)
    assert.deepEqual(
      services.map(({ app, service }) => `${app}/${service}`),
      ['blog/pages', 'shop/api', 'shop/web'],
    )
    assert.deepEqual(services[2], {
      app: 'shop',
      service: 'web',
      namespace: 'default',
      version: '1.2.0',
      replicas: 2,
      readyReplicas: 1,
      outdatedReplicas: 2,
      restarts: 3,
      image: 'web:1',
      url: 'http://127.0.0.1:8080',
      createdAt: '2026-01-01T00:00:00Z',
    })
  })

  it('tells of one app', async () => {
    const services = await listServices(createShop().client, { app: 'blog' })
    assert.deepEqual(
      services.map(({ service }) => service),
      ['pages'],
    )
  })
})

describe('readLogs', () => {
  const logs = {
    'web-2-abc': { current: '2026-01-01T00:00:00.1Z one\n2026-01-01T00:00:00.3Z three\n' },
    'api-2-abc': { current: '2026-01-01T00:00:00.2Z two, with spaces' },
  }

  it('puts the lines of all pods into the order of time', async () => {
    const lines = await readLogs(createShop(logs).client, { subject: 'shop' })
    assert.deepEqual(
      lines.map(({ service, text }) => `${service}: ${text}`),
      ['web: one', 'api: two, with spaces', 'web: three'],
    )
  })

  it('takes the name of a service, too', async () => {
    const lines = await readLogs(createShop(logs).client, { subject: 'api' })
    assert.deepEqual(lines, [{ service: 'api', pod: 'api-2-abc', text: 'two, with spaces' }])
  })
})

describe('followLogs', () => {
  it('follows pods that come later, until it is told to stop', async () => {
    const double = createDouble({ logs: { 'late-2-abc': { current: '2026-01-01T00:00:00Z hello\n' } } })
    putDeployment(double, 'shop', 'late')
    const controller = new AbortController()
    const reason = new Error('stop')
    const seen: LogLine[] = []
    const following = followLogs(double.client, { subject: 'shop', signal: controller.signal }, (line) => {
      seen.push(line)
      controller.abort(reason)
    })
    putPod(double, 'shop', 'late')
    await assert.rejects(following, reason)
    assert.deepEqual(seen, [{ service: 'late', pod: 'late-2-abc', text: 'hello' }])
  })
})

describe('listServicePorts', () => {
  it('tells which Service has which port outside', async () => {
    const ports = await listServicePorts(createShop().client)
    assert.deepEqual(ports, [{ port: 8080, service: 'web', app: 'shop' }])
  })
})
