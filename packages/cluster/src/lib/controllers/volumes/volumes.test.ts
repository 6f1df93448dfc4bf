import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { isNotFound } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec } from '@fairlead/kube/types/core-v1'

import { eventually, node, openWorkbench, runPods } from '../testing/workbench.ts'
import type { Workbench } from '../testing/workbench.ts'
import { decideClaim, decideVolume } from './decide-binding.ts'
import { ensureStorageClass } from './local-volumes.ts'
import { findVolume, mismatchOf } from './match-volume.ts'

type Spec = NonNullable<PersistentVolume['spec']>

function volumeOf(name: string, change: Spec = {}, labels: Record<string, string> = {}): PersistentVolume {
  const spec = { capacity: { storage: '5Gi' }, accessModes: ['ReadWriteOnce'], storageClassName: '', ...change }
  return { metadata: { name, labels }, spec: { hostPath: { path: '/x' }, ...spec }, status: { phase: 'Available' } }
}

function claimOf(change: PersistentVolumeClaimSpec = {}, storage = '2Gi'): PersistentVolumeClaim {
  const requests = { storage }
  return {
    metadata: { name: 'data', namespace: 'default', uid: 'claim' },
    spec: { accessModes: ['ReadWriteOnce'], storageClassName: '', resources: { requests }, ...change },
  }
}

const mine = { namespace: 'default', name: 'data' }

void describe('findVolume', () => {
  for (const { name, claim = claimOf(), volumes, found } of [
    {
      name: 'takes the smallest that is large enough',
      volumes: [
        volumeOf('a', { capacity: { storage: '9Gi' } }),
        volumeOf('b'),
        volumeOf('c', { capacity: { storage: '1Gi' } }),
      ],
      found: 'b',
    },
    {
      name: 'wants the modes',
      claim: claimOf({ accessModes: ['ReadWriteMany'] }),
      volumes: [volumeOf('a')],
      found: undefined,
    },
    { name: 'wants the class', volumes: [volumeOf('a', { storageClassName: 'fast' })], found: undefined },
    {
      name: 'wants the mode of the volume',
      claim: claimOf({ volumeMode: 'Block' }),
      volumes: [volumeOf('a')],
      found: undefined,
    },
    {
      name: 'wants the class of attributes',
      claim: claimOf({ volumeAttributesClassName: 'gold' }),
      volumes: [volumeOf('a'), volumeOf('b', { volumeAttributesClassName: 'gold' })],
      found: 'b',
    },
    {
      name: 'follows the selector',
      claim: claimOf({ selector: { matchLabels: { disk: 'b' } } }),
      volumes: [volumeOf('a'), volumeOf('b', {}, { disk: 'b' })],
      found: 'b',
    },
    {
      name: 'leaves what is kept for another',
      volumes: [volumeOf('a', { claimRef: { ...mine, name: 'other' } })],
      found: undefined,
    },
    { name: 'takes what is kept for it', volumes: [volumeOf('a'), volumeOf('b', { claimRef: mine })], found: 'b' },
    {
      name: 'leaves what was kept for one of that name before',
      volumes: [volumeOf('a', { claimRef: { ...mine, uid: 'former' } })],
      found: undefined,
    },
  ]) {
    void it(name, () => assert.equal(findVolume(claim, volumes)?.metadata?.name, found))
  }

  void it('says what does not fit', () => {
    assert.equal(mismatchOf(claimOf({}, '9Gi'), volumeOf('a')), 'requested PV is too small')
  })
})

