import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { isNotFound } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { systemClock } from '@fairlead/kube/controller'
import { openLayout } from '@fairlead/oci/layout'
import { shareLayerCaches } from '@fairlead/oci/runtime'

import { nodeCount } from './errors.ts'
import type { PodNetwork } from './network/pod-network.ts'
import { ImageKeeper } from './node/image-gc/image-keeper.ts'
import { pulledFile } from './node/image-gc/pulled-images.ts'
import { defaultImageGcSettings } from './node/image-gc/settings.ts'
import type { Kubelet } from './node/kubelet.ts'
import { createTurns, runNode } from './node/node.ts'
import type { NodeAgent } from './node/node.ts'
import type { NodeOptions } from './node/node-options.ts'
import { mostNodes } from './planned-nodes.ts'
import type { PlannedNode } from './planned-nodes.ts'

export interface RunNodesOptions extends Omit<NodeOptions, 'client' | 'nodeName' | 'dir' | 'zone' | 'nodesOfMachine'> {
  readonly clientOf: (nodeName: string) => KubeClient
  readonly administrator: KubeClient
  /** Of the cluster. */
  readonly dir: string
  readonly planned: readonly PlannedNode[]
}

/** The agents of a cluster's nodes. */
export interface Nodes {
  readonly first: NodeAgent
  /** Rejects when this machine has no such node. */
  kubeletOf(nodeName: string): Promise<Kubelet>
  stop(options: { readonly stopPods: boolean }): Promise<void>
}

/**
 * Runs an agent for each of `planned`, which share this machine and its pod network. Nodes of an earlier start that are not planned any
 * more are taken away with their pods.
 */
export async function runNodes({ clientOf, administrator, planned, dir, ...options }: RunNodesOptions): Promise<Nodes> {
  const surplus = (await listKeptNodes(dir)).filter((kept) => !planned.some(({ name }) => name === kept.name))
  const turns = createTurns()
  const parts = await partNetwork(options.network, [...planned, ...surplus])
  const imageKeeper = await ImageKeeper.open({
    layout: await openLayout(options.images),
    file: join(dir, pulledFile),
    settings: options.imageGc ?? defaultImageGcSettings,
    clock: options.clock ?? systemClock,
  })
  // Where a cluster of one node has them.
  const layers = { dir: planned[0]?.dir ?? dir, open: shareLayerCaches() }
  const run = async (node: PlannedNode): Promise<NodeAgent> =>
    await runNode({
      ...options,
      imageKeeper,
      client: clientOf(node.name),
      nodeName: node.name,
      dir: node.dir,
      zone: node.zone,
      nodesOfMachine: planned.length,
      turns,
      layers,
      network: parts(node.name),
    })
  for (const node of surplus) {
    await (await run(node)).stop({ stopPods: true })
    await forgetNode(administrator, node.name)
    await rm(node.dir, { recursive: true, force: true })
  }
  const agents = await runAll(planned, run)
  const [first] = agents.values()
  if (first === undefined) throw nodeCount(0, mostNodes)
  return {
    first,
    async kubeletOf(nodeName) {
      const agent = agents.get(nodeName)
      if (agent === undefined) throw new Error(`no agent is known for node "${nodeName}"`)
      return agent.kubelet
    },
    async stop(how) {
      await Promise.all([...agents.values()].map((agent) => agent.stop(how)))
    },
  }
}

/** Its pods have ended, and nobody is there to say so. */
async function forgetNode(administrator: KubeClient, name: string): Promise<void> {
  const pods = administrator.resource('v1/Pod')
  const { items } = await pods.list({ allNamespaces: true, fieldSelector: `spec.nodeName=${name}` })
  for (const { metadata } of items) {
    const { name: podName = '', namespace, uid } = metadata ?? {}
    await pods.delete(podName, { namespace, uid, gracePeriodSeconds: 0 }).catch(ignoreAbsent)
  }
  await administrator.resource('v1/Node').delete(name).catch(ignoreAbsent)
}

/** All or none: when one cannot be started the others are stopped. */
async function runAll(
  planned: readonly PlannedNode[],
  run: (node: PlannedNode) => Promise<NodeAgent>,
): Promise<Map<string, NodeAgent>> {
  const started = await Promise.allSettled(planned.map(async (node) => [node.name, await run(node)] as const))
  const running = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const failed = started.find((each) => each.status === 'rejected')
  if (failed !== undefined) {
    await Promise.allSettled(running.map(([, agent]) => agent.stop()))
    throw failed.reason
  }
  return new Map(running)
}

async function listKeptNodes(dir: string): Promise<PlannedNode[]> {
  const names = await readdir(join(dir, 'nodes')).catch(() => [])
  return names.map((name) => ({ name, dir: join(dir, 'nodes', name), zone: undefined }))
}

/**
 * Each node sees the pods it has attached, and those of before that its folder tells of; what belongs to none is the first node's, which
 * detaches it. Otherwise each node would take the pods of the others for leftovers.
 */
async function partNetwork(
  network: PodNetwork,
  nodes: readonly PlannedNode[],
): Promise<(nodeName: string) => PodNetwork> {
  if (nodes.length === 1) return () => network
  const owners = new Map<string, string>()
  for (const { name, dir } of nodes) {
    await mkdir(join(dir, 'pods'), { recursive: true, mode: 0o711 })
    for (const uid of await readdir(join(dir, 'pods'))) owners.set(uid, name)
  }
  const firstName = nodes[0]?.name
  return (nodeName) => ({
    plan: network.plan,
    reason: network.reason,
    gateway: network.gateway,
    attach(pod) {
      owners.set(pod.uid, nodeName)
      return network.attach({ ...pod, nodeName })
    },
    async detach(uid) {
      await network.detach(uid)
      owners.delete(uid)
    },
    attached: () => network.attached().filter(({ uid }) => (owners.get(uid) ?? firstName) === nodeName),
    close: (options) => network.close(options),
  })
}

function ignoreAbsent(error: unknown): void {
  if (!isNotFound(error)) throw error
}
