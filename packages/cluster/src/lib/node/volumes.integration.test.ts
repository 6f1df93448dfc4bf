import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { describe, it } from 'node:test'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { IMAGE, isReady, openWorld, skipReason, until } from './testing/world.ts'
import type { World } from './testing/world.ts'
import { mountVolumes, unmountVolumes } from './volumes.ts'
import type { VolumeSources } from './volumes.ts'

const skip = skipReason()
const stay = 'trap "exit 0" TERM; while true; do sleep 0.05; done'

/** Binds a claim to a directory of the node, as the controllers do. */
async function bind(world: World, name: string, local: { path: string }): Promise<void> {
  const accessModes = ['ReadWriteOnce']
  const resources = { requests: { storage: '1Mi' } }
  await world.client.resource('v1/PersistentVolume').create({
    metadata: { name },
    spec: {
      accessModes,
      capacity: { storage: '1Mi' },
      claimRef: { kind: 'PersistentVolumeClaim', namespace: 'default', name },
      local,
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'Exists' }] }],
        },
      },
    },
  })
  await world.client
    .resource('v1/PersistentVolumeClaim')
    .create({ metadata: { name, namespace: 'default' }, spec: { accessModes, resources, volumeName: name } })
}

function runs(volumes: NonNullable<Pod['spec']>['volumes'], more: Partial<NonNullable<Pod['spec']>> = {}): object {
  return { volumes, ...more }
}

describe('unmountVolumes', { skip }, () => {
  it('unmounts first what lies in a folder with a space in its name', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead volumes '))
    const place = { podIp: '', hostIp: '', nodeName: 'n', cpus: 1, memoryBytes: 1 }
    const pod: Pod = { spec: { containers: [], volumes: [{ name: 'scratch', emptyDir: { medium: 'Memory' } }] } }
    // Nothing but scratch space: no source is asked.
    await mountVolumes(pod, dir, place, {} as VolumeSources)
    const mounted = `${dir.replaceAll(' ', String.raw`\040`)}/scratch`
    assert.ok((await readFile('/proc/self/mountinfo', 'utf8')).includes(mounted))
    await unmountVolumes(dir)
    assert.equal((await readdir(tmpdir())).includes(basename(dir)), false)
  })
})

