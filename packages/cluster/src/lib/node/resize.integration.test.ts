import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import type { ContainerStatus, Pod, PodCondition, ResourceRequirements } from '@fairlead/kube/types/core-v1'

import { isReady, openWorld, skipReason, until } from './testing/world.ts'
import type { World } from './testing/world.ts'

const skip = skipReason()
const args = ['trap "exit 0" TERM; while true; do sleep 0.05; done']
const amounts = (cpu: string, memory: string): ResourceRequirements => ({
  requests: { cpu, memory },
  limits: { cpu, memory },
})

function resize(world: World, name: string, resources: ResourceRequirements): Promise<Pod> {
  const body = { spec: { containers: [{ name: 'main', resources }] } }
  return world.client
    .resource('v1/Pod')
    .patch(name, { type: 'strategic', body }, { namespace: 'default', subresource: 'resize' })
}

function statusOf(pod: Pod): ContainerStatus | undefined {
  return pod.status?.containerStatuses?.[0]
}

function conditionOf(pod: Pod, type: string): PodCondition | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type)
}

/** No condition of a resize is left, and what was written last has been seen. */
function isResized(pod: Pod): boolean {
  const open = ['PodResizePending', 'PodResizeInProgress'].some((type) => conditionOf(pod, type) !== undefined)
  return !open && isReady(pod) && pod.status?.observedGeneration === pod.metadata?.generation
}

/** Limits of the container as the kernel has them, whichever version of control groups this is. */
async function limitsOf(pod: Pod): Promise<{ quota: string; memory: string }> {
  const id = statusOf(pod)?.containerID?.replace('runc://', '') ?? ''
  const { stdout } = await findGroups(id)
  const read = async (file: string): Promise<string | undefined> => {
    for (const dir of stdout) {
      const text = await readFile(`${dir}/${file}`, 'utf8').catch(() => undefined)
      if (text !== undefined) return text.trim()
    }
    return undefined
  }
  return {
    quota: (await read('cpu.cfs_quota_us')) ?? (await read('cpu.max'))?.split(' ')[0] ?? '',
    memory: (await read('memory.limit_in_bytes')) ?? (await read('memory.max')) ?? '',
  }
}

async function findGroups(id: string): Promise<{ stdout: string[] }> {
  const { glob } = await import('node:fs/promises')
  const stdout: string[] = []
  for await (const path of glob(`/sys/fs/cgroup/**/${id}`)) stdout.push(path)
  return { stdout }
}

describe('resize of running containers', { skip }, () => {
  it('changes the limits of the kernel in place', async () => {
    await using world = await openWorld()
    await world.startAgent()
    await world.createPod('web', { args, resources: amounts('50m', '40Mi') })
    const before = await world.pod('web', isReady, 'is ready')
    assert.deepEqual(statusOf(before)?.resources, amounts('50m', '40Mi'))
    assert.deepEqual(statusOf(before)?.allocatedResources, { cpu: '50m', memory: '40Mi' })
    assert.deepEqual(await limitsOf(before), { quota: '5000', memory: String(40 << 20) })

    await resize(world, 'web', amounts('80m', '30Mi'))
    const after = await world.pod('web', isResized, 'is resized')
    assert.deepEqual(statusOf(after)?.resources, amounts('80m', '30Mi'))
    assert.deepEqual(await limitsOf(after), { quota: '8000', memory: String(30 << 20) })
    assert.equal(statusOf(after)?.restartCount, 0)
    assert.equal(statusOf(after)?.containerID, statusOf(before)?.containerID)
    const events = await world.events('web')
    assert.ok(events.includes('ResizeStarted') && events.includes('ResizeCompleted'), events.join())
    assert.deepEqual(world.errors, [])
  })

  it('starts a container anew whose policy wants that, without a back-off', async () => {
    await using world = await openWorld()
    await world.startAgent()
    const resizePolicy = [
      { resourceName: 'cpu', restartPolicy: 'NotRequired' },
      { resourceName: 'memory', restartPolicy: 'RestartContainer' },
    ]
    await world.createPod('web', { args, resources: amounts('50m', '40Mi'), resizePolicy })
    await world.pod('web', isReady, 'is ready')
    for (const [turn, memory] of ['50Mi', '45Mi', '60Mi'].entries()) {
      await resize(world, 'web', amounts('50m', memory))
      const pod = await world.pod('web', (one) => isResized(one) && statusOf(one)?.restartCount === turn + 1, memory)
      assert.equal(statusOf(pod)?.resources?.limits?.['memory'], memory)
    }
  })

  it('refuses what the node never has, and waits for what others use', async () => {
    await using world = await openWorld()
    await world.startAgent()
    const { capacity } = (await world.client.resource('v1/Node').get('here')).status ?? {}
    const cpus = Number(capacity?.['cpu'])
    const asking = (cpu: number): ResourceRequirements => ({ requests: { cpu: `${Math.round(cpu * 1000)}m` } })
    await world.createPod('web', { args, resources: asking(0.1) })
    await world.createPod('other', { args, resources: asking(cpus * 0.6) })
    await world.pod('web', isReady, 'is ready')
    await world.pod('other', isReady, 'is ready')

    await resize(world, 'web', asking(cpus + 1))
    const refused = await world.pod('web', (pod) => conditionOf(pod, 'PodResizePending'), 'is refused')
    const { reason, message } = conditionOf(refused, 'PodResizePending') ?? {}
    assert.equal(reason, 'Infeasible')
    const milli = cpus * 1000
    assert.equal(message, `Node didn't have enough capacity: cpu, requested: ${milli + 1000}, capacity: ${milli}`)
    assert.deepEqual(statusOf(refused)?.allocatedResources, { cpu: '100m' })

    await resize(world, 'web', asking(cpus * 0.7))
    await world.pod('web', (pod) => conditionOf(pod, 'PodResizePending')?.reason === 'Deferred', 'is deferred')
    await world.client.resource('v1/Pod').delete('other', { namespace: 'default' })
    const pod = await world.pod('web', isResized, 'is resized')
    assert.deepEqual(statusOf(pod)?.resources, asking(cpus * 0.7))
  })

  it('does not take memory away that is in use, and says so until it may', async () => {
    await using world = await openWorld()
    await world.startAgent()
    await world.createPod('web', { args, resources: amounts('50m', '40Mi') })
    await world.pod('web', isReady, 'is ready')
    await resize(world, 'web', amounts('50m', '8Ki'))
    const stuck = await world.pod('web', (pod) => conditionOf(pod, 'PodResizeInProgress')?.reason === 'Error', 'fails')
    assert.match(conditionOf(stuck, 'PodResizeInProgress')?.message ?? '', /memory limit \(8192\) below current usage/)
    assert.deepEqual(statusOf(stuck)?.resources, amounts('50m', '40Mi'))
    await resize(world, 'web', amounts('50m', '40Mi'))
    await world.pod('web', isResized, 'is as it was')
  })

  it('goes on from what was granted after the agent was away', async () => {
    await using world = await openWorld()
    const agent = await world.startAgent()
    await world.createPod('web', { args, resources: amounts('50m', '40Mi') })
    await world.pod('web', isReady, 'is ready')
    await agent.stop()
    await resize(world, 'web', amounts('70m', '40Mi'))
    await world.startAgent()
    const pod = await world.pod('web', (one) => statusOf(one)?.resources?.limits?.['cpu'] === '70m', 'is resized')
    await until(async () => (await limitsOf(pod)).quota === '7000' || undefined, 'the kernel knows')
    assert.equal(statusOf(pod)?.restartCount, 0)
  })
})
