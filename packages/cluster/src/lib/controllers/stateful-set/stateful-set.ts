import { isDeepStrictEqual } from 'node:util'

import { isAlreadyExists } from '@fairlead/kube'
import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { ControllerRevision, StatefulSet, StatefulSetStatus } from '@fairlead/kube/types/apps-v1'
import type { PersistentVolumeClaim, Pod } from '@fairlead/kube/types/core-v1'

import { byController } from '../context.ts'
import type { ControllerContext } from '../context.ts'
import { createRevisionHistory, decideTruncation, templateOf } from '../controller-revision.ts'
import type { RevisionOwner } from '../controller-revision.ts'
import { createExpectations } from '../expectations.ts'
import { writeInGrowingBatches } from '../growing-batches.ts'
import { isEmptySelector, matchesSelector } from '../../label-selector.ts'
import { isNamespaceTerminating } from '../namespaces.ts'
import { claimObjects, controllerOf, decideClaim, orphansOf } from '../ownership.ts'
import { nextAvailabilityMs } from '../replica-set-plan.ts'
import { ignoreNotFound } from '../write.ts'
import { decideClaimOwners, isStaleClaim } from './claim-retention.ts'
import { decideSteps, revisionOf } from './decide-stateful-set.ts'
import type { SetStep, SetView } from './decide-stateful-set.ts'
import { isInRange, ordinalOf, renderClaims, renderPod } from './identity.ts'
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
  const claims = client.resource('v1/PersistentVolumeClaim')
  const sets = client.resource('apps/v1/StatefulSet')
  const history = createRevisionHistory(context, 'StatefulSet')
  const recorder = context.recorder('statefulset-controller')
  const expectations = createExpectations(clock)

  async function reconcile(key: string): Promise<{ requeueAfterMs: number | undefined } | undefined> {
    const { namespace, name } = parseKey(key)
    const set = informers.statefulSets.get(namespace, name)
    if (set?.spec === undefined || isEmptySelector(set.spec.selector)) {
      expectations.forget(key)
      return undefined
    }
    // Asked before the pods are read: what is seen from now on is counted next time.
    const waitMs = expectations.leftMs(key)
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
      pods: await claimPods(set),
      currentRevision: current?.metadata?.name ?? updateRevision,
      updateRevision,
      now: clock.now(),
    }
    return { key, set, view, revisions: synced.revisions, collisionCount: synced.collisionCount }
  }

  async function claimPods(set: StatefulSet): Promise<Pod[]> {
    const { uid = '', namespace } = set.metadata ?? {}
    const candidates = [
      ...informers.pods.byIndex(byController, uid),
      ...informers.pods.byIndex(byController, orphansOf(namespace)),
    ].filter((pod) => ordinalOf(set, pod) !== undefined)
    const claim = decideClaim(set, set.spec?.selector ?? {}, candidates)
    return claimObjects({ objects: pods, owners: sets }, set, claim)
  }

  async function carryOut(round: Round, steps: readonly SetStep[]): Promise<{ readonly error?: unknown }> {
    try {
      if (round.set.metadata?.deletionTimestamp === undefined) await keepClaims(round)
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

  /** Claims of pods that wait for them are made again; every claim goes with whom the retention policy says. */
  async function keepClaims({ set, view }: Round): Promise<void> {
    for (const pod of view.pods) {
      const ordinal = ordinalOf(set, pod) ?? -1
      const isWaiting = (pod.status?.phase ?? 'Pending') === 'Pending' && isInRange(set, ordinal)
      if (isWaiting && pod.metadata?.deletionTimestamp === undefined) await createClaims(set, ordinal)
      await keepClaimOwners(set, pod, ordinal)
    }
  }

  async function keepClaimOwners(set: StatefulSet, pod: Pod, ordinal: number): Promise<void> {
    for (const claim of claimsOf(set, ordinal)) {
      const ownerReferences = decideClaimOwners(set, pod, claim)
      if (ownerReferences === undefined) continue
      await ignoreNotFound(claims.update({ ...claim, metadata: { ...claim.metadata, ownerReferences } }))
    }
  }

  function claimsOf(set: StatefulSet, ordinal: number): PersistentVolumeClaim[] {
    return renderClaims(set, ordinal).flatMap(
      ({ metadata }) => informers.claims.get(metadata?.namespace, metadata?.name ?? '') ?? [],
    )
  }

  async function createClaims(set: StatefulSet, ordinal: number): Promise<void> {
    for (const claim of renderClaims(set, ordinal)) {
      const { name = '', namespace } = claim.metadata ?? {}
      const known = informers.claims.get(namespace, name)
      if (known?.metadata?.deletionTimestamp !== undefined) throw new Error(`pvc ${name} is being deleted`)
      if (known === undefined) await createClaim(set, ordinal, claim)
    }
  }

  async function createClaim(set: StatefulSet, ordinal: number, claim: PersistentVolumeClaim): Promise<void> {
    const subject = `Claim ${claim.metadata?.name} Pod ${set.metadata?.name}-${ordinal} in StatefulSet ${set.metadata?.name}`
    try {
      await claims.create(claim)
    } catch (error) {
      // The cache may be behind.
      if (isAlreadyExists(error)) return
      tell(set, 'FailedCreate', `create ${subject} failed error: ${text(error)}`)
      throw error
    }
    tell(set, 'SuccessfulCreate', `create ${subject} success`)
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
    const known = claimsOf(set, ordinal)
    // The garbage collector is about to take them; their end brings us back.
    if (known.some((claim) => isStaleClaim(claim, podName, undefined))) return
    await createClaims(set, ordinal)
    let pod: Pod
    try {
      pod = await pods.create(wanted)
    } catch (error) {
      if (!isNamespaceTerminating(error)) {
        const message = `create Pod ${podName} in StatefulSet ${set.metadata?.name} failed error: ${text(error)}`
        tell(set, 'FailedCreate', message)
      }
      throw error
    }
    const { uid = '', namespace } = pod.metadata ?? {}
    // The watch may have been faster than the answer.
    if (informers.pods.get(namespace, podName)?.metadata?.uid !== uid) expectations.expect(key, uid)
    tell(set, 'SuccessfulCreate', `create Pod ${podName} in StatefulSet ${set.metadata?.name} successful`)
  }

  async function repairPod({ pod, labels }: Extract<SetStep, { act: 'repair' }>): Promise<void> {
    const { name = '', namespace, uid } = pod.metadata ?? {}
    await ignoreNotFound(pods.patch(name, { type: 'merge', body: { metadata: { uid, labels } } }, { namespace }))
  }

  async function deletePod({ key, set }: Round, { pod, why }: Extract<SetStep, { act: 'delete' }>): Promise<void> {
    const { name = '', namespace, uid = '' } = pod.metadata ?? {}
    const full = `${namespace}/${set.metadata?.name}`
    if (why === 'failed') {
      tell(set, 'RecreatingFailedPod', `StatefulSet ${full} is recreating failed Pod ${name}`, 'Warning')
    }
    if (why === 'ended') {
      tell(set, 'RecreatingTerminatedPod', `StatefulSet ${full} is recreating terminated Pod ${name}`)
    }
    expectations.expect(key, uid)
    try {
      await ignoreNotFound(pods.delete(name, { namespace, uid }))
    } catch (error) {
      expectations.observe(key, uid)
      tell(set, 'FailedDelete', `delete Pod ${name} in StatefulSet ${set.metadata?.name} failed error: ${text(error)}`)
      throw error
    }
    tell(set, 'SuccessfulDelete', `delete Pod ${name} in StatefulSet ${set.metadata?.name} successful`)
  }

  function tell(set: StatefulSet, reason: string, message: string, type?: 'Warning'): void {
    recorder.record(set, { type: type ?? (reason.startsWith('Failed') ? 'Warning' : 'Normal'), reason, message })
  }

  async function writeStatus(set: StatefulSet, status: StatefulSetStatus): Promise<void> {
    const wanted = Object.fromEntries(Object.entries(status).filter(([, value]) => value !== undefined))
    if (isDeepStrictEqual(wanted, { ...set.status })) return
    await ignoreNotFound(sets.updateStatus({ ...set, status: wanted as unknown as StatefulSetStatus }))
  }

  async function truncate({ set, view, revisions }: Round, status: StatefulSetStatus): Promise<void> {
    const inUse = [view.currentRevision, view.updateRevision, status.currentRevision ?? '']
    const live = new Set([...inUse, ...view.pods.map(revisionOf)])
    await history.remove(decideTruncation(revisions, { live, limit: set.spec?.revisionHistoryLimit ?? 10 }))
  }

  function keysOfPod(pod: Pod, event: 'add' | 'update' | 'delete', old?: Pod): string[] {
    const keys = [keyOfController(pod), old && keyOfController(old)].filter((key) => key !== undefined)
    for (const key of keys) {
      if (event !== 'update' || pod.metadata?.deletionTimestamp !== undefined) {
        expectations.observe(key, pod.metadata?.uid ?? '')
      }
    }
    return keys.length > 0 || controllerOf(pod) !== undefined ? keys : keysOfOrphan(pod)
  }

  function keysOfOrphan(pod: Pod): string[] {
    return informers.statefulSets
      .list(pod.metadata?.namespace)
      .filter((set) => ordinalOf(set, pod) !== undefined && matchesSelector(set.spec?.selector, pod.metadata?.labels))
      .map(keyOf)
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
      fromInformer(informers.pods, keysOfPod),
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

function keyOfController(pod: Pod): string | undefined {
  const controller = controllerOf(pod)
  return controller?.kind === 'StatefulSet' ? `${pod.metadata?.namespace ?? ''}/${controller.name}` : undefined
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
