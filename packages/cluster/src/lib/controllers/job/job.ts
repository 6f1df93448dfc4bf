import { isDeepStrictEqual } from 'node:util'

import { fromInformer, keyOf, runController } from '@fairlead/kube/controller'
import type { Job, JobStatus } from '@fairlead/kube/types/batch-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { byController } from '../context.ts'
import type { ControllerContext } from '../context.ts'
import { createExpectations } from '../expectations.ts'
import { createFreshest } from '../freshest.ts'
import { writeInGrowingBatches } from '../growing-batches.ts'
import { matchesSelector } from '../../label-selector.ts'
import { isNamespaceTerminating } from '../namespaces.ts'
import { claimObjects, controllerOf, decideClaim, orphansOf } from '../ownership.ts'
import { isPodReady } from '../pod-state.ts'
import { ignoreNotFound } from '../write.ts'
import { noBackoff } from './backoff.ts'
import type { Backoff } from './backoff.ts'
import { concludeJob, finishJob, settleUncounted } from './conclude-job.ts'
import type { Conclusion, JobOutcome } from './conclude-job.ts'
import { countPods } from './count-pods.ts'
import type { JobView, PodCount } from './count-pods.ts'
import { completed, deadlineLeftMs, decideEnd, decideStep, isComplete } from './decide-job.ts'
import type { JobEnd, JobStep } from './decide-job.ts'
import { finishedCondition, isTracked, jobControllerName, trackingFinalizer } from './job-facts.ts'
import { renderPod } from './render-pod.ts'

/** What carrying out a step came to. */
interface StepOutcome {
  readonly created: number
  readonly removed: readonly Pod[]
  readonly error?: unknown
}

/**
 * Runs the pods of every Job until as many have succeeded as it asks for, or it has failed. How a pod ended is counted
 * exactly once: pods carry a finalizer until the status lists them, and the status lists them until they are let go.
 */
