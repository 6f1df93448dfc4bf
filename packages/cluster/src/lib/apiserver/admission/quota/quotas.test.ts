import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { podNamed, startTestServer } from '../../test-server.ts'
import type { TestServer } from '../../test-server.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- objects as they come over the wire
type Json = any

const core = '/api/v1/namespaces/default'
const pods = `${core}/pods`

async function limit(api: TestServer, name: string, spec: Json): Promise<void> {
  const { status, body } = await api.call('POST', `${core}/resourcequotas`, { metadata: { name }, spec })
  assert.equal(status, 201, body.message)
}

function podOf(name: string, requests: Json, more: Json = {}): Json {
  return podNamed(name, { spec: { containers: [{ name: 'main', image: 'app:1', resources: { requests } }], ...more } })
}

/** Waits until the status says that much is used. */
async function used(api: TestServer, name: string, expected: Json): Promise<void> {
  let seen: Json
  for (let n = 0; n < 200; n += 1) {
    seen = (await api.call('GET', `${core}/resourcequotas/${name}`)).body.status?.used
    if (JSON.stringify(seen) === JSON.stringify(expected)) return
    await sleep(5)
  }
  assert.deepEqual(seen, expected)
}

describe('ResourceQuota', () => {
  it('refuses what is too much, in the words of upstream, and frees what is deleted', async () => {
    await using api = await startTestServer()
    await limit(api, 'q', { hard: { pods: '2', 'requests.cpu': '500m', 'requests.memory': '1Gi' } })
    await used(api, 'q', { pods: '0', 'requests.cpu': '0', 'requests.memory': '0' })
    assert.equal((await api.call('POST', pods, podOf('a', { cpu: '300m', memory: '256Mi' }))).status, 201)
    const { status, body } = await api.call('POST', pods, podOf('b', { cpu: '300m', memory: '256Mi' }))
    const message =
      'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=300m, used: requests.cpu=300m, limited: requests.cpu=500m'
    assert.deepEqual([status, body.message], [403, message])
    const missing = await api.call('POST', pods, podNamed('c'))
    assert.equal(
      missing.body.message,
      'pods "c" is forbidden: failed quota: q: must specify requests.cpu for: main; requests.memory for: main',
    )
    await used(api, 'q', { pods: '1', 'requests.cpu': '300m', 'requests.memory': '256Mi' })
    await api.call('DELETE', `${pods}/a`)
    await used(api, 'q', { pods: '0', 'requests.cpu': '0', 'requests.memory': '0' })
    assert.equal((await api.call('POST', pods, podOf('b', { cpu: '300m', memory: '256Mi' }))).status, 201)
  })

  it('is never exceeded, however many write at once', async () => {
    await using api = await startTestServer()
    await limit(api, 'q', { hard: { 'count/configmaps': '10' } })
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) => api.call('POST', `${core}/configmaps`, { metadata: { name: `c${n}` } })),
    )
    assert.equal(answers.filter(({ status }) => status === 201).length, 10)
    assert.equal(answers.filter(({ status }) => status === 403).length, 40)
    await used(api, 'q', { 'count/configmaps': '10' })
  })

  it('does not count what was not written', async () => {
    await using api = await startTestServer()
    await limit(api, 'q', { hard: { configmaps: '1' } })
    const maps = `${core}/configmaps`
    assert.equal((await api.call('POST', `${maps}?dryRun=All`, { metadata: { name: 'a' } })).status, 201)
    assert.equal((await api.call('POST', maps, { metadata: { name: 'a' } })).status, 201)
    assert.equal((await api.call('POST', `${maps}?dryRun=All`, { metadata: { name: 'b' } })).status, 403)
  })

  it('counts services, their ports, claims by class, and objects of any kind', async () => {
    await using api = await startTestServer()
    const hard = {
      'services.nodeports': '1',
      services: '2',
      'gold.storageclass.storage.k8s.io/requests.storage': '5Gi',
      persistentvolumeclaims: '3',
      'count/leases.coordination.k8s.io': '1',
    }
    await limit(api, 'q', { hard })
    const service = (name: string, type: string): Json => ({
      metadata: { name },
      spec: { type, ports: [{ port: 80 }] },
    })
    assert.equal((await api.call('POST', `${core}/services`, service('a', 'NodePort'))).status, 201)
    assert.equal((await api.call('POST', `${core}/services`, service('b', 'ClusterIP'))).status, 201)
    assert.equal((await api.call('PATCH', `${core}/services/b`, { spec: { type: 'NodePort' } })).status, 403)
    const claim = (name: string, storage: string): Json => ({
      metadata: { name },
      spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'gold', resources: { requests: { storage } } },
    })
    assert.equal((await api.call('POST', `${core}/persistentvolumeclaims`, claim('c', '3Gi'))).status, 201)
    assert.equal((await api.call('POST', `${core}/persistentvolumeclaims`, claim('d', '3Gi'))).status, 403)
    const leases = '/apis/coordination.k8s.io/v1/namespaces/default/leases'
    assert.equal((await api.call('POST', leases, { metadata: { name: 'l' } })).status, 201)
    assert.equal((await api.call('POST', leases, { metadata: { name: 'm' } })).status, 403)
    await used(api, 'q', {
      'services.nodeports': '1',
      services: '2',
      'gold.storageclass.storage.k8s.io/requests.storage': '3Gi',
      persistentvolumeclaims: '1',
      'count/leases.coordination.k8s.io': '1',
    })
  })

  it('counts the devices that claims may be given, by class: of several choices the most', async () => {
    await using api = await startTestServer()
    const gpus = 'gpu.deviceclass.resource.k8s.io/devices'
    const nics = 'nic.deviceclass.resource.k8s.io/devices'
    await limit(api, 'q', { hard: { [gpus]: '36', [nics]: '2', 'count/resourceclaims.resource.k8s.io': '3' } })
    const claims = '/apis/resource.k8s.io/v1/namespaces/default/resourceclaims'
    const create = async (name: string, requests: Json[]): Promise<Json> =>
      await api.call('POST', claims, { metadata: { name }, spec: { devices: { requests } } })
    const several = {
      name: 'one',
      firstAvailable: [
        { name: 'a', deviceClassName: 'gpu', count: 2 },
        { name: 'b', deviceClassName: 'gpu', count: 3 },
        { name: 'c', deviceClassName: 'nic' },
      ],
    }
    assert.equal((await create('a', [several, { name: 'two', exactly: { deviceClassName: 'gpu' } }])).status, 201)
    await used(api, 'q', { 'count/resourceclaims.resource.k8s.io': '1', [gpus]: '4', [nics]: '1' })
    const all = { name: 'all', exactly: { deviceClassName: 'gpu', allocationMode: 'All' } }
    assert.equal((await create('b', [all])).status, 201)
    const refused = await create('c', [{ name: 'x', exactly: { deviceClassName: 'gpu' } }])
    assert.equal(refused.status, 403)
    assert.match(
      refused.body.message,
      new RegExp(`exceeded quota: q, requested: ${gpus}=1, used: ${gpus}=36, limited: ${gpus}=36`),
    )
    assert.equal((await create('c', [{ name: 'x', exactly: { deviceClassName: 'nic' } }])).status, 201)
  })

  it('counts a claim for the attributes class it asks for and for the one its volume still has', async () => {
    await using api = await startTestServer()
    const claims = `${core}/persistentvolumeclaims`
    for (const name of ['gold', 'silver']) {
      const matchExpressions = [{ scopeName: 'VolumeAttributesClass', operator: 'In', values: [name] }]
      await limit(api, name, { hard: { persistentvolumeclaims: '1' }, scopeSelector: { matchExpressions } })
    }
    const spec = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } }
    const claim = {
      metadata: { name: 'a' },
      spec: { ...spec, storageClassName: '', volumeAttributesClassName: 'gold' },
    }
    await api.call('POST', claims, claim)
    await used(api, 'gold', { persistentvolumeclaims: '1' })
    const status = { phase: 'Bound', currentVolumeAttributesClassName: 'gold' }
    assert.equal((await api.call('PATCH', `${claims}/a/status`, { status })).status, 200)
    const changed = await api.call('PATCH', `${claims}/a`, { spec: { volumeAttributesClassName: 'silver' } })
    assert.equal(changed.status, 200, changed.body.message)
    await used(api, 'silver', { persistentvolumeclaims: '1' })
    await used(api, 'gold', { persistentvolumeclaims: '1' })
    await api.call('PATCH', `${claims}/a/status`, { status: { currentVolumeAttributesClassName: 'silver' } })
    await used(api, 'gold', { persistentvolumeclaims: '0' })
  })

  it('looks at the pods of its scopes only, and not at those that have ended', async () => {
    await using api = await startTestServer()
    await limit(api, 'best', { hard: { pods: '1' }, scopes: ['BestEffort'] })
    const matchExpressions = [{ scopeName: 'PriorityClass', operator: 'In', values: ['system-node-critical'] }]
    await limit(api, 'critical', { hard: { pods: '0' }, scopeSelector: { matchExpressions } })
    assert.equal((await api.call('POST', pods, podOf('a', {}))).status, 201)
    assert.equal((await api.call('POST', pods, podOf('b', { cpu: '1' }))).status, 201)
    assert.equal((await api.call('POST', pods, podOf('c', {}))).status, 403)
    const critical = podOf('d', { cpu: '1' }, { priorityClassName: 'system-node-critical' })
    assert.match((await api.call('POST', pods, critical)).body.message, /exceeded quota: critical/)
    await used(api, 'best', { pods: '1' })
    await api.call('PATCH', `${pods}/a/status`, { status: { phase: 'Succeeded' } })
    await used(api, 'best', { pods: '0' })
  })
})
