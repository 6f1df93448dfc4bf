import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { podNamed, startTestServer } from '../../test-server.ts'
import type { TestServer } from '../../test-server.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- objects as they come over the wire
type Json = any

const core = '/api/v1/namespaces/default'
const pods = `${core}/pods`

async function create(api: TestServer, path: string, object: Json): Promise<Json> {
  const { status, body } = await api.call('POST', path, object)
  assert.equal(status, 201, body.message)
  return body
}

function podOf(name: string, resources: Json, more: Json = {}): Json {
  return podNamed(name, { spec: { containers: [{ name: 'main', image: 'app:1', resources }], ...more } })
}

describe('LimitRanger', () => {
  it('fills in what containers leave out and says so', async () => {
    await using api = await startTestServer()
    const limits = [
      { type: 'Container', max: { cpu: '2' }, default: { memory: '64Mi' }, defaultRequest: { cpu: '100m' } },
    ]
    await create(api, `${core}/limitranges`, { metadata: { name: 'l' }, spec: { limits } })
    const { spec, metadata } = await create(api, pods, podNamed('p'))
    assert.deepEqual(spec.containers[0].resources, {
      limits: { cpu: '2', memory: '64Mi' },
      requests: { cpu: '100m', memory: '64Mi' },
    })
    const note = 'LimitRanger plugin set: cpu, memory request for container main; cpu, memory limit for container main'
    assert.equal(metadata.annotations['kubernetes.io/limit-ranger'], note)
  })

  const range = (item: Json): Json => ({ metadata: { name: 'l' }, spec: { limits: [item] } })
  for (const { name, item, resources, why } of [
    {
      name: 'too little',
      item: { type: 'Container', min: { cpu: '100m' } },
      resources: { requests: { cpu: '50m' } },
      why: 'minimum cpu usage per Container is 100m, but request is 50m',
    },
    {
      name: 'too much',
      item: { type: 'Container', max: { memory: '1Gi' } },
      resources: { limits: { memory: '2Gi' } },
      why: '[maximum memory usage per Container is 1Gi, but limit is 2Gi]',
    },
    {
      name: 'nothing where a pod has a bound',
      item: { type: 'Pod', max: { cpu: '1' } },
      resources: {},
      why: 'maximum cpu usage per Pod is 1.  No limit is specified',
    },
    {
      name: 'too wide a ratio',
      item: { type: 'Container', maxLimitRequestRatio: { cpu: '2' } },
      resources: { requests: { cpu: '100m' }, limits: { cpu: '300m' } },
      why: 'cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000',
    },
  ]) {
    it(`refuses ${name}`, async () => {
      await using api = await startTestServer()
      await create(api, `${core}/limitranges`, range(item))
      const { status, body } = await api.call('POST', pods, podOf('p', resources))
      assert.deepEqual([status, body.message], [403, `pods "p" is forbidden: ${why.replaceAll(/^\[|\]$/g, '')}`])
    })
  }

  it('bounds claims', async () => {
    await using api = await startTestServer()
    await create(api, `${core}/limitranges`, range({ type: 'PersistentVolumeClaim', max: { storage: '1Gi' } }))
    const { body } = await api.call('POST', `${core}/persistentvolumeclaims`, claimOf('c', '2Gi'))
    const why = 'maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi'
    assert.equal(body.message, `persistentvolumeclaims "c" is forbidden: ${why}`)
  })
})

function claimOf(name: string, storage: string, more: Json = {}): Json {
  return { metadata: { name }, spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage } }, ...more } }
}

const classes = '/apis/scheduling.k8s.io/v1/priorityclasses'

describe('Priority', () => {
  it('is what the class says', async () => {
    await using api = await startTestServer()
    await create(api, classes, { metadata: { name: 'high' }, value: 1000, preemptionPolicy: 'Never' })
    await create(api, classes, { metadata: { name: 'usual' }, value: 5, globalDefault: true })
    const cases = [
      { spec: { priorityClassName: 'high' }, expected: ['high', 1000, 'Never'] },
      {
        spec: { priorityClassName: 'system-node-critical' },
        expected: ['system-node-critical', 2000001000, 'PreemptLowerPriority'],
      },
      { spec: {}, expected: ['usual', 5, 'PreemptLowerPriority'] },
    ]
    for (const [index, { spec, expected }] of cases.entries()) {
      const made = (await create(api, pods, podOf(`p${index}`, {}, spec))).spec
      assert.deepEqual([made.priorityClassName, made.priority, made.preemptionPolicy], expected)
    }
  })

  it('refuses unknown classes, other numbers and a second default', async () => {
    await using api = await startTestServer()
    const unknown = await api.call('POST', pods, podOf('p', {}, { priorityClassName: 'none' }))
    assert.equal(unknown.body.message, 'pods "p" is forbidden: no PriorityClass with name none was found')
    const number = await api.call('POST', pods, podOf('p', {}, { priority: 7 }))
    assert.match(
      number.body.message,
      /the integer value of priority \(7\) must not be provided in pod spec; priority admission controller computed 0/,
    )
    await create(api, classes, { metadata: { name: 'a' }, value: 1, globalDefault: true })
    const second = await api.call('POST', classes, { metadata: { name: 'b' }, value: 1, globalDefault: true })
    assert.match(second.body.message, /PriorityClass a is already marked as default\. Only one default can exist$/)
  })

  it('has the classes of every cluster', async () => {
    await using api = await startTestServer()
    assert.equal((await api.call('GET', `${classes}/system-cluster-critical`)).body.value, 2000000000)
  })
})

