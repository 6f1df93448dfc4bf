import { fromInformer, keyOf, renderTime, runController } from '@fairlead/kube/controller'
import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { byNode } from '../context.ts'
import type { ControllerContext } from '../context.ts'
import { podCondition } from '../pod-state.ts'
import { ignoreNotFound } from '../write.ts'
import { decideTaints, isAnyReady, nodeCondition, readSign, renderUnknown, silenceLeftMs } from './node-health.ts'
import type { LastSign } from './node-health.ts'

/**
 * Says of nodes that are silent that their state is unknown, and taints nodes by what their conditions say, so that
 * nothing new is placed there and what runs there is evicted in time.
 */
export function runNodeLifecycle(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const nodes = client.resource('v1/Node')
  const pods = client.resource('v1/Pod')
  const recorder = context.recorder('node-controller')
  const signs = new Map<string, LastSign>()

  async function reconcile(name: string): Promise<{ requeueAfterMs: number } | undefined> {
    const node = informers.nodes.get(undefined, name)
    if (node === undefined) {
      signs.delete(name)
      return undefined
    }
    const now = clock.now()
    const sign = readSign(node, informers.leases.get('kube-node-lease', name), { last: signs.get(name), now })
    if (!signs.has(name)) tell(node, 'RegisteredNode', `Registered Node ${name} in Controller`)
    signs.set(name, sign)
    const leftMs = silenceLeftMs(node, sign, now)
    const current = leftMs > 0 ? node : await reportUnknown(node, now)
    await taint(current, now)
    return { requeueAfterMs: leftMs > 0 ? leftMs : silentCheckMs }
  }

  function tell(node: Node, reason: string, message: string): void {
    recorder.record(node, { type: 'Normal', reason, message })
  }

  async function reportUnknown(node: Node, now: number): Promise<Node> {
    const conditions = renderUnknown(node, now)
    if (conditions.length === 0) return node
    const name = node.metadata?.name ?? ''
    const body = { metadata: { uid: node.metadata?.uid }, status: { conditions } }
    const written = await ignoreNotFound(nodes.patch(name, { type: 'strategic', body }, { subresource: 'status' }))
    if (nodeCondition(node, 'Ready')?.status === 'True') {
      tell(node, 'NodeNotReady', `Node ${name} status is now: NodeNotReady`)
      await markPodsUnready(name, now)
    }
    return written ?? node
  }

  /** Nobody else can say it: traffic must not go where nothing answers. */
  async function markPodsUnready(nodeName: string, now: number): Promise<void> {
    const ready = informers.pods
      .byIndex(byNode, nodeName)
      .filter((pod) => podCondition(pod, 'Ready')?.status === 'True')
    await Promise.all(ready.map((pod) => markUnready(pod, now)))
  }

  async function markUnready(pod: Pod, now: number): Promise<void> {
    const { name = '', namespace, uid } = pod.metadata ?? {}
    const condition = { type: 'Ready', status: 'False', lastTransitionTime: renderTime(now) }
    const body = { metadata: { uid }, status: { conditions: [condition] } }
    recorder.record(pod, { type: 'Warning', reason: 'NodeNotReady', message: 'Node is not ready' })
    await ignoreNotFound(pods.patch(name, { type: 'strategic', body }, { namespace, subresource: 'status' }))
  }

  async function taint(node: Node, now: number): Promise<void> {
    const { name = '', uid, resourceVersion } = node.metadata ?? {}
    const known = informers.nodes.list().filter(({ metadata }) => metadata?.name !== name)
    const taints = decideTaints(node, { mayEvict: isAnyReady([...known, node]), now })
    if (taints === undefined) return
    // The list is one value: only that version, so that nobody's taint is lost.
    const body = { metadata: { uid, resourceVersion }, spec: { taints: taints.length === 0 ? null : taints } }
    await ignoreNotFound(nodes.patch(name, { type: 'merge', body }))
  }

  return runController({
    name: 'node-lifecycle',
    sources: [
      fromInformer(informers.nodes, (node, event, old) => {
        if (event === 'delete') tell(node, 'RemovingNode', `Removing Node ${keyOf(node)} from Controller`)
        const isReady = nodeCondition(node, 'Ready')?.status
        const isSame = old !== undefined && isReady === nodeCondition(old, 'Ready')?.status
        // Whether anybody is ready matters to all.
        return isSame ? [keyOf(node)] : informers.nodes.list().map(keyOf)
      }),
      fromInformer(informers.leases, ({ metadata }) => [metadata?.name ?? '']),
      // Only to be known when the first node is judged.
      fromInformer(informers.pods, () => []),
    ],
    reconcile,
    concurrency: 2,
    signal,
    onError,
    clock,
  })
}

/** A silent node is looked at again, in case what was said of it did not stay. */
const silentCheckMs = 50_000
