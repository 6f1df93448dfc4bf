import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { isNotFound } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { findCondition } from '@fairlead/kube/controller'
import type { Deployment, ReplicaSet } from '@fairlead/kube/types/apps-v1'

import { deployment, eventually, namesOf, node, openWorkbench, reportPod, runPods } from './testing/workbench.ts'

/** Runs `use` with a node agent at hand that runs everything. */
async function withPods(client: KubeClient, use: () => Promise<void>): Promise<void> {
  const stop = new AbortController()
  const running = runPods(client, stop.signal)
  try {
    await use()
  } finally {
    stop.abort()
    await running
  }
}

function rolledOut(client: KubeClient, name: string): Promise<Deployment> {
  return eventually(`${name} rolled out`, async () => {
    const found = await client.resource('apps/v1/Deployment').get(name)
    const { status, metadata, spec } = found
    return (
      status?.observedGeneration === metadata?.generation &&
      status?.updatedReplicas === spec?.replicas &&
      status?.availableReplicas === spec?.replicas &&
      status?.replicas === spec?.replicas &&
      findCondition(status?.conditions, 'Progressing')?.reason === 'NewReplicaSetAvailable' &&
      found
    )
  })
}

async function replicaSetsOf(client: KubeClient): Promise<ReplicaSet[]> {
  return (await client.resource('apps/v1/ReplicaSet').list()).items
}

const revision = 'deployment.kubernetes.io/revision'
const setImage = (image: string): { type: 'strategic'; body: unknown } => {
  return { type: 'strategic', body: { spec: { template: { spec: { containers: [{ name: 'app', image }] } } } } }
}