void describe('decideClaim', () => {
  const delayed = { provisioner: 'x', volumeBindingMode: 'WaitForFirstConsumer' }
  const onNode = {
    ...claimOf(),
    metadata: { ...claimOf().metadata, annotations: { 'volume.kubernetes.io/selected-node': 'n' } },
  }
  const bound = {
    ...claimOf({ volumeName: 'a' }),
    metadata: { ...claimOf().metadata, annotations: { 'pv.kubernetes.io/bind-completed': 'yes' } },
  }
  const elsewhere = volumeOf('a', {
    nodeAffinity: {
      required: { nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['m'] }] }] },
    },
  })
  const unclassified = claimOf({ storageClassName: undefined })
  const theDefault = { metadata: { name: 'local' }, provisioner: 'x' }
  for (const { name, claim = claimOf(), volumes = [], storageClass, defaultClass, at, act } of [
    { name: 'waits without a class', act: 'wait' },
    {
      name: 'leaves a volume of another node',
      claim: onNode,
      storageClass: delayed,
      volumes: [elsewhere],
      at: node('n'),
      act: 'provision',
    },
    {
      name: 'takes a volume of its node',
      claim: onNode,
      storageClass: delayed,
      volumes: [elsewhere],
      at: node('m'),
      act: 'bind',
    },
    {
      name: 'gets the default class when there is one',
      claim: unclassified,
      defaultClass: theDefault,
      act: 'classify',
    },
    { name: 'gets no class when it wants none', defaultClass: theDefault, act: 'wait' },
    { name: 'waits for a pod', storageClass: delayed, volumes: [volumeOf('a')], act: 'wait' },
    { name: 'is made when the pod has a node', claim: onNode, storageClass: delayed, act: 'provision' },
    { name: 'waits for the volume it names', claim: claimOf({ volumeName: 'a' }), act: 'wait' },
    { name: 'takes the volume it names', claim: claimOf({ volumeName: 'a' }), volumes: [volumeOf('a')], act: 'bind' },
    {
      name: 'leaves a volume that is too small',
      claim: claimOf({ volumeName: 'a' }, '9Gi'),
      volumes: [volumeOf('a')],
      act: 'wait',
    },
    { name: 'is lost with its volume', claim: bound, act: 'lose' },
    {
      name: 'is lost to another',
      claim: bound,
      volumes: [volumeOf('a', { claimRef: { ...mine, uid: 'other' } })],
      act: 'lose',
    },
  ]) {
    void it(name, () => assert.equal(decideClaim(claim, { volumes, storageClass, defaultClass, node: at }).act, act))
  }
})

void describe('decideVolume', () => {
  const claimRef = { ...mine, uid: 'claim' }
  for (const { name, volume, claim, step } of [
    { name: 'is free', volume: volumeOf('a'), claim: undefined, step: 'phase Available' },
    {
      name: 'is kept for somebody to come',
      volume: volumeOf('a', { claimRef: mine }),
      claim: claimOf(),
      step: 'phase Available',
    },
    { name: 'is bound', volume: volumeOf('a', { claimRef }), claim: claimOf({ volumeName: 'a' }), step: 'phase Bound' },
    { name: 'is released', volume: volumeOf('a', { claimRef }), claim: undefined, step: 'phase Released' },
  ]) {
    void it(name, () => {
      const decided = decideVolume(volume, claim)
      assert.equal(decided.act === 'phase' ? `phase ${decided.phase}` : decided.act, step)
    })
  }

  for (const { name, policy, by, phase = 'Released', act } of [
    { name: 'goes with its claim, when it was made for it', policy: 'Delete', by: 'x', act: 'reclaim' },
    { name: 'is tried again', policy: 'Delete', by: 'x', phase: 'Failed', act: 'reclaim' },
    { name: 'cannot go when a person made it', policy: 'Delete', act: 'fail' },
    { name: 'cannot be made empty', policy: 'Recycle', by: 'x', act: 'fail' },
    { name: 'says so once', policy: 'Recycle', phase: 'Failed', act: 'wait' },
    { name: 'stays', policy: 'Retain', by: 'x', act: 'wait' },
  ]) {
    void it(name, () => {
      const { metadata, ...rest } = volumeOf('a', { claimRef, persistentVolumeReclaimPolicy: policy })
      const annotations = { ...(by !== undefined && { 'pv.kubernetes.io/provisioned-by': by }) }
      const released = { ...rest, metadata: { ...metadata, annotations }, status: { phase } }
      assert.equal(decideVolume(released, undefined).act, act)
    })
  }
})

interface VolumeBench extends Workbench {
  readonly dir: string
}

