import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Container } from '@fairlead/kube/types/core-v1'

import { IMAGE, isReady, openWorld, skipReason, until } from './testing/world.ts'

const skip = skipReason()
const stay = 'trap "exit 0" TERM; while true; do sleep 0.05; done'

function beside(name: string, script: string, more: Partial<Container> = {}): Container {
  return { name, image: IMAGE, args: [script], ...more }
}

describe('namespaces of a pod', { skip }, () => {
  it('shares processes and memory between its containers when asked to, and leaves nothing behind', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const look = `until [ -f /dev/shm/greeting ]; do sleep 0.02; done; cat /dev/shm/greeting
      until case "$(cat /proc/[0-9]*/cmdline 2>/dev/null)" in *sleep47''11*) true;; *) false;; esac; do sleep 0.02; done
      read pid rest < /proc/self/stat; echo me $pid first "$(cat /proc/1/cmdline)"; ${stay}`
    const writer = beside('writer', 'echo hello > /dev/shm/greeting; exec sleep 4711')
    await world.createPod('pair', {}, { shareProcessNamespace: true, containers: [beside('main', look), writer] })
    await until(async () => (await world.logs(agent, 'pair')).includes('first') || undefined, 'they see each other')
    const log = await world.logs(agent, 'pair')
    assert.match(log, /^hello$/m)
    assert.match(log, /^me [2-9]\d* first sleepinfinity$/m)
    await world.client.resource('v1/Pod').delete('pair', { namespace: 'default' })
    await world.gone('pair')
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(join(world.dir, 'node/pods')), false)
    assert.deepEqual(world.errors, [])
  })

  it('ends what a container has started although its first process ends before', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const forker = beside('main', 'sleep 4712 & echo forked; until [ -f /dev/shm/end ]; do sleep 0.02; done; exit 0')
    const look = `until case "$(cat /proc/[0-9]*/cmdline 2>/dev/null)" in *sleep47''12*) true;; *) false;; esac; do sleep 0.02; done
      touch /dev/shm/end; until case "$(cat /proc/[0-9]*/cmdline 2>/dev/null)" in *sleep47''12*) false;; *) true;; esac; do sleep 0.02; done`
    await world.createPod(
      'forks',
      {},
      { shareProcessNamespace: true, restartPolicy: 'Never', containers: [forker, beside('look', look)] },
    )
    await world.pod('forks', (pod) => pod.status?.phase === 'Succeeded', 'has succeeded')
    assert.match(await world.logs(agent, 'forks'), /forked/)
  })

  it('shares memory, and not processes, between containers that do not ask for more', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const main = beside('main', `cat /dev/shm/greeting; read pid rest < /proc/self/stat; echo me $pid; ${stay}`)
    const initContainers = [beside('before', 'echo hello > /dev/shm/greeting')]
    await world.createPod('web', {}, { initContainers, containers: [main] })
    await world.pod('web', isReady, 'is ready')
    await until(async () => (await world.logs(agent, 'web')).includes('me') || undefined, 'it has spoken')
    assert.match(await world.logs(agent, 'web'), /^hello\nme 1$/m)
  })

  it('takes a container that is added later into the IPC namespace of a pod that had but one', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const main = beside('main', `echo ipc $(readlink /proc/self/ns/ipc); ${stay}`)
    await world.createPod('web', {}, { containers: [main] })
    await world.pod('web', isReady, 'is ready')
    const look = { name: 'look', image: IMAGE, args: [`echo ipc $(readlink /proc/self/ns/ipc); ${stay}`] }
    const body = { spec: { ephemeralContainers: [look] } }
    const where = { namespace: 'default', subresource: 'ephemeralcontainers' }
    await world.client.resource('v1/Pod').patch('web', { type: 'strategic', body }, where)
    const ipcOf = (container: string): Promise<string> =>
      until(async () => {
        const log = await world.logs(agent, 'web', '', container).catch(() => '')
        return /^ipc (ipc:\[\d+\])$/m.exec(log)?.[1]
      }, `${container} has looked`)
    assert.equal(await ipcOf('look'), await ipcOf('main'))
  })

  it('lets a pod see the processes and the memory of its node when asked to', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const script = `[ -d /proc/${process.pid} ] && echo sees; ls -d /dev/shm; readlink /proc/self/ns/ipc; ${stay}`
    const main = beside('main', script, { command: ['/bin/busybox', 'sh', '-c'] })
    await world.createPod('nosy', {}, { hostPID: true, hostIPC: true, containers: [main] })
    await world.pod('nosy', isReady, 'is ready')
    await until(async () => (await world.logs(agent, 'nosy')).includes('/dev/shm') || undefined, 'it has looked')
    assert.match(await world.logs(agent, 'nosy'), /^sees$/m)
  })

  it('goes on with the namespaces there are after the agent was away', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const keeper = beside('keeper', `echo kept > /dev/shm/kept; ${stay}`)
    const main = beside('main', 'until [ -f /dev/shm/kept ]; do sleep 0.02; done; cat /dev/shm/kept; exec sleep 4713')
    await world.createPod('pair', {}, { shareProcessNamespace: true, containers: [main, keeper] })
    await world.pod('pair', isReady, 'is ready')
    await agent.stop()
    const again = await world.startAgent()
    const session = await (
      await again.kubelet.openContainer({ namespace: 'default', name: 'pair', uid: '', container: 'keeper' })
    ).exec({
      args: [
        'sh',
        '-c',
        'for p in /proc/[0-9]*; do case "$(cat $p/cmdline)" in sleep4713) kill -9 ${p#/proc/};; esac; done',
      ],
      stdin: false,
      tty: false,
    })
    await session.ended
    await world.pod('pair', (pod) => pod.status?.containerStatuses?.[0]?.restartCount === 1 && isReady(pod), 'is back')
    await until(async () => /^kept$/m.test(await world.logs(again, 'pair')) || undefined, 'memory has been kept')
  })

  it('is known by its full name when asked to', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const spec = { subdomain: 'team', setHostnameAsFQDN: true }
    await world.createPod('web', { args: [`echo name $(hostname) $HOSTNAME; ${stay}`] }, spec)
    await until(async () => (await world.logs(agent, 'web').catch(() => '')).includes('name') || undefined, 'it speaks')
    const full = 'web.team.default.svc.cluster.local'
    assert.match(await world.logs(agent, 'web'), new RegExp(`^name ${full} ${full}$`, 'm'))
    await world.createPod('w'.repeat(40), { args: [stay] }, spec)
    await until(
      async () => (await world.events('w'.repeat(40))).includes('FailedCreatePodSandBox') || undefined,
      'a name that is too long is told of',
    )
  })

  it('filters system calls by a profile of this node', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }],
    }
    await mkdir(join(world.dir, 'node/seccomp'), { recursive: true })
    await writeFile(join(world.dir, 'node/seccomp/nodirs.json'), JSON.stringify(profile))
    const having = (localhostProfile: string): Partial<Container> => ({
      args: [`mkdir /tmp/x && echo made || echo refused; ${stay}`],
      securityContext: { seccompProfile: { type: 'Localhost', localhostProfile } },
    })
    await world.createPod('web', having('nodirs.json'))
    await world.pod('web', isReady, 'is ready')
    await until(async () => /made|refused/.test(await world.logs(agent, 'web')) || undefined, 'it has tried')
    assert.match(await world.logs(agent, 'web'), /^refused$/m)
    // The API takes no way out of the folder of profiles.
    await assert.rejects(world.createPod('out', having('../../../etc/none.json')), /must not contain '\.\.'/)
    await world.createPod('lost', having('none.json'))
    const pod = await world.pod('lost', (one) => one.status?.containerStatuses?.[0]?.state?.waiting?.message, 'waits')
    assert.match(pod.status?.containerStatuses?.[0]?.state?.waiting?.message ?? '', /cannot load seccomp profile/)
  })

  it('refuses settings of the kernel that are not the pod’s own', async () => {
    await using world = await openWorld()
    await world.startAgent()
    const sysctls = [{ name: 'kernel.msgmax', value: '65536' }]
    await world.createPod('web', { args: [stay] }, { securityContext: { sysctls } })
    const pod = await world.pod('web', ({ status }) => status?.phase === 'Failed', 'has failed')
    assert.equal(pod.status?.reason, 'SysctlForbidden')
  })
})