void describe('runControllers', () => {
  void it('rolls a deployment out, scales it, updates it, rolls it back, and deletes all it made', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const deployments = client.resource('apps/v1/Deployment')
    await withPods(client, async () => {
      await deployments.create(deployment('web'))
      const first = await rolledOut(client, 'web')
      assert.equal(findCondition(first.status?.conditions, 'Available')?.reason, 'MinimumReplicasAvailable')
      assert.equal(first.metadata?.annotations?.[revision], '1')
      const [original] = await replicaSetsOf(client)

      await deployments.patch('web', { type: 'merge', body: { spec: { replicas: 5 } } })
      await rolledOut(client, 'web')
      assert.equal((await namesOf(client.resource('v1/Pod'), 'default')).length, 5)

      await deployments.patch('web', setImage('app:2'))
      const second = await rolledOut(client, 'web')
      assert.equal(second.metadata?.annotations?.[revision], '2')
      const pods = await client.resource('v1/Pod').list()
      assert.deepEqual(new Set(pods.items.map(({ spec }) => spec?.containers[0]?.image)), new Set(['app:2']))

      await deployments.patch('web', setImage('app:1'))
      const third = await rolledOut(client, 'web')
      assert.equal(third.metadata?.annotations?.[revision], '3')
      const sets = await replicaSetsOf(client)
      assert.equal(sets.length, 2, 'the old replica set is used again')
      const renewed = sets.find(({ metadata }) => metadata?.uid === original?.metadata?.uid)
      assert.equal(renewed?.metadata?.annotations?.[revision], '3')
      assert.equal(renewed?.metadata?.annotations?.['deployment.kubernetes.io/revision-history'], '1')
      assert.equal(renewed?.spec?.replicas, 5)

      await deployments.delete('web', { propagationPolicy: 'Background' })
      await eventually('everything is gone', async () => {
        const left = [...(await replicaSetsOf(client)), ...(await namesOf(client.resource('v1/Pod'), 'default'))]
        return left.length === 0
      })
    })
    assert.deepEqual(bench.errors, [])
  })

  void it('has the pods of a deployment placed on nodes', async () => {
    await using bench = await openWorkbench({ scheduler: true })
    const { client } = bench
    for (const name of ['n1', 'n2']) {
      const { status } = await client.resource('v1/Node').create(node(name))
      await client.resource('v1/Node').updateStatus({ ...node(name), status: status ?? node(name).status })
    }
    await client.resource('apps/v1/Deployment').create(deployment('web', { replicas: 4 }))
    const nodeNames = await eventually('four pods on nodes', async () => {
      const { items } = await client.resource('v1/Pod').list()
      const names = items.flatMap(({ spec }) => spec?.nodeName ?? [])
      return names.length === 4 && names
    })
    assert.deepEqual(
      nodeNames.toSorted((a, b) => a.localeCompare(b)),
      ['n1', 'n1', 'n2', 'n2'],
    )
    assert.deepEqual(bench.errors, [])
  })

  void it('tells what it did in events', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    await client.resource('apps/v1/Deployment').create(deployment('web', { replicas: 1 }))
    const messages = await eventually('two events', async () => {
      const { items } = await client.resource('v1/Event').list()
      const told = items.map(({ reason, message, involvedObject }) => `${involvedObject.kind} ${reason}: ${message}`)
      return told.length >= 2 && told.toSorted((a, b) => a.localeCompare(b))
    })
    assert.match(messages[0] ?? '', /^Deployment ScalingReplicaSet: Scaled up replica set web-\w{10} from 0 to 1$/)
    assert.match(messages[1] ?? '', /^ReplicaSet SuccessfulCreate: Created pod: web-\w{10}-\w{5}$/)
  })

  void it('never has fewer available or more pods than the strategy allows', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }
    const pods = client.resource('v1/Pod')
    await client.resource('apps/v1/Deployment').create(deployment('web', { replicas: 3, strategy }))
    for (const pod of await podsOf(client, 3)) {
      await reportPod(client, pod, true)
    }
    await rolledOut(client, 'web')
    await client.resource('apps/v1/Deployment').patch('web', setImage('app:2'))
    for (let step = 0; step < 3; step += 1) {
      const fresh = await eventually('a pod of the new image that is not ready', async () => {
        const { items } = await pods.list()
        const live = items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
        assert.ok(live.length <= 4, `${live.length} pods`)
        return (
          live.length === 4 &&
          live.find(({ spec, status }) => spec?.containers[0]?.image === 'app:2' && status?.podIP === undefined)
        )
      })
      await reportPod(client, fresh, true)
      await eventually('an old pod is let go', async () => {
        const { items } = await pods.list()
        for (const { metadata } of items.filter((pod) => pod.metadata?.deletionTimestamp !== undefined)) {
          await pods.delete(metadata?.name ?? '', { gracePeriodSeconds: 0 })
        }
        return items.filter(({ spec }) => spec?.containers[0]?.image === 'app:1').length === 2 - step
      })
    }
    await rolledOut(client, 'web')
    assert.deepEqual(bench.errors, [])
  })

  void it('stops everything old before it starts anything new when told to recreate', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const strategy = { type: 'Recreate' }
    await withPods(client, async () => {
      await client.resource('apps/v1/Deployment').create(deployment('web', { replicas: 2, strategy }))
      await rolledOut(client, 'web')
      const stop = new AbortController()
      const images: string[] = []
      const alive = new Map<string, string>()
      const watching = (async () => {
        for await (const { type, object } of client
          .resource('v1/Pod')
          .watch({ sendInitialEvents: true, signal: stop.signal })) {
          if (type === 'DELETED') {
            alive.delete(object.metadata?.name ?? '')
          } else if (type !== 'BOOKMARK') {
            alive.set(object.metadata?.name ?? '', object.spec?.containers[0]?.image ?? '')
          }
          images.push([...new Set(alive.values())].join('+'))
        }
      })().catch(() => {})
      await client.resource('apps/v1/Deployment').patch('web', setImage('app:2'))
      await rolledOut(client, 'web')
      stop.abort()
      await watching
      assert.equal(images.includes('app:1+app:2'), false)
      assert.equal(images.at(-1), 'app:2')
    })
  })

  void it('replaces a pod that is deleted, and adopts one that matches', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const pods = client.resource('v1/Pod')
    await client.resource('apps/v1/Deployment').create(deployment('web', { replicas: 2 }))
    const [victim] = await podsOf(client, 2)
    await pods.delete(victim?.metadata?.name ?? '', { gracePeriodSeconds: 0 })
    const now = await podsOf(client, 2)
    assert.ok(now.every(({ metadata }) => metadata?.uid !== victim?.metadata?.uid))
    const [kept] = now
    await pods.patch(kept?.metadata?.name ?? '', { type: 'merge', body: { metadata: { labels: { app: 'apart' } } } })
    const released = await eventually('the pod is released', async () => {
      const pod = await pods.get(kept?.metadata?.name ?? '')
      return (pod.metadata?.ownerReferences ?? []).length === 0 && pod
    })
    await eventually('it is replaced', async () => (await namesOf(pods, 'default')).length === 3)
    await pods.patch(released.metadata?.name ?? '', { type: 'merge', body: { metadata: { labels: { app: 'web' } } } })
    await eventually(
      'one of three is deleted',
      async () =>
        (await pods.list()).items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined).length === 2,
    )
    assert.deepEqual(bench.errors, [])
  })

  void it('pauses and resumes', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const deployments = client.resource('apps/v1/Deployment')
    await withPods(client, async () => {
      await deployments.create(deployment('web'))
      await rolledOut(client, 'web')
      await deployments.patch('web', { type: 'merge', body: { spec: { paused: true } } })
      await eventually('it says it is paused', async () => {
        const { status } = await deployments.get('web')
        return findCondition(status?.conditions, 'Progressing')?.reason === 'DeploymentPaused'
      })
      await deployments.patch('web', setImage('app:2'))
      await deployments.patch('web', { type: 'merge', body: { spec: { replicas: 4 } } })
      await eventually(
        'it still scales',
        async () => (await namesOf(client.resource('v1/Pod'), 'default')).length === 4,
      )
      assert.equal((await replicaSetsOf(client)).length, 1)
      await deployments.patch('web', { type: 'merge', body: { spec: { paused: false } } })
      await rolledOut(client, 'web')
      assert.equal((await replicaSetsOf(client)).length, 2)
    })
  })

  void it('keeps no more history than asked', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const deployments = client.resource('apps/v1/Deployment')
    await withPods(client, async () => {
      await deployments.create(deployment('web', { replicas: 1, revisionHistoryLimit: 1 }))
      for (const image of ['app:2', 'app:3', 'app:4']) {
        await rolledOut(client, 'web')
        await deployments.patch('web', setImage(image))
      }
      await rolledOut(client, 'web')
      await eventually('two replica sets are left', async () => {
        const sets = await replicaSetsOf(client)
        const revisions = sets.map(({ metadata }) => metadata?.annotations?.[revision] ?? '')
        return revisions.toSorted((a, b) => a.localeCompare(b)).join() === '3,4'
      })
    })
  })

  void it('waits for dependents when deleted in the foreground, and leaves them when told to orphan', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const sets = client.resource('apps/v1/ReplicaSet')
    const pods = client.resource('v1/Pod')
    const { metadata, spec } = deployment('web', { replicas: 2 })
    const replicaSet = { metadata, spec: { replicas: 2, selector: spec?.selector ?? {}, template: spec?.template } }
    await sets.create(replicaSet)
    await podsOf(client, 2)
    await sets.delete('web', { propagationPolicy: 'Foreground' })
    await eventually('pods are being deleted while the owner waits', async () => {
      const { items } = await pods.list()
      for (const pod of items.filter((one) => one.metadata?.deletionTimestamp !== undefined)) {
        assert.equal((await sets.get('web')).metadata?.finalizers?.includes('foregroundDeletion'), true)
        await pods.delete(pod.metadata?.name ?? '', { gracePeriodSeconds: 0 })
      }
      return items.length === 0
    })
    await eventually('the owner goes', () => isGone(sets.get('web')))

    await sets.create(replicaSet)
    await podsOf(client, 2)
    await sets.delete('web', { propagationPolicy: 'Orphan' })
    await eventually('the owner goes', () => isGone(sets.get('web')))
    const { items } = await pods.list()
    assert.deepEqual(
      items.map((pod) => pod.metadata?.ownerReferences ?? []),
      [[], []],
    )
    assert.deepEqual(bench.errors, [])
  })

  void it('keeps the pods of a ReplicationController at their number, and leaves them when nothing else is said', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const controllers = client.resource('v1/ReplicationController')
    const template = {
      metadata: { labels: { app: 'old' } },
      spec: { containers: [{ name: 'app', image: 'app:1' }] },
    }
    await controllers.create({ metadata: { name: 'old', namespace: 'default' }, spec: { replicas: 2, template } })
    for (const pod of await podsOf(client, 2)) {
      assert.equal(pod.metadata?.ownerReferences?.[0]?.kind, 'ReplicationController')
      await reportPod(client, pod, true)
    }
    await eventually('it says so', async () => {
      const { status } = await controllers.get('old')
      return status?.readyReplicas === 2 && status.fullyLabeledReplicas === 2 && status.observedGeneration === 1
    })
    await controllers.scale('old', 1)
    await eventually('one is let go', async () => {
      const { items } = await client.resource('v1/Pod').list()
      return items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined).length === 1
    })
    await controllers.delete('old')
    await eventually('the owner goes', () => isGone(controllers.get('old')))
    const { items } = await client.resource('v1/Pod').list()
    assert.deepEqual(
      items.flatMap(({ metadata }) => metadata?.ownerReferences ?? []),
      [],
    )
    assert.deepEqual(bench.errors, [])
  })

  void it('deletes objects that own each other in a circle, of whom each would wait for the next', async () => {
    await using bench = await openWorkbench()
    const configMaps = bench.client.resource('v1/ConfigMap')
    const owners = new Map<string, string>()
    const ownedBy = (name: string) => {
      return [{ apiVersion: 'v1', kind: 'ConfigMap', name, uid: owners.get(name) ?? '', blockOwnerDeletion: true }]
    }
    for (const [name, owner] of [
      ['a', undefined],
      ['b', 'a'],
      ['c', 'b'],
    ] as const) {
      const ownerReferences = owner === undefined ? [] : ownedBy(owner)
      const { metadata } = await configMaps.create({ metadata: { name, namespace: 'default', ownerReferences } })
      owners.set(name, metadata?.uid ?? '')
    }
    await configMaps.patch('a', { type: 'merge', body: { metadata: { ownerReferences: ownedBy('c') } } })
    await configMaps.delete('a', { propagationPolicy: 'Foreground' })
    for (const name of ['a', 'b', 'c']) await eventually(`${name} goes`, () => isGone(configMaps.get(name)))
    assert.deepEqual(bench.errors, [])
  })

  void it('gives every namespace its service account and certificate, and empties it when it is deleted', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const namespaces = client.resource('v1/Namespace')
    await namespaces.create({ metadata: { name: 'shop' } })
    await eventually('service account', async () =>
      (await namesOf(client.resource('v1/ServiceAccount'), 'shop')).includes('default'),
    )
    await eventually('certificate', async () => {
      const { items } = await client.resource('v1/ConfigMap').list({ namespace: 'shop' })
      return items.find(({ metadata }) => metadata?.name === 'kube-root-ca.crt')?.data?.['ca.crt'] === 'PEM'
    })
    await withPods(client, async () => {
      await client
        .resource('apps/v1/Deployment')
        .create({ ...deployment('web'), metadata: { name: 'web', namespace: 'shop' } })
      await eventually('three pods', async () => (await namesOf(client.resource('v1/Pod'), 'shop')).length === 3)
      await namespaces.delete('shop')
      await eventually('the namespace is gone', () => isGone(namespaces.get('shop')))
    })
    assert.deepEqual(await namesOf(client.resource('apps/v1/Deployment'), 'shop'), [])
    assert.deepEqual(bench.errors, [])
  })

  void it('lists who answers for a service, and on which port', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const slices = client.resource('discovery.k8s.io/v1/EndpointSlice')
    await client.resource('v1/Service').create({
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 'serve', protocol: 'TCP' }] },
    })
    const containers = [
      { name: 'app', image: 'app:1', ports: [{ name: 'serve', containerPort: 8080, protocol: 'TCP' }] },
    ]
    const template = { metadata: { labels: { app: 'web' } }, spec: { containers } }
    await client.resource('apps/v1/Deployment').create(deployment('web', { replicas: 2, template }))
    const [one, two] = await podsOf(client, 2)
    assert.ok(one !== undefined && two !== undefined)
    await reportPod(client, one, true)
    await reportPod(client, two, false)
    const slice = await eventually('two endpoints, one ready', async () => {
      const { items } = await slices.list({ labelSelector: 'kubernetes.io/service-name=web' })
      const full = items.find(({ endpoints }) => endpoints?.length === 2)
      return full?.endpoints?.filter(({ conditions }) => conditions?.ready === true).length === 1 && full
    })
    assert.deepEqual(slice.ports, [{ name: 'http', port: 8080, protocol: 'TCP' }])
    const legacy = await eventually('endpoints', async () => {
      const found = await client
        .resource('v1/Endpoints')
        .get('web')
        .catch(() => undefined)
      return found?.subsets?.[0]?.addresses?.length === 1 && found
    })
    assert.equal(legacy.subsets?.[0]?.notReadyAddresses?.length, 1)
    await eventually('no empty slice is left', async () => (await slices.list()).items.length === 1)
    await client.resource('v1/Service').delete('web')
    await eventually(
      'all gone',
      async () =>
        (await slices.list()).items.length + (await namesOf(client.resource('v1/Endpoints'), 'default')).length === 0,
    )
    assert.deepEqual(bench.errors, [])
  })
})

/** The pods, once there are so many that are not being deleted. */
function podsOf(client: KubeClient, count: number) {
  return eventually(`${count} pods`, async () => {
    const { items } = await client.resource('v1/Pod').list()
    const live = items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
    return live.length === count && live
  })
}

async function isGone(get: Promise<unknown>): Promise<boolean> {
  try {
    await get
    return false
  } catch (error) {
    return isNotFound(error)
  }
}