describe('volumes of containers', { skip }, () => {
  it('keep what is secret in memory, tell whom containers run as, and leave no mount behind', async () => {
    let dir = ''
    {
      await using world = await openWorld()
      dir = join(world.dir, 'node')
      const secrets = world.client.resource('v1/Secret')
      const secret = { metadata: { name: 'pass', namespace: 'default' }, stringData: { word: 'open' } }
      await secrets.create(secret)
      const agent = await world.startAgent()
      const volumes = [
        { name: 'pass', secret: { secretName: 'pass' } },
        { name: 'fields', downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } },
      ]
      const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/${name}` }))
      const args = [`cat /fields/name; while true; do cat /pass/word; echo; sleep 0.05; done`]
      const securityContext = { runAsUser: 7, runAsGroup: 8, fsGroup: 9, supplementalGroups: [10] }
      const { metadata } = await world.createPod('web', { args, volumeMounts }, { volumes, securityContext })
      const pod = await world.pod('web', isReady, 'is ready')
      const linux = { uid: 7, gid: 8, supplementalGroups: [8, 10, 9] }
      assert.deepEqual(pod.status?.containerStatuses?.[0]?.user, { linux })
      const memory = join(dir, 'memory')
      assert.match(await readFile('/proc/self/mountinfo', 'utf8'), new RegExp(` ${memory} .* - tmpfs `))
      assert.equal(await readFile(join(memory, metadata?.uid ?? '', 'pass', 'word'), 'utf8'), 'open')
      assert.deepEqual(await readdir(join(dir, 'pods', metadata?.uid ?? '', 'volumes')), [])
      await until(async () => /web.*open/s.test(await world.logs(agent, 'web')) || undefined, 'it reads it')
      await secrets.patch('pass', { type: 'merge', body: { stringData: { word: 'sesame' } } }, { namespace: 'default' })
      await until(async () => (await world.logs(agent, 'web')).includes('sesame') || undefined, 'it reads the new one')
      await agent.stop()
      const next = await world.startAgent()
      assert.equal(await readFile(join(memory, metadata?.uid ?? '', 'pass', 'word'), 'utf8'), 'sesame')
      const again = await world.pod('web', isReady, 'goes on')
      assert.deepEqual(again.status?.containerStatuses?.[0]?.user, { linux })
      await world.client.resource('v1/Pod').delete('web', { namespace: 'default', gracePeriodSeconds: 0 })
      await until(async () => (await readdir(memory)).length === 0 || undefined, 'it is gone from memory')
      await next.stop({ stopPods: true })
    }
    assert.equal((await readFile('/proc/self/mountinfo', 'utf8')).includes(dir), false)
  })

  it('show the files of an image, read-only, whole or in part', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const script = `cat /whole/www/index.html; echo; cat /part/index.html; echo; touch /whole/x || echo refused; echo done; ${stay}`
    await world.createPod(
      'web',
      {
        args: [script],
        volumeMounts: [
          { name: 'files', mountPath: '/whole' },
          { name: 'files', mountPath: '/part', subPath: 'www' },
        ],
      },
      runs([{ name: 'files', image: { reference: IMAGE, pullPolicy: 'Never' } }]),
    )
    await world.pod('web', isReady, 'is ready')
    await until(async () => (await world.logs(agent, 'web')).includes('done') || undefined, 'it has read')
    assert.match(await world.logs(agent, 'web'), /^hello\nhello\n[^]*^refused$/m)
    await world.client.resource('v1/Pod').delete('web', { namespace: 'default' })
    await world.gone('web')
    assert.equal((await readFile('/proc/self/mountinfo', 'utf8')).includes(join(world.dir, 'node/pods')), false)
  })

  it('wait for an image that is not there', async () => {
    await using world = await openWorld()
    await world.startAgent()
    await world.createPod('web', { args: [stay] }, runs([{ name: 'files', image: { reference: 'localhost/none:1' } }]))
    await until(async () => (await world.events('web')).includes('FailedMount') || undefined, 'it is told of')
  })

  it('belong to the group of the pod where they are local to the node', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const path = join(world.dir, 'data')
    await mkdir(join(path, 'below'), { recursive: true })
    await writeFile(join(path, 'below/file'), 'kept', { mode: 0o600 })
    await bind(world, 'data', { path })
    await world.createPod(
      'web',
      {
        args: [`cat /data/below/file; echo more > /data/below/new; ls -l /data/below/new; echo done; ${stay}`],
        securityContext: { runAsUser: 7 },
        volumeMounts: [{ name: 'data', mountPath: '/data' }],
      },
      runs([{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }], { securityContext: { fsGroup: 1234 } }),
    )
    await until(
      async () => (await world.logs(agent, 'web').catch(() => '')).includes('done') || undefined,
      'it speaks',
      async () =>
        JSON.stringify(
          (await world.client.resource('v1/Event').list({ namespace: 'default' })).items.map((e) => e.message),
        ),
    )
    assert.match(await world.logs(agent, 'web'), /^kept-rw-r--r--\s+1 app\s+1234/m)
    const file = await stat(join(path, 'below/file'))
    assert.deepEqual([file.gid, file.mode & 0o777], [1234, 0o660])
  })

  it('are left as they are below a root that is right, when the pod says so', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const path = join(world.dir, 'data')
    await mkdir(path)
    await bind(world, 'data', { path })
    const claim = [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }]
    const securityContext = { fsGroup: 1234, fsGroupChangePolicy: 'OnRootMismatch' }
    const mounted = { args: [`echo done; ${stay}`], volumeMounts: [{ name: 'data', mountPath: '/data' }] }
    const speaks = (name: string): Promise<true> =>
      until(async () => (await world.logs(agent, name).catch(() => '')).includes('done') || undefined, `${name} speaks`)
    await world.createPod('first', mounted, runs(claim, { securityContext }))
    await speaks('first')
    await writeFile(join(path, 'file'), '')
    await chmod(join(path, 'file'), 0o600)
    await world.createPod('second', mounted, runs(claim, { securityContext }))
    await speaks('second')
    assert.equal((await stat(join(path, 'file'))).mode & 0o777, 0o600)
  })

  it('pass on what is mounted on the node later, when asked to', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const script = `until [ -f /host/below/file ]; do sleep 0.02; done; echo seen; ${stay}`
    const { execFileSync } = await import('node:child_process')
    const path = join(world.dir, 'shared')
    await mkdir(join(path, 'below'), { recursive: true })
    execFileSync('mount', ['--bind', path, path])
    execFileSync('mount', ['--make-shared', path])
    try {
      const volumeMounts = [{ name: 'host', mountPath: '/host', mountPropagation: 'HostToContainer' }]
      await world.createPod('web', { args: [script], volumeMounts }, runs([{ name: 'host', hostPath: { path } }]))
      await world.pod('web', isReady, 'is ready')
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(path, 'below')])
      await writeFile(join(path, 'below/file'), '')
      await until(async () => (await world.logs(agent, 'web')).includes('seen') || undefined, 'the mount is seen')
    } finally {
      execFileSync('umount', ['-R', '-l', path])
    }
  })
})