describe('RuntimeClass', () => {
  it('brings overhead and places, or refuses', async () => {
    await using api = await startTestServer()
    const scheduling = { nodeSelector: { sandbox: 'yes' }, tolerations: [{ key: 'sandbox', operator: 'Exists' }] }
    const overhead = { podFixed: { memory: '10Mi' } }
    await create(api, '/apis/node.k8s.io/v1/runtimeclasses', {
      metadata: { name: 'box' },
      handler: 'box',
      overhead,
      scheduling,
    })
    const { spec } = await create(api, pods, podOf('p', {}, { runtimeClassName: 'box' }))
    assert.deepEqual([spec.overhead, spec.nodeSelector], [{ memory: '10Mi' }, { sandbox: 'yes' }])
    assert.ok(spec.tolerations.some(({ key }: Json) => key === 'sandbox'))
    for (const [more, why] of [
      [{ runtimeClassName: 'none' }, 'pod rejected: RuntimeClass "none" not found'],
      [
        { overhead: { memory: '1' } },
        'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead',
      ],
      [
        { runtimeClassName: 'box', overhead: { memory: '1' } },
        "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
      ],
    ] as const) {
      const { status, body } = await api.call('POST', pods, podOf('q', {}, more))
      assert.deepEqual([status, body.message], [403, `pods "q" is forbidden: ${why}`])
    }
  })
})

describe('default classes', () => {
  it('are given to claims and ingresses without one', async () => {
    await using api = await startTestServer()
    const annotations = { 'storageclass.kubernetes.io/is-default-class': 'true' }
    await create(api, '/apis/storage.k8s.io/v1/storageclasses', {
      metadata: { name: 'local', annotations },
      provisioner: 'x',
    })
    const ingressAnnotations = { 'ingressclass.kubernetes.io/is-default-class': 'true' }
    const ingressClass = { metadata: { name: 'edge', annotations: ingressAnnotations }, spec: { controller: 'a/b' } }
    await create(api, '/apis/networking.k8s.io/v1/ingressclasses', ingressClass)
    const claims = `${core}/persistentvolumeclaims`
    assert.equal((await create(api, claims, claimOf('c', '1Gi'))).spec.storageClassName, 'local')
    assert.equal(
      (await create(api, claims, claimOf('none', '1Gi', { storageClassName: '' }))).spec.storageClassName,
      '',
    )
    const ingress = {
      metadata: { name: 'i' },
      spec: { defaultBackend: { service: { name: 's', port: { number: 1 } } } },
    }
    const made = await create(api, '/apis/networking.k8s.io/v1/namespaces/default/ingresses', ingress)
    assert.equal(made.spec.ingressClassName, 'edge')
  })

  it('decide whether claims may grow', async () => {
    await using api = await startTestServer()
    for (const [name, allowVolumeExpansion] of [
      ['fixed', false],
      ['elastic', true],
    ] as const) {
      await create(api, '/apis/storage.k8s.io/v1/storageclasses', {
        metadata: { name },
        provisioner: 'x',
        allowVolumeExpansion,
      })
      await create(api, `${core}/persistentvolumeclaims`, claimOf(name, '1Gi', { storageClassName: name }))
    }
    const grow = (name: string): Promise<Json> =>
      api.call('PATCH', `${core}/persistentvolumeclaims/${name}`, {
        spec: { resources: { requests: { storage: '2Gi' } } },
      })
    // The rules of the kind come before the plugin's, which would say that only bound claims grow.
    assert.match(
      (await grow('elastic')).body.message,
      /resources\.requests and volumeAttributesClassName for bound claims$/,
    )
    for (const name of ['fixed', 'elastic']) {
      await api.call('PATCH', `${core}/persistentvolumeclaims/${name}/status`, { status: { phase: 'Bound' } })
    }
    assert.match((await grow('fixed')).body.message, /the storageclass that provisions the pvc must support resize$/)
    assert.equal((await grow('elastic')).status, 200)
  })
})
