import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Clock } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { IMAGE, isReady, openWorld, skipReason, until } from './testing/world.ts'

const skip = skipReason()
const probe = { httpGet: { port: 8080, path: '/' } }
/** Runs until it is told to end, and then ends at once: a shell as first process would take no notice. */
const serve = 'trap "exit 0" TERM; httpd -p 8080 -h /www; while true; do sleep 0.05; done'

function stateOf(
  pod: Pod,
  at = 0,
): NonNullable<Pod['status']>['containerStatuses'] extends (infer S)[] | undefined ? S | undefined : never {
  return pod.status?.containerStatuses?.[at]
}

describe('node agent with containers', { skip }, () => {
  it('runs a pod to readiness and removes every trace of it', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    await world.createPod('web', { args: [serve], readinessProbe: probe })
    const pod = await world.pod('web', isReady, 'is ready')
    const status = stateOf(pod)
    assert.equal(pod.status?.phase, 'Running')
    assert.equal(pod.status.podIP?.startsWith('10.'), true)
    assert.match(status?.containerID ?? '', /^runc:\/\/[0-9a-f]{64}$/)
    assert.equal(hasCgroup(join(world.dir, 'node')), true)
    assert.match(status?.imageID ?? '', /^localhost\/test\/box@sha256:/)
    const ready = pod.status.conditions?.find(({ type }) => type === 'Ready')
    assert.equal(ready?.reason, undefined)
    assert.deepEqual((await world.events('web')).toSorted(), ['Created', 'Pulled', 'Started'])

    await world.client.resource('v1/Pod').delete('web', { namespace: 'default' })
    await world.gone('web')
    await until(
      async () => readdirSync(join(world.dir, 'node/runtime/containers')).length === 0 || undefined,
      'containers are gone',
    )
    const kept = ['pods', 'logs'].map((name) => join(world.dir, 'node', name))
    await until(
      async () => kept.every((folder) => readdirSync(folder).length === 0) || undefined,
      'records and logs are gone',
    )
    assert.deepEqual(world.network.attached(), [])
    await agent.stop({ stopPods: true })
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(world.dir), false)
    assert.equal(hasCgroup(join(world.dir, 'node')), false)
    assert.deepEqual(world.errors, [])
  })

  it('rejects a pod whose port of the machine another has, and runs one that comes when that is gone', async () => {
    await using world = await openWorld()
    await world.startAgent()
    const ports = [{ containerPort: 8080, hostPort: 18_431 }]
    await world.createPod('first', { args: [serve], ports, readinessProbe: probe })
    await world.pod('first', isReady, 'is ready')
    await world.createPod('second', { args: [serve], ports })
    const { status } = await world.pod('second', (pod) => pod.status?.phase === 'Failed', 'is rejected')
    assert.equal(status?.reason, 'NodePorts')
    assert.match(status?.message ?? '', /^Pod was rejected: Predicate NodePorts failed/)
    const pods = world.client.resource('v1/Pod')
    await pods.delete('second', { namespace: 'default' })
    await world.gone('second')
    await pods.delete('first', { namespace: 'default' })
    await world.gone('first')
    await world.createPod('third', { args: [serve], ports, readinessProbe: probe })
    await world.pod('third', isReady, 'is ready')
  })

  it('runs a pod in the place of one that was deleted without grace and still ends', async () => {
    await using world = await openWorld()
    await world.startAgent()
    const ports = [{ containerPort: 8080, hostPort: 18_432 }]
    // Takes no notice of SIGTERM: it runs for another second.
    const deaf = 'httpd -p 8080 -h /www; while true; do sleep 0.05; done'
    await world.createPod('first', { args: [deaf], ports, readinessProbe: probe })
    await world.pod('first', isReady, 'is ready')
    await world.client.resource('v1/Pod').delete('first', { namespace: 'default', gracePeriodSeconds: 0 })
    await world.createPod('second', { args: [serve], ports, readinessProbe: probe })
    await world.pod('second', isReady, 'is ready')
  })

  it('registers its node and lease', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const node = await world.client.resource('v1/Node').get('here')
    assert.equal(node.metadata?.labels?.['kubernetes.io/hostname'], 'here')
    assert.match(node.status?.nodeInfo?.containerRuntimeVersion ?? '', /^runc:\/\/1/)
    assert.equal(node.status?.conditions?.find(({ type }) => type === 'Ready')?.status, 'True')
    const lease = await world.client
      .resource('coordination.k8s.io/v1/Lease')
      .get('here', { namespace: 'kube-node-lease' })
    assert.equal(lease.spec?.holderIdentity, 'here')
    assert.equal(agent.kind, 'containers')
  })

  it('gives a container its environment, files and volumes, and writes ConfigMap changes through', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const meta = (name: string): { name: string; namespace: string } => ({ name, namespace: 'default' })
    const maps = world.client.resource('v1/ConfigMap')
    await maps.create({ metadata: meta('settings'), data: { colour: 'blue' } })
    await world.client.resource('v1/Secret').create({ metadata: meta('keys'), data: { token: 'czNjcmV0' } })
    const script = `echo env $TOKEN $NAME; echo host $(hostname) $(cat /etc/hostname); cat /etc/resolv.conf
      echo file $(cat /etc/config/colour) mode $(ls -l /etc/keys/..data/token); echo scratch > /scratch/x; id
      while [ "$(cat /etc/config/colour)" != red ]; do sleep 0.02; done; echo changed; exec sleep 100`
    await world.createPod(
      'reader',
      {
        args: [script],
        env: [
          { name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'keys', key: 'token' } } },
          { name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        ],
        securityContext: { runAsUser: 7, runAsNonRoot: true, readOnlyRootFilesystem: true },
        volumeMounts: [
          { name: 'config', mountPath: '/etc/config' },
          { name: 'keys', mountPath: '/etc/keys' },
          { name: 'scratch', mountPath: '/scratch' },
        ],
      },
      {
        securityContext: { fsGroup: 1234 },
        volumes: [
          { name: 'config', configMap: { name: 'settings' } },
          { name: 'keys', secret: { secretName: 'keys', defaultMode: 0o400 } },
          { name: 'scratch', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
        ],
      },
    )
    await until(async () => (await world.logs(agent, 'reader')).includes('uid=') || undefined, 'it has read everything')
    await maps.patch('settings', { type: 'merge', body: { data: { colour: 'red' } } }, { namespace: 'default' })
    await until(async () => (await world.logs(agent, 'reader')).includes('changed') || undefined, 'the change arrives')
    const log = await world.logs(agent, 'reader')
    assert.match(log, /^env s3cret reader$/m)
    assert.match(log, /^host reader reader$/m)
    assert.match(log, /^search default.svc.cluster.local svc.cluster.local cluster.local/m)
    assert.match(log, /^file blue mode -r--r-----/m)
    assert.match(log, /uid=7\(app\).*1234/)
  })

  it('writes new labels of a pod into the volume that shows them', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    await world.createPod(
      'labelled',
      {
        args: ['while ! grep -q colour /etc/about/labels; do sleep 0.02; done; cat /etc/about/labels; exec sleep 100'],
        volumeMounts: [{ name: 'about', mountPath: '/etc/about' }],
      },
      {
        volumes: [
          { name: 'about', downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
        ],
      },
    )
    await world.pod('labelled', (pod) => pod.status?.phase === 'Running', 'runs')
    const body = { metadata: { labels: { colour: 'red' } } }
    await world.client.resource('v1/Pod').patch('labelled', { type: 'merge', body }, { namespace: 'default' })
    await until(async () => (await world.logs(agent, 'labelled')).includes('colour="red"') || undefined, 'it shows')
  })

  it('restarts a crashing container, at once and then with a back-off, and keeps its last words', async () => {
    await using world = await openWorld()
    const clock = skippingClock()
    const agent = await world.startAgent({ clock })
    const args = ['echo run; echo why > /dev/termination-log; exit 3']
    await world.createPod('crash', { args })
    const pod = await world.pod(
      'crash',
      (one) => stateOf(one)?.state?.waiting?.reason === 'CrashLoopBackOff',
      'is backing off',
    )
    const status = stateOf(pod)
    assert.equal(status?.restartCount, 1)
    assert.equal(status.lastState?.terminated?.exitCode, 3)
    assert.equal(status.lastState.terminated.message, 'why\n')
    assert.match(
      status.state?.waiting?.message ?? '',
      /^back-off 10s restarting failed container=main pod=crash_default/,
    )
    assert.equal(pod.status?.phase, 'Running')
    assert.equal(await world.logs(agent, 'crash', 'previous=true'), 'run\n')
    clock.skip(10_000)
    await world.pod('crash', (one) => stateOf(one)?.restartCount === 2, 'was started again')
    await until(async () => (await world.events('crash')).includes('BackOff') || undefined, 'the event is written')
  })

  it('restarts a container that fails its liveness probe, and shows when one is not ready', async () => {
    await using world = await openWorld()
    await world.startAgent()
    const script = 'touch /tmp/alive /tmp/ready; sleep 2; rm /tmp/alive /tmp/ready; exec sleep 100'
    const exec = (file: string): { exec: { command: string[] } } => ({ exec: { command: ['test', '-e', file] } })
    await world.createPod('sick', {
      args: [script],
      readinessProbe: { ...exec('/tmp/ready'), periodSeconds: 1, failureThreshold: 1 },
      livenessProbe: { ...exec('/tmp/alive'), periodSeconds: 1, failureThreshold: 1 },
    })
    await world.pod('sick', isReady, 'is ready')
    await world.pod('sick', (pod) => (stateOf(pod)?.restartCount ?? 0) > 0, 'was restarted')
    assert.ok((await world.events('sick')).includes('Unhealthy'))
  })

  it('runs init containers in order and ends a pod whose work is done', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const mount = [{ name: 'shared', mountPath: '/shared' }]
    await world.createPod(
      'job',
      { args: ['cat /shared/list; exit 0'], volumeMounts: mount },
      {
        restartPolicy: 'Never',
        volumes: [{ name: 'shared', emptyDir: {} }],
        initContainers: ['one', 'two'].map((name) => ({
          name,
          image: IMAGE,
          args: [`echo ${name} >> /shared/list`],
          volumeMounts: mount,
        })),
      },
    )
    const pod = await world.pod('job', ({ status }) => status?.phase === 'Succeeded', 'has succeeded')
    assert.equal(stateOf(pod)?.state?.terminated?.reason, 'Completed')
    assert.equal(await world.logs(agent, 'job'), 'one\ntwo\n')
  })

  it('says which image is missing and what to do, and starts when it is there', async () => {
    await using world = await openWorld()
    await world.startAgent()
    await world.createPod('later', { image: 'localhost/test/none:1', args: ['exec sleep 100'] })
    const pod = await world.pod(
      'later',
      (one) => stateOf(one)?.state?.waiting?.reason?.startsWith('ErrImage'),
      'has no image',
    )
    assert.match(
      stateOf(pod)?.state?.waiting?.message ?? '',
      /"localhost\/test\/none:1".*not in the local image store.*fairlead build/,
    )
    const { openLayout } = await import('@fairlead/oci/layout')
    const layout = await openLayout(join(world.dir, 'images'))
    const found = await layout.resolve(IMAGE)
    assert.ok(found)
    await layout.tag('localhost/test/none:1', found.descriptor)
    await world.pod('later', isReady, 'runs')
  })

  it('gives a pod its grace: preStop first, then SIGTERM, then SIGKILL', async () => {
    await using world = await openWorld()
    await world.startAgent()
    const notes = join(world.dir, 'notes')
    await writeFile(notes, '')
    const spec = { terminationGracePeriodSeconds: 1, volumes: [{ name: 'notes', hostPath: { path: notes } }] }
    await world.createPod(
      'polite',
      {
        args: ['trap "echo term >> /notes" TERM; echo up; while true; do sleep 0.02; done'],
        lifecycle: { preStop: { exec: { command: ['sh', '-c', 'echo prestop >> /notes'] } } },
        volumeMounts: [{ name: 'notes', mountPath: '/notes' }],
      },
      spec,
    )
    await world.pod('polite', isReady, 'runs')
    await world.client.resource('v1/Pod').delete('polite', { namespace: 'default' })
    await world.gone('polite')
    assert.equal(await readFile(notes, 'utf8'), 'prestop\nterm\n')
  })

  it('stops with a pod whose volumes cannot be mounted, and at once', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const volumes = [{ name: 'absent', hostPath: { path: join(world.dir, 'no/such/folder'), type: 'Directory' } }]
    await world.createPod('waiting', { args: [serve] }, { volumes })
    await until(async () => (await world.events('waiting')).includes('FailedMount') || undefined, 'the mount fails')
    const startedAt = performance.now()
    await agent.stop({ stopPods: true })
    assert.ok(performance.now() - startedAt < 5_000, 'the stop waits for the next try')
    assert.deepEqual(world.network.attached(), [])
  })

  it('leaves containers running when it stops, and takes them over again', async () => {
    await using world = await openWorld()
    const first = await world.startAgent()
    await world.createPod('web', { args: [`echo up; ${serve}`], readinessProbe: probe })
    const before = await world.pod('web', isReady, 'is ready')
    await first.stop({ stopPods: false })

    const second = await world.startAgent()
    const after = await world.pod('web', isReady, 'is ready still')
    assert.equal(stateOf(after)?.containerID, stateOf(before)?.containerID)
    assert.equal(stateOf(after)?.restartCount, 0)
    assert.equal(after.status?.podIP, before.status?.podIP)
    await until(async () => (await world.logs(second, 'web')) === 'up\n' || undefined, 'its words are written down')
  })

  it('replaces a container that died while no agent was there, and removes one whose pod was deleted', async () => {
    await using world = await openWorld()
    const first = await world.startAgent()
    await world.createPod('died', { args: [serve], readinessProbe: probe })
    await world.createPod('deleted', { args: [serve], readinessProbe: probe })
    await world.pod('died', isReady, 'is ready')
    await world.pod('deleted', isReady, 'is ready')
    await first.stop({ stopPods: false })
    for (const id of readdirSync(join(world.dir, 'node/runtime/containers'))) {
      const record = JSON.parse(
        readFileSync(join(world.dir, 'node/runtime/containers', id, 'container.json'), 'utf8'),
      ) as {
        process: string
      }
      process.kill(Number(record.process.split('/')[1]), 'SIGKILL')
    }
    await world.client.resource('v1/Pod').delete('deleted', { namespace: 'default', gracePeriodSeconds: 0 })

    await world.startAgent()
    const pod = await world.pod('died', (one) => isReady(one) && stateOf(one)?.restartCount === 1, 'was replaced')
    assert.equal(stateOf(pod)?.lastState?.terminated?.exitCode, 137)
    await world.gone('deleted')
    await until(
      async () => readdirSync(join(world.dir, 'node/runtime/containers')).length === 1 || undefined,
      'one container is left',
    )
    assert.deepEqual(
      world.network.attached().map(({ name }) => name),
      ['died'],
    )
  })

  it('rotates logs and follows across the cut', async () => {
    await using world = await openWorld()
    const clock = skippingClock()
    const agent = await world.startAgent({ clock, logRotation: { maxBytes: 1000, maxFiles: 3 } })
    const script = 'i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); sleep 0.005; done; exec sleep 100'
    await world.createPod('chatty', { args: [script] })
    await world.pod('chatty', isReady, 'runs')
    const answer = await agent.kubelet.fetch({ method: 'GET', path: '/containerLogs/default/chatty/main?follow=true' })
    let text = ''
    for await (const chunk of answer.body) {
      text += Buffer.from(chunk).toString()
      if (text.length % 7 === 0) clock.skip(10_000)
      if (text.includes('line 199')) break
    }
    const lines = text.trim().split('\n')
    assert.deepEqual(
      lines,
      Array.from({ length: 200 }, (_, at) => `line ${at}`),
    )
    assert.equal(await world.logs(agent, 'chatty', 'tailLines=2'), 'line 198\nline 199\n')
  })

  it('tells a container the kernel killed for want of memory', async () => {
    await using world = await openWorld()
    await world.startAgent()
    const args = ['x=$(head -c 100000000 /dev/zero | tr "\\\\000" x); sleep 1']
    await world.createPod('greedy', { args, resources: { limits: { memory: '16Mi' } } }, { restartPolicy: 'Never' })
    const pod = await world.pod('greedy', ({ status }) => status?.phase === 'Failed', 'has failed')
    assert.equal(stateOf(pod)?.state?.terminated?.reason, 'OOMKilled')
  })
})

