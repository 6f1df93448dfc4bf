import { isNotFound } from '@fairlead/kube'
import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { Job } from '@fairlead/kube/types/batch-v1'

import type { ControllerContext } from '../context.ts'
import { ignoreNotFound } from '../write.ts'
import { finishedCondition } from './job-facts.ts'

/** Deletes finished jobs, with their pods, `ttlSecondsAfterFinished` after their end. */
export function runTtlAfterFinished(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const jobs = client.resource('batch/v1/Job')

  async function reconcile(key: string): Promise<{ requeueAfterMs: number } | undefined> {
    const { namespace, name } = parseKey(key)
    const leftMs = ttlLeftMs(informers.jobs.get(namespace, name), clock.now())
    if (leftMs === undefined || leftMs > 0) return leftMs === undefined ? undefined : { requeueAfterMs: leftMs }
    // The time may have been changed since: the server is asked before something is deleted for good.
    const job = await jobs.get(name, { namespace }).catch((error: unknown) => {
      if (!isNotFound(error)) throw error
      return undefined
    })
    const freshMs = ttlLeftMs(job, clock.now())
    if (freshMs === undefined || freshMs > 0) return freshMs === undefined ? undefined : { requeueAfterMs: freshMs }
    const options = { namespace, uid: job?.metadata?.uid, propagationPolicy: 'Foreground' } as const
    await ignoreNotFound(jobs.delete(name, options))
    return undefined
  }

  return runController({
    name: 'ttl-after-finished',
    sources: [fromInformer(informers.jobs, (job) => (ttlLeftMs(job, 0) === undefined ? [] : [keyOf(job)]))],
    reconcile,
    signal,
    onError,
    clock,
  })
}

/** How long a finished job is kept; undefined while it is kept for good. */
export function ttlLeftMs(job: Job | undefined, now: number): number | undefined {
  const end = job && finishedCondition(job)
  const ttl = job?.spec?.ttlSecondsAfterFinished
  if (end?.lastTransitionTime === undefined || ttl === undefined) return undefined
  if (job?.metadata?.deletionTimestamp !== undefined) return undefined
  return Date.parse(end.lastTransitionTime) + ttl * 1000 - now
}