async function openVolumes(options: { readonly scheduler?: boolean } = {}): Promise<VolumeBench> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-volumes-'))
  const bench = await openWorkbench({ ...options, volumesDir: dir })
  return {
    ...bench,
    dir,
    async [Symbol.asyncDispose]() {
      await bench[Symbol.asyncDispose]()
      await rm(dir, { recursive: true })
    },
  }
}

function boundClaim(client: KubeClient, name: string): Promise<PersistentVolumeClaim> {
  return eventually(`${name} bound`, async () => {
    // Who makes it may not have come to that yet.
    const { items } = await client.resource('v1/PersistentVolumeClaim').list()
    const claim = items.find(({ metadata }) => metadata?.name === name)
    return claim?.status?.phase === 'Bound' && claim
  })
}

async function isGone(object: Promise<unknown>): Promise<boolean> {
  return object.then(
    () => false,
    (error: unknown) => isNotFound(error),
  )
}

const wanted = (name: string, change: PersistentVolumeClaimSpec = {}): PersistentVolumeClaim => ({
  metadata: { name, namespace: 'default' },
  spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } }, ...change },
})

void describe('runVolumeBinder', () => {
  void it('makes a directory for a claim of the default class, lets it grow, and removes it with the claim', async () => {
    await using bench = await openVolumes()
    const { client } = bench
    await ensureStorageClass(client)
    const claims = client.resource('v1/PersistentVolumeClaim')
    await claims.create(wanted('data'))
    const claim = await boundClaim(client, 'data')
    assert.deepEqual(claim.status?.capacity, { storage: '1Gi' })
    const [name = ''] = await readdir(bench.dir)
    assert.equal(name, `${claim.spec?.volumeName}_default_data`)
    await writeFile(join(bench.dir, name, 'file'), 'x')

    await claims.patch('data', { type: 'merge', body: { spec: { resources: { requests: { storage: '3Gi' } } } } })
    await eventually('it grows', async () => (await claims.get('data')).status?.capacity?.['storage'] === '3Gi')

    await claims.delete('data')
    await eventually('the volume goes', () =>
      isGone(client.resource('v1/PersistentVolume').get(claim.spec?.volumeName ?? '')),
    )
    assert.deepEqual(await readdir(bench.dir), [])
    assert.deepEqual(bench.errors, [])
  })

  void it('binds a volume made by hand, and keeps what it holds', async () => {
    await using bench = await openVolumes()
    const { client } = bench
    const volumes = client.resource('v1/PersistentVolume')
    await client.resource('v1/PersistentVolumeClaim').create(wanted('data', { storageClassName: '' }))
    await volumes.create(volumeOf('by-hand'))
    const claim = await boundClaim(client, 'data')
    assert.equal(claim.spec?.volumeName, 'by-hand')
    assert.equal(claim.metadata?.annotations?.['pv.kubernetes.io/bound-by-controller'], 'yes')
    await eventually('the volume is bound', async () => (await volumes.get('by-hand')).status?.phase === 'Bound')
    await client.resource('v1/PersistentVolumeClaim').delete('data')
    await eventually('it is released', async () => (await volumes.get('by-hand')).status?.phase === 'Released')
    assert.deepEqual(bench.errors, [])
  })

  void it('says of a volume made by hand that nobody can delete what it holds', async () => {
    await using bench = await openVolumes()
    const { client } = bench
    const volumes = client.resource('v1/PersistentVolume')
    await volumes.create(volumeOf('by-hand', { persistentVolumeReclaimPolicy: 'Delete' }))
    await client.resource('v1/PersistentVolumeClaim').create(wanted('data', { storageClassName: '' }))
    await boundClaim(client, 'data')
    await client.resource('v1/PersistentVolumeClaim').delete('data')
    const failed = await eventually('it has failed', async () => {
      const volume = await volumes.get('by-hand')
      return volume.status?.phase === 'Failed' && volume
    })
    assert.match(failed.status?.message ?? '', /no deletable volume plugin matched/)
    assert.deepEqual(bench.errors, [])
  })

  void it('keeps a claim that is deleted until the last pod that uses it is gone', async () => {
    await using bench = await openVolumes()
    const { client } = bench
    await ensureStorageClass(client)
    const claims = client.resource('v1/PersistentVolumeClaim')
    await claims.create(wanted('data'))
    await boundClaim(client, 'data')
    const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }]
    const spec = { nodeName: 'n', containers: [{ name: 'app', image: 'app:1' }], volumes }
    await client.resource('v1/Pod').create({ metadata: { name: 'user', namespace: 'default' }, spec })
    await eventually('it is protected', async () => (await claims.get('data')).metadata?.finalizers?.length === 1)
    await claims.delete('data')
    assert.notEqual((await claims.get('data')).metadata?.deletionTimestamp, undefined)
    await client.resource('v1/Pod').delete('user', { gracePeriodSeconds: 0 })
    await eventually('it goes', () => isGone(claims.get('data')))
  })

  void it('gives a claim of before the default class that class, and refuses what a directory cannot be', async () => {
    await using bench = await openVolumes()
    const { client } = bench
    const claims = client.resource('v1/PersistentVolumeClaim')
    await claims.create(wanted('early'))
    await claims.create(wanted('block', { volumeMode: 'Block', storageClassName: 'local-path' }))
    await claims.create(wanted('picky', { selector: { matchLabels: { a: 'b' } }, storageClassName: 'local-path' }))
    await ensureStorageClass(client)
    assert.equal((await boundClaim(client, 'early')).spec?.storageClassName, 'local-path')
    const told = await eventually('both are refused', async () => {
      const { items } = await client.resource('v1/Event').list({ namespace: 'default' })
      const failed = items.filter(
        ({ reason, message }) => reason === 'ProvisioningFailed' && message?.includes('support'),
      )
      return failed.length >= 2 && failed.map(({ message = '' }) => message)
    })
    assert.deepEqual(told.toSorted(), [
      'Cannot provision volume: block volumes are not supported by fairlead.dev/local-path',
      'Cannot provision volume: selectors of claims are not supported by fairlead.dev/local-path',
    ])
    assert.deepEqual(bench.errors, [])
  })

  void it('makes a volume when its first pod has a node, and the pod goes there then', async () => {
    await using bench = await openVolumes({ scheduler: true })
    const { client } = bench
    const nodes = client.resource('v1/Node')
    await nodes.create(node('n'))
    await nodes.updateStatus(node('n'))
    const head = { provisioner: 'fairlead.dev/local-path', volumeBindingMode: 'WaitForFirstConsumer' }
    await client.resource('storage.k8s.io/v1/StorageClass').create({ metadata: { name: 'late' }, ...head })
    const claims = client.resource('v1/PersistentVolumeClaim')
    await claims.create(wanted('data', { storageClassName: 'late' }))
    await eventually('it is said to wait', async () => {
      const { items } = await client.resource('v1/Event').list()
      return items.some(({ reason }) => reason === 'WaitForFirstConsumer')
    })
    const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }]
    const spec = { containers: [{ name: 'app', image: 'app:1' }], volumes }
    const pods = client.resource('v1/Pod')
    await pods.create({ metadata: { name: 'first', namespace: 'default' }, spec })
    await eventually('the pod has a node', async () => (await pods.get('first')).spec?.nodeName === 'n')
    assert.equal((await claims.get('data')).status?.phase, 'Bound')
    assert.deepEqual(bench.errors, [])
  })

  void it('makes the claims of ephemeral volumes, which go with their pod', async () => {
    await using bench = await openVolumes()
    const { client } = bench
    await ensureStorageClass(client)
    const stop = new AbortController()
    const running = runPods(client, stop.signal)
    const { spec: template = {} } = wanted('scratch')
    const volumes = [{ name: 'scratch', ephemeral: { volumeClaimTemplate: { spec: template } } }]
    const spec = { containers: [{ name: 'app', image: 'app:1' }], volumes }
    await client.resource('v1/Pod').create({ metadata: { name: 'one', namespace: 'default' }, spec })
    await boundClaim(client, 'one-scratch')
    await client.resource('v1/Pod').delete('one')
    await eventually('it goes', () => isGone(client.resource('v1/PersistentVolumeClaim').get('one-scratch')))
    stop.abort()
    await running
    assert.deepEqual(bench.errors, [])
  })
})