describe('node agent with plain processes', { skip }, () => {
  it('runs, probes, logs, restarts and stops a pod', async () => {
    await using world = await openWorld('processes')
    const agent = await world.startAgent()
    assert.equal(agent.kind, 'processes')
    const node = await world.client.resource('v1/Node').get('here')
    assert.equal(node.metadata?.labels?.['fairlead.dev/pods'], 'processes')
    const script = `trap 'exit 0' TERM; echo up $NAME; httpd -f -p $FAIRLEAD_POD_IP:8080 & wait`
    await world.createPod('web', { args: [script], readinessProbe: probe, env: [{ name: 'NAME', value: 'web' }] })
    const pod = await world.pod('web', isReady, 'is ready')
    // Whoever writes the log down is another process than the one that answers the probe.
    await until(async () => (await world.logs(agent, 'web')) === 'up web\n' || undefined, 'its words are written down')
    await agent.stop({ stopPods: false })
    const next = await world.startAgent()
    const same = await world.pod('web', isReady, 'is ready still')
    assert.equal(stateOf(same)?.containerID, stateOf(pod)?.containerID)
    await world.client.resource('v1/Pod').delete('web', { namespace: 'default' })
    await world.gone('web')
    await next.stop({ stopPods: true })
    assert.equal(existsSync(join(world.dir, 'node/pods')) && readdirSync(join(world.dir, 'node/pods')).length, 0)
  })
})

/** A clock that runs with the machine's and can be put forward, timers included. */
function skippingClock(): Clock & { skip(ms: number): void } {
  let ahead = 0
  const timers = new Set<{ at: number; callback: () => void; handle: NodeJS.Timeout }>()
  const now = (): number => Date.now() + ahead
  return {
    now,
    schedule(delayMs, callback) {
      const timer = { at: now() + delayMs, callback, handle: setTimeout(() => fire(timer), delayMs) }
      const fire = (one: typeof timer): void => {
        if (timers.delete(one)) callback()
      }
      timers.add(timer)
      return () => {
        clearTimeout(timer.handle)
        timers.delete(timer)
      }
    },
    skip(ms) {
      ahead += ms
      for (const timer of timers) {
        if (timer.at > now()) continue
        clearTimeout(timer.handle)
        if (timers.delete(timer)) timer.callback()
      }
    },
  }
}

/** Whether the control group of the agent in `dir` is there. */
function hasCgroup(dir: string): boolean {
  const root = existsSync('/sys/fs/cgroup/memory') ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup'
  return existsSync(join(root, `fairlead-${createHash('sha256').update(dir).digest('hex').slice(0, 8)}`))
}
