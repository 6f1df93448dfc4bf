import { isDeepStrictEqual } from 'node:util'

import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { DaemonSet, DaemonSetStatus } from '@fairlead/kube/types/apps-v1'
import type { Node } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from '../context.ts'
import { createRevisionHistory, decideTruncation, revisionLabel } from '../controller-revision.ts'
import type { RevisionOwner, SyncedHistory } from '../controller-revision.ts'
import { messageOf } from '../../errors.ts'
import { writeInGrowingBatches } from '../growing-batches.ts'
import { isEmptySelector } from '../../label-selector.ts'
import { isNamespaceTerminating } from '../namespaces.ts'
import { createOwnedPods } from '../owned-pods.ts'
import { controllerOf } from '../ownership.ts'
import { isPodActive } from '../pod-state.ts'
import { nextAvailabilityMs } from '../replica-set-plan.ts'
import { hasStatus, ignoreNotFound } from '../write.ts'
import { renderPod } from './daemon-pod.ts'
import { describeDaemonSet } from './daemon-set-status.ts'
import { decidePlacement, decideUpdate } from './decide-daemon-set.ts'
import type { DaemonPlan, DaemonView, Removal } from './decide-daemon-set.ts'
import { createNodeBackoff } from './node-backoff.ts'

/** At most so many pods are created or deleted in one reconcile. */
const burst = 250

interface Outcome {
  readonly error?: unknown
  /** When a failed pod may be replaced. */
  readonly retryMs?: number | undefined
  /** Pods were made or deleted: the view is no longer true. */
  readonly isChanged?: boolean | undefined
}