export function runJobController(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const pods = client.resource('v1/Pod')
  const jobs = client.resource('batch/v1/Job')
  const recorder = context.recorder('job-controller')
  const expectations = createExpectations(clock)
  const releases = createExpectations(clock)
  const backoffs = new Map<string, Backoff>()
  const freshest = createFreshest(informers.jobs)

  function forget(key: string): void {
    expectations.forget(key)
    releases.forget(key)
    backoffs.delete(key)
  }

  async function reconcile(key: string): Promise<{ requeueAfterMs: number | undefined } | undefined> {
    const job = freshest.get(key)
    if (job?.spec === undefined || finishedCondition(job) !== undefined) {
      forget(key)
      return undefined
    }
    if ((job.spec.managedBy ?? jobControllerName) !== jobControllerName) return undefined
    // Asked before the pods are read: what is seen from now on is counted next time.
    const waitMs = expectations.leftMs(key)
    releases.leftMs(key)
    const view = await lookAt(key, job)
    const count = countPods(view)
    const end = decideEnd(view, count)
    const mayManage = end === undefined && waitMs === undefined && job.metadata?.deletionTimestamp === undefined
    const step = decide(view, count, { end, mayManage })
    const outcome = await carryOut(key, view, count, step)
    const reached = reachedEnd(view, count, { end, outcome, isSettled: waitMs === undefined })
    await conclude(key, view, count, summarise(count, outcome, { end: reached, isManaged: mayManage }))
    if (outcome.error !== undefined && !isNamespaceTerminating(outcome.error)) throw outcome.error
    const requeueAfterMs = 'requeueAfterMs' in step ? step.requeueAfterMs : undefined
    return { requeueAfterMs: earliest([waitMs, requeueAfterMs, end ? undefined : deadlineLeftMs(job, view.now)]) }
  }

  async function lookAt(key: string, job: Job): Promise<JobView> {
    const owned = await claimPods(job)
    const isReleased = (uid: string): boolean => releases.isExpected(key, uid)
    return { job, pods: owned, isReleased, backoff: backoffs.get(key) ?? noBackoff, now: clock.now() }
  }

  async function claimPods(job: Job): Promise<Pod[]> {
    const { uid = '', namespace } = job.metadata ?? {}
    const candidates = [
      ...informers.pods.byIndex(byController, uid),
      ...informers.pods.byIndex(byController, orphansOf(namespace)),
    ]
    const claim = decideClaim(job, job.spec?.selector ?? {}, candidates)
    return claimObjects({ objects: pods, owners: jobs }, job, claim, { finalizer: trackingFinalizer })
  }

  async function carryOut(key: string, view: JobView, count: PodCount, step: JobStep): Promise<StepOutcome> {
    switch (step.act) {
      case 'none':
        return { created: 0, removed: [] }
      case 'end':
        return deletePods(step.pods, (pod) => deletePod(view.job, pod))
      case 'remove':
        return deletePods(step.pods, (pod) => takeAway(key, view.job, pod))
      case 'create': {
        const { done, error, failed } = await writeInGrowingBatches(step.indexes.length, (at) =>
          createPod(key, view.job, count, step.indexes[at]),
        )
        if (failed && !isNamespaceTerminating(error)) {
          recorder.record(view.job, {
            type: 'Warning',
            reason: 'FailedCreate',
            message: `Error creating: ${text(error)}`,
          })
        }
        return { created: done, removed: [], error }
      }
    }
  }

  async function createPod(key: string, job: Job, { indexes }: PodCount, index: number | undefined): Promise<void> {
    const replaced = index === undefined ? undefined : indexes?.toReplace.get(index)
    const { metadata } = await pods.create(renderPod(job, index, replaced))
    const { uid = '', name = '', namespace } = metadata ?? {}
    // The watch may have been faster than the answer.
    if (informers.pods.get(namespace, name)?.metadata?.uid !== uid) expectations.expect(key, uid)
    recorder.record(job, { type: 'Normal', reason: 'SuccessfulCreate', message: `Created pod: ${name}` })
  }

  async function deletePods(which: readonly Pod[], remove: (pod: Pod) => Promise<void>): Promise<StepOutcome> {
    const outcomes = await Promise.allSettled(which.map(remove))
    const rejected = outcomes.find((outcome) => outcome.status === 'rejected')
    return {
      created: 0,
      removed: which.filter((_, index) => outcomes[index]?.status === 'fulfilled'),
      error: rejected?.reason,
    }
  }

  async function deletePod(job: Job, { metadata }: Pod): Promise<void> {
    const { name = '', namespace, uid } = metadata ?? {}
    try {
      await ignoreNotFound(pods.delete(name, { namespace, uid }))
    } catch (error) {
      recorder.record(job, { type: 'Warning', reason: 'FailedDelete', message: `Error deleting: ${text(error)}` })
      throw error
    }
    recorder.record(job, { type: 'Normal', reason: 'SuccessfulDelete', message: `Deleted pod: ${name}` })
  }

  /** Without its finalizer nobody counts the pod. */
  async function takeAway(key: string, job: Job, pod: Pod): Promise<void> {
    const uid = pod.metadata?.uid ?? ''
    expectations.expect(key, uid)
    try {
      if (isTracked(pod)) await removeFinalizer(pod)
      await deletePod(job, pod)
    } catch (error) {
      expectations.observe(key, uid)
      throw error
    }
  }

  async function removeFinalizer({ metadata }: Pod): Promise<void> {
    const { name = '', namespace, uid } = metadata ?? {}
    const body = { metadata: { uid, '$deleteFromPrimitiveList/finalizers': [trackingFinalizer] } }
    await ignoreNotFound(pods.patch(name, { type: 'strategic', body }, { namespace }))
  }

  /** Writes how pods ended, lets them go, and writes that they are counted: in this order, whatever fails in between. */
  async function conclude(key: string, view: JobView, count: PodCount, outcome: JobOutcome): Promise<void> {
    const conclusion = concludeJob(view, count, outcome)
    const written = await writeStatus(view.job, conclusion.status)
    if (written === undefined) return
    backoffs.set(key, count.backoff)
    if (conclusion.event !== undefined) {
      const message = `Job ${conclusion.event.toLowerCase()}`
      recorder.record(view.job, { type: 'Normal', reason: conclusion.event, message })
    }
    const { kept, error } = await release(key, view, conclusion.release)
    const settled = settleUncounted({ ...written.status }, kept)
    const finished = error === undefined ? finishJob(settled, conclusion) : settled
    await writeStatus(written, finished)
    if (error !== undefined) throw error
    if (finished !== settled) announceEnd(view.job, finished, conclusion)
  }

  async function release(
    key: string,
    { pods: all, isReleased }: JobView,
    which: readonly Pod[],
  ): Promise<{ kept: Set<string>; error: unknown }> {
    const tracked = all.filter(isTracked).map(({ metadata }) => metadata?.uid ?? '')
    const kept = new Set(tracked.filter((uid) => !isReleased(uid)))
    const outcomes = await Promise.allSettled(
      which.map(async (pod) => {
        const uid = pod.metadata?.uid ?? ''
        releases.expect(key, uid)
        try {
          await removeFinalizer(pod)
        } catch (error) {
          releases.observe(key, uid)
          throw error
        }
        kept.delete(uid)
      }),
    )
    return { kept, error: outcomes.find((outcome) => outcome.status === 'rejected')?.reason }
  }

  /** Only that version: counts are sums, and a lost write would make them wrong. */
  async function writeStatus(job: Job, status: JobStatus): Promise<Job | undefined> {
    const wanted = Object.fromEntries(Object.entries(status).filter(([, value]) => value !== undefined))
    if (isDeepStrictEqual(wanted, { ...job.status })) return job
    const written = await ignoreNotFound(jobs.updateStatus({ ...job, status: wanted }))
    if (written !== undefined) freshest.put(written)
    return written
  }

  function announceEnd(job: Job, { succeeded = 0 }: JobStatus, { end }: Conclusion): void {
    if (end?.type !== 'Complete') {
      recorder.record(job, { type: 'Warning', reason: end?.reason ?? '', message: end?.message ?? '' })
      return
    }
    if (succeeded > (job.spec?.completions ?? Infinity)) {
      const message = 'Too many succeeded pods running after completion count reached'
      recorder.record(job, { type: 'Warning', reason: 'TooManySucceededPods', message })
    }
    recorder.record(job, { type: 'Normal', reason: 'Completed', message: 'Job completed' })
  }

  function keysOfPod(pod: Pod, event: 'add' | 'update' | 'delete', old?: Pod): string[] {
    const keys = [keyOfController(pod), old && keyOfController(old)].filter((key) => key !== undefined)
    const uid = pod.metadata?.uid ?? ''
    for (const key of keys) {
      if (event !== 'update' || pod.metadata?.deletionTimestamp !== undefined) expectations.observe(key, uid)
      if (event === 'delete' || !isTracked(pod)) releases.observe(key, uid)
    }
    return keys.length > 0 ? keys : keysOfOrphan(pod)
  }

  function keysOfOrphan(pod: Pod): string[] {
    if (controllerOf(pod) !== undefined) return []
    return informers.jobs
      .list(pod.metadata?.namespace)
      .filter(({ spec }) => matchesSelector(spec?.selector, pod.metadata?.labels))
      .map(keyOf)
  }

  return runController({
    name: 'job',
    sources: [fromInformer(informers.jobs, (job) => [keyOf(job)]), fromInformer(informers.pods, keysOfPod)],
    reconcile,
    concurrency: 8,
    signal,
    onError,
    clock,
  })
}

