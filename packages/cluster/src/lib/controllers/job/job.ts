import { fromInformer, keyOf, runController } from '@fairlead/kube/controller'
import type { Job, JobStatus } from '@fairlead/kube/types/batch-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from '../context.ts'
import { messageOf } from '../../errors.ts'
import { createExpectations } from '../expectations.ts'
import { createFreshest } from '../freshest.ts'
import { writeInGrowingBatches } from '../growing-batches.ts'
import { isNamespaceTerminating } from '../namespaces.ts'
import { createOwnedPods } from '../owned-pods.ts'
import { isPodReady } from '../pod-state.ts'
import { hasStatus, ignoreNotFound } from '../write.ts'
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
  const owned = createOwnedPods(context, {
    kind: 'Job',
    informer: informers.jobs,
    objects: jobs,
    selectorOf: ({ spec }) => spec?.selector,
    finalizer: trackingFinalizer,
  })
  const releases = createExpectations(clock)
  const backoffs = new Map<string, Backoff>()
  const freshest = createFreshest(informers.jobs)

  function forget(key: string): void {
    owned.forget(key)
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
    // Asked before the pods are read: a write that the cache shows after this counts in the next reconcile.
    const waitMs = owned.waitMs(key)
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
    // As of before the pods are read: the cache may show a release after that, and the pods here are still without it.
    const released = releases.expected(key)
    const isReleased = (uid: string): boolean => released.has(uid)
    return { job, pods: await owned.claim(job), isReleased, backoff: backoffs.get(key) ?? noBackoff, now: clock.now() }
  }

  async function carryOut(key: string, view: JobView, count: PodCount, step: JobStep): Promise<StepOutcome> {
    switch (step.act) {
      case 'none':
        return { created: 0, removed: [] }
      case 'end':
        return deletePods(step.pods, (pod) => deletePod(view.job, pod))
      case 'remove':
        return deletePods(step.pods, (pod) => discardPod(key, view.job, pod))
      case 'create': {
        const { done, error, failed } = await writeInGrowingBatches(step.indexes.length, (at) =>
          createPod(key, view.job, count, step.indexes[at]),
        )
        if (failed && !isNamespaceTerminating(error)) {
          tell(view.job, 'Warning', 'FailedCreate', `Error creating: ${messageOf(error)}`)
        }
        return { created: done, removed: [], error }
      }
    }
  }

  async function createPod(key: string, job: Job, { indexes }: PodCount, index: number | undefined): Promise<void> {
    const replaced = index === undefined ? undefined : indexes?.toReplace.get(index)
    const { metadata } = await owned.create(key, renderPod(job, index, replaced))
    tell(job, 'Normal', 'SuccessfulCreate', `Created pod: ${metadata?.name}`)
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
      tell(job, 'Warning', 'FailedDelete', `Error deleting: ${messageOf(error)}`)
      throw error
    }
    tell(job, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`)
  }

  /** Deletes a pod that is not to be counted: its finalizer goes first. */
  function discardPod(key: string, job: Job, pod: Pod): Promise<void> {
    return owned.expectGone(key, pod, async () => {
      if (isTracked(pod)) await removeFinalizer(pod)
      await deletePod(job, pod)
    })
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
      tell(view.job, 'Normal', conclusion.event, `Job ${conclusion.event.toLowerCase()}`)
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

  /** Replaces that very version: counts are sums, and writing over somebody's would make them wrong. */
  async function writeStatus(job: Job, status: JobStatus): Promise<Job | undefined> {
    if (hasStatus(job, status)) return job
    const written = await ignoreNotFound(jobs.updateStatus({ ...job, status }))
    if (written !== undefined) freshest.put(written)
    return written
  }

  function announceEnd(job: Job, { succeeded = 0 }: JobStatus, { end }: Conclusion): void {
    if (end?.type !== 'Complete') {
      tell(job, 'Warning', end?.reason ?? '', end?.message ?? '')
      return
    }
    if (succeeded > (job.spec?.completions ?? Infinity)) {
      const message = 'Too many succeeded pods running after completion count reached'
      tell(job, 'Warning', 'TooManySucceededPods', message)
    }
    tell(job, 'Normal', 'Completed', 'Job completed')
  }

  function tell(job: Job, type: 'Normal' | 'Warning', reason: string, message: string): void {
    recorder.record(job, { type, reason, message })
  }

  function keysOfPod(pod: Pod, event: 'add' | 'update' | 'delete', old?: Pod): string[] {
    const keys = owned.keysOfPod(pod, event, old)
    const isReleased = event === 'delete' || !isTracked(pod)
    if (isReleased) for (const key of keys) releases.observe(key, pod.metadata?.uid ?? '')
    return keys
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