/** Keeps one pod of every DaemonSet on each node it is meant for. */
export function runDaemonSetController(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const sets = client.resource('apps/v1/DaemonSet')
  const history = createRevisionHistory(context, 'DaemonSet')
  const recorder = context.recorder('daemonset-controller')
  const owned = createOwnedPods(context, {
    kind: 'DaemonSet',
    informer: informers.daemonSets,
    objects: sets,
    selectorOf: ({ spec }) => spec?.selector,
    mayOwn: (_, pod) => controllerOf(pod) !== undefined || isPodActive(pod),
  })
  const backoff = createNodeBackoff()

  async function reconcile(key: string): Promise<{ requeueAfterMs: number | undefined } | undefined> {
    const { namespace, name } = parseKey(key)
    const set = informers.daemonSets.get(namespace, name)
    if (set?.spec === undefined || isEmptySelector(set.spec.selector)) {
      owned.forget(key)
      return undefined
    }
    // Its pods are the garbage collector's now.
    if (set.metadata?.deletionTimestamp !== undefined) return undefined
    // Asked before the pods are read: a write that the cache shows after this counts in the next reconcile.
    const waitMs = owned.waitMs(key)
    const owner = ownerOf(set)
    const synced = await history.sync(owner, await history.claim(owner))
    const hash = synced.newest.metadata?.labels?.[revisionLabel] ?? ''
    const view = { set, nodes: informers.nodes.list(), pods: await owned.claim(set), hash, now: clock.now() }
    const outcome = waitMs === undefined ? await act(key, view) : {}
    await truncate(view, synced)
    await writeStatus(set, describeDaemonSet(view, synced.collisionCount))
    if (outcome.error !== undefined && !isNamespaceTerminating(outcome.error)) throw outcome.error
    const availableMs = nextAvailabilityMs(view.pods, set.spec.minReadySeconds ?? 0, view.now)
    return { requeueAfterMs: earliest([waitMs, availableMs, outcome.retryMs]) }
  }

  /** Creates and deletes what placement asks for; an update goes on only in a reconcile where that was nothing. */
  async function act(key: string, view: DaemonView): Promise<Outcome> {
    const placed = await carryOut(key, view, decidePlacement(view))
    if (placed.error !== undefined || placed.isChanged === true) return placed
    const updated = await carryOut(key, view, decideUpdate(view))
    return { error: updated.error, retryMs: placed.retryMs }
  }

  async function carryOut(key: string, view: DaemonView, plan: DaemonPlan): Promise<Outcome> {
    const { due, retryMs } = takeDue(key, view, plan.remove)
    const nodeNames = plan.create.slice(0, burst)
    const deletes = await Promise.allSettled(due.slice(0, burst).map((one) => deletePod(key, view, one)))
    const created = await writeInGrowingBatches(nodeNames.length, (at) => createPod(key, view, nodeNames[at] ?? ''))
    if (created.failed && !isNamespaceTerminating(created.error)) {
      tell(view.set, 'Warning', 'FailedCreate', `Error creating: ${messageOf(created.error)}`)
    }
    const rejected = deletes.find((outcome) => outcome.status === 'rejected')
    return { error: created.error ?? rejected?.reason, retryMs, isChanged: due.length + nodeNames.length > 0 }
  }

  /** Leaves failed pods for a while, longer each time, so that one that fails at once is not replaced at full speed. */
  function takeDue(
    key: string,
    { set, now }: DaemonView,
    removals: readonly Removal[],
  ): { readonly due: readonly Removal[]; readonly retryMs: number | undefined } {
    const waits: number[] = []
    backoff.prune(now)
    const due = removals.filter(({ nodeName, why }) => {
      const left = why === 'failed' ? backoff.takeMs(`${key}/${set.metadata?.uid}/${nodeName}`, now) : 0
      if (left > 0) waits.push(left)
      return left <= 0
    })
    return { due, retryMs: earliest(waits) }
  }

  async function createPod(key: string, { set, hash }: DaemonView, nodeName: string): Promise<void> {
    const { metadata } = await owned.create(key, renderPod(set, nodeName, hash))
    tell(set, 'Normal', 'SuccessfulCreate', `Created pod: ${metadata?.name}`)
  }

  async function deletePod(key: string, { set }: DaemonView, { pod, nodeName, why }: Removal): Promise<void> {
    const { name, namespace } = pod.metadata ?? {}
    const subject = `daemon pod ${namespace}/${name} on node ${nodeName}`
    if (why === 'failed') tell(set, 'Warning', 'FailedDaemonPod', `Found failed ${subject}, will try to kill it`)
    if (why === 'ended') tell(set, 'Normal', 'SucceededDaemonPod', `Found succeeded ${subject}, will try to delete it`)
    try {
      await owned.delete(key, pod)
    } catch (error) {
      tell(set, 'Warning', 'FailedDelete', `Error deleting: ${messageOf(error)}`)
      throw error
    }
    tell(set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`)
  }

  function tell(set: DaemonSet, type: 'Normal' | 'Warning', reason: string, message: string): void {
    recorder.record(set, { type, reason, message })
  }

  async function writeStatus(set: DaemonSet, status: DaemonSetStatus): Promise<void> {
    if (hasStatus(set, status)) return
    await ignoreNotFound(sets.updateStatus({ ...set, status }))
  }

  async function truncate({ set, pods }: DaemonView, { newest, revisions }: SyncedHistory): Promise<void> {
    const hashes = new Set(pods.map(({ metadata }) => metadata?.labels?.[revisionLabel]))
    const used = revisions.filter(({ metadata }) => hashes.has(metadata?.labels?.[revisionLabel]))
    const live = new Set([...used, newest].map(({ metadata }) => metadata?.name ?? ''))
    await history.remove(decideTruncation(revisions, { live, limit: set.spec?.revisionHistoryLimit ?? 10 }))
  }

  return runController({
    name: 'daemon-set',
    sources: [
      fromInformer(informers.controllerRevisions, () => []),
      fromInformer(informers.nodes, (node, event, old) =>
        event === 'update' && isAlike(node, old) ? [] : informers.daemonSets.list().map(keyOf),
      ),
      fromInformer(informers.daemonSets, (set) => [keyOf(set)]),
      fromInformer(informers.pods, owned.keysOfPod),
    ],
    reconcile,
    concurrency: 8,
    signal,
    onError,
    clock,
  })
}

function ownerOf(set: DaemonSet): RevisionOwner {
  return {
    object: set,
    selector: set.spec?.selector ?? {},
    template: set.spec?.template ?? {},
    collisionCount: set.status?.collisionCount ?? 0,
    hashLabel: revisionLabel,
  }
}

/** Whether an update of a node changes nothing that placement looks at, as heartbeats do. */
function isAlike(node: Node, old: Node | undefined): boolean {
  return (
    isDeepStrictEqual(node.metadata?.labels, old?.metadata?.labels) &&
    isDeepStrictEqual(node.spec?.taints, old?.spec?.taints)
  )
}

function earliest(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined)
  return known.length === 0 ? undefined : Math.min(...known)
}