function decide(
  view: JobView,
  count: PodCount,
  options: { readonly end: JobEnd | undefined; readonly mayManage: boolean },
): JobStep {
  if (options.end !== undefined) return { act: 'end', pods: count.active }
  return options.mayManage ? decideStep(view, count) : { act: 'none' }
}

/** The end counts once everything that ran has been told to go, and the cache shows all that was written. */
function reachedEnd(
  { job }: JobView,
  { active, succeeded }: PodCount,
  options: { readonly end: JobEnd | undefined; readonly outcome: StepOutcome; readonly isSettled: boolean },
): JobEnd | undefined {
  const { end, outcome, isSettled } = options
  const left = active.length + outcome.created - outcome.removed.length
  if (end !== undefined) return left === 0 && isSettled ? end : undefined
  return isComplete(job, succeeded, left) ? completed : undefined
}

function summarise(
  { active, ready, terminating }: PodCount,
  { created, removed }: StepOutcome,
  rest: Pick<JobOutcome, 'end' | 'isManaged'>,
): JobOutcome {
  return {
    ...rest,
    active: active.length + created - removed.length,
    ready: ready - removed.filter(isPodReady).length,
    terminating: terminating + removed.length,
  }
}

function earliest(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined)
  return known.length === 0 ? undefined : Math.min(...known)
}

function keyOfController(pod: Pod): string | undefined {
  const controller = controllerOf(pod)
  return controller?.kind === 'Job' ? `${pod.metadata?.namespace ?? ''}/${controller.name}` : undefined
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
