import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { ControllerRevision, StatefulSet, StatefulSetStatus } from '@fairlead/kube/types/apps-v1'
import type { PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from '../context.ts'
import { createRevisionHistory, decideTruncation, templateOf } from '../controller-revision.ts'
import type { RevisionOwner } from '../controller-revision.ts'
import { messageOf } from '../../errors.ts'
import { writeInGrowingBatches } from '../growing-batches.ts'
import { isEmptySelector } from '../../label-selector.ts'
import { isNamespaceTerminating } from '../namespaces.ts'
import { createOwnedPods } from '../owned-pods.ts'
import { nextAvailabilityMs } from '../replica-set-plan.ts'
import { hasStatus, ignoreNotFound } from '../write.ts'
import { decideSteps, revisionOf } from './decide-stateful-set.ts'
import type { SetStep, SetView } from './decide-stateful-set.ts'
import { ordinalOf, renderPod } from './identity.ts'
import { createSetClaims } from './set-claims.ts'
import { describeStatefulSet } from './stateful-set-status.ts'

/** A set, what it looks like, and the templates of its two revisions. */
interface Round {
  readonly key: string
  readonly set: StatefulSet
  readonly view: SetView
  readonly revisions: readonly ControllerRevision[]
  readonly collisionCount: number
}

/** Keeps pods with names and claims of their own, in order, for every StatefulSet. */
export function runStatefulSetController(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const pods = client.resource('v1/Pod')
  const sets = client.resource('apps/v1/StatefulSet')
  const history = createRevisionHistory(context, 'StatefulSet')
  const recorder = context.recorder('statefulset-controller')
  const claims = createSetClaims(context, tell)
  const owned = createOwnedPods(context, {
    kind: 'StatefulSet',
    informer: informers.statefulSets,
    objects: sets,
    selectorOf: ({ spec }) => spec?.selector,
    mayOwn: (set, pod) => ordinalOf(set, pod) !== undefined,
  })

  async function reconcile(key: string): Promise<{ requeueAfterMs: number | undefined } | undefined> {
    const { namespace, name } = parseKey(key)
    const set = informers.statefulSets.get(namespace, name)
    if (set?.spec === undefined || isEmptySelector(set.spec.selector)) {
      owned.forget(key)
      return undefined
    }
    // Asked before the pods are read: a write that the cache shows after this counts in the next reconcile.
    const waitMs = owned.waitMs(key)
    const round = await lookAt(key, set)
    const outcome = waitMs === undefined ? await carryOut(round, decideSteps(round.view)) : {}
    const status = describeStatefulSet(round.view, round.collisionCount)
    await writeStatus(set, status)
    await truncate(round, status)
    if (outcome.error !== undefined && !isNamespaceTerminating(outcome.error)) throw outcome.error
    const availableMs = nextAvailabilityMs(round.view.pods, set.spec.minReadySeconds ?? 0, clock.now())
    return { requeueAfterMs: waitMs === undefined ? availableMs : Math.min(waitMs, availableMs ?? waitMs) }
  }

  async function lookAt(key: string, set: StatefulSet): Promise<Round> {
    const owner = ownerOf(set)
    const known = await history.claim(owner)
    const isDeleting = set.metadata?.deletionTimestamp !== undefined
    const [newest] = isDeleting ? known.slice(-1) : []
    const synced =
      newest === undefined
        ? await history.sync(owner, known)
        : { newest, revisions: known, collisionCount: owner.collisionCount }
    const updateRevision = synced.newest.metadata?.name ?? ''
    const current = synced.revisions.find(({ metadata }) => metadata?.name === set.status?.currentRevision)
    const view = {
      set,
      pods: await owned.claim(set),
      currentRevision: current?.metadata?.name ?? updateRevision,
      updateRevision,
      now: clock.now(),
    }
    return { key, set, view, revisions: synced.revisions, collisionCount: synced.collisionCount }
  }

  async function carryOut(round: Round, steps: readonly SetStep[]): Promise<{ readonly error?: unknown }> {
    try {
      if (round.set.metadata?.deletionTimestamp === undefined) await claims.keep(round.set, round.view.pods)
    } catch (error) {
      return { error }
    }
    const creates = steps.filter((step) => step.act !== 'delete')
    const { failed, error } = await writeInGrowingBatches(creates.length, async (at) => {
      const step = creates[at]
      if (step?.act === 'create') await createPod(round, step)
      if (step?.act === 'repair') await repairPod(step)
    })
    if (failed) return { error }
    const deletes = steps.filter((step) => step.act === 'delete')
    const outcomes = await Promise.allSettled(deletes.map((step) => deletePod(round, step)))
    return { error: outcomes.find((outcome) => outcome.status === 'rejected')?.reason }
  }

  async function createPod(
    { key, set, view, revisions }: Round,
    { ordinal, revision: which }: Extract<SetStep, { act: 'create' }>,
  ): Promise<void> {
    const revision = which === 'current' ? view.currentRevision : view.updateRevision
    const of = revisions.find(({ metadata }) => metadata?.name === revision)
    const template = (of && templateOf(of)) ?? set.spec?.template ?? {}
    const wanted = renderPod(set, ordinal, { template, revision })
    const { name: podName = '' } = wanted.metadata ?? {}
    // The garbage collector takes them first; the event of their deletion leads to another reconcile.
    if (claims.areStale(set, ordinal, podName)) return
    await claims.create(set, ordinal)
    const subject = `create Pod ${podName} in StatefulSet ${set.metadata?.name}`
    try {
      await owned.create(key, wanted)
    } catch (error) {
      if (!isNamespaceTerminating(error)) tell(set, 'FailedCreate', `${subject} failed error: ${messageOf(error)}`)
      throw error
    }
    tell(set, 'SuccessfulCreate', `${subject} successful`)
  }

  async function repairPod({ pod, labels }: Extract<SetStep, { act: 'repair' }>): Promise<void> {
    const { name = '', namespace, uid } = pod.metadata ?? {}
    await ignoreNotFound(pods.patch(name, { type: 'merge', body: { metadata: { uid, labels } } }, { namespace }))
  }

  async function deletePod({ key, set }: Round, { pod, why }: Extract<SetStep, { act: 'delete' }>): Promise<void> {
    const { name, namespace } = pod.metadata ?? {}
    const subject = `delete Pod ${name} in StatefulSet ${set.metadata?.name}`
    const full = `${namespace}/${set.metadata?.name}`
    if (why === 'failed') {
      tell(set, 'RecreatingFailedPod', `StatefulSet ${full} is recreating failed Pod ${name}`, 'Warning')
    }
    if (why === 'ended') {
      tell(set, 'RecreatingTerminatedPod', `StatefulSet ${full} is recreating terminated Pod ${name}`)
    }
    try {
      await owned.delete(key, pod)
    } catch (error) {
      tell(set, 'FailedDelete', `${subject} failed error: ${messageOf(error)}`)
      throw error
    }
    tell(set, 'SuccessfulDelete', `${subject} successful`)
  }

  function tell(set: StatefulSet, reason: string, message: string, type?: 'Warning'): void {
    recorder.record(set, { type: type ?? (reason.startsWith('Failed') ? 'Warning' : 'Normal'), reason, message })
  }

  async function writeStatus(set: StatefulSet, status: StatefulSetStatus): Promise<void> {
    if (hasStatus(set, status)) return
    await ignoreNotFound(sets.updateStatus({ ...set, status }))
  }

  async function truncate({ set, view, revisions }: Round, status: StatefulSetStatus): Promise<void> {
    const inUse = [view.currentRevision, view.updateRevision, status.currentRevision ?? '']
    const live = new Set([...inUse, ...view.pods.map(revisionOf)])
    await history.remove(decideTruncation(revisions, { live, limit: set.spec?.revisionHistoryLimit ?? 10 }))
  }

  /** A claim that is gone may be one a pod waits for, or one that kept a pod from being made. */
  function keysOfClaim({ metadata }: PersistentVolumeClaim, event: string): string[] {
    if (event !== 'delete') return []
    return informers.statefulSets
      .list(metadata?.namespace)
      .filter(({ metadata: { name = '' } = {}, spec }) =>
        spec?.volumeClaimTemplates?.some((one) => metadata?.name?.startsWith(`${one.metadata?.name}-${name}-`)),
      )
      .map(keyOf)
  }

  return runController({
    name: 'stateful-set',
    sources: [
      fromInformer(informers.controllerRevisions, () => []),
      fromInformer(informers.claims, keysOfClaim),
      fromInformer(informers.statefulSets, (set) => [keyOf(set)]),
      fromInformer(informers.pods, owned.keysOfPod),
    ],
    reconcile,
    concurrency: 8,
    signal,
    onError,
    clock,
  })
}

function ownerOf(set: StatefulSet): RevisionOwner {
  return {
    object: set,
    selector: set.spec?.selector ?? {},
    template: set.spec?.template ?? {},
    collisionCount: set.status?.collisionCount ?? 0,
    hashLabel: 'controller.kubernetes.io/hash',
  }
}
