import { fromInformer, keyOf, runController } from '@fairlead/kube/controller'

import type { ControllerContext } from '../context.ts'
import { ignoreNotFound } from '../write.ts'

const annotation = 'node.alpha.kubernetes.io/ttl'

/** How many nodes there are when a step is left, downwards and upwards, and the seconds of the step. */
const steps = [
  { min: 0, max: 100, seconds: 0 },
  { min: 90, max: 500, seconds: 15 },
  { min: 450, max: 1000, seconds: 30 },
  { min: 900, max: 2000, seconds: 60 },
  { min: 1800, max: Infinity, seconds: 300 },
]

/** Tells each node how long it may use secrets and config maps it has read: the more nodes, the longer. */
export function runNodeTtl(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const nodes = client.resource('v1/Node')
  let step = 0

  async function reconcile(name: string): Promise<void> {
    const node = informers.nodes.get(undefined, name)
    const seconds = String(steps[step]?.seconds ?? 0)
    if (node === undefined || node.metadata?.annotations?.[annotation] === seconds) return
    const body = { metadata: { uid: node.metadata?.uid, annotations: { [annotation]: seconds } } }
    await ignoreNotFound(nodes.patch(name, { type: 'merge', body }))
  }

  return runController({
    name: 'node-ttl',
    sources: [
      fromInformer(informers.nodes, (node, event) => {
        if (event !== 'update') step = nextStep(step, informers.nodes.list().length)
        return [keyOf(node)]
      }),
    ],
    reconcile,
    concurrency: 1,
    signal,
    onError,
    clock,
  })
}

/** The step for a number of nodes; steps overlap, so that one node more or less does not change them to and fro. */
export function nextStep(step: number, nodeCount: number): number {
  const { min, max } = steps[step] ?? { min: 0, max: Infinity }
  if (nodeCount > max) return nextStep(step + 1, nodeCount)
  return nodeCount < min ? nextStep(step - 1, nodeCount) : step
}
