import { isAlreadyExists, isNotFound } from '@fairlead/kube'
import { fromInformer, keyOf, renderTime, runController } from '@fairlead/kube/controller'
import type { CronJob, CronJobStatus, Job } from '@fairlead/kube/types/batch-v1'

import { byController } from '../context.ts'
import type { ControllerContext } from '../context.ts'
import { messageOf } from '../../errors.ts'
import { createFreshest } from '../freshest.ts'
import { isNamespaceTerminating } from '../namespaces.ts'
import { controllerOf, keysOfController } from '../ownership.ts'
import { hasStatus, ignoreNotFound } from '../write.ts'
import { decideHistory, decideRun, observeJobs, renderJob } from './cron-plan.ts'
import type { CronStep } from './cron-plan.ts'

/** Starts the job of every CronJob when its time has come, and deletes old ones. */
export function runCronJobController(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const cronJobs = client.resource('batch/v1/CronJob')
  const jobs = client.resource('batch/v1/Job')
  const recorder = context.recorder('cronjob-controller')
  const freshest = createFreshest(informers.cronJobs)
  const changedAt = new Map<string, number>()

  async function reconcile(key: string): Promise<{ requeueAfterMs: number | undefined } | undefined> {
    const cronJob = freshest.get(key)
    if (cronJob?.spec === undefined) {
      changedAt.delete(key)
      return undefined
    }
    const own = informers.jobs
      .byIndex(byController, cronJob.metadata?.uid ?? '')
      .filter(({ metadata }) => metadata?.namespace === cronJob.metadata?.namespace)
    const { status, events } = observeJobs(cronJob, own, await findMissing(cronJob, own))
    for (const event of events) recorder.record(cronJob, event)
    const step = decideRun({ ...cronJob, status }, clock.now(), changedAt.get(key))
    for (const event of step.events) recorder.record(cronJob, event)
    const { status: started, error } = await carryOut(cronJob, status, step)
    const kept = await cleanUp(cronJob, own, started)
    await writeStatus(cronJob, kept)
    if (error !== undefined) throw error
    return { requeueAfterMs: step.requeueAfterMs }
  }

  /** Active jobs the cache does not have may only not have been seen yet: the server is asked. */
  async function findMissing({ metadata, status }: CronJob, own: readonly Job[]): Promise<Set<string>> {
    const known = new Set(own.map((job) => job.metadata?.uid))
    const missing = new Set<string>()
    for (const { name = '', namespace = metadata?.namespace, uid = '' } of status?.active ?? []) {
      if (!known.has(uid) && (await findJob(name, namespace)) === undefined) missing.add(uid)
    }
    return missing
  }

  function findJob(name: string, namespace: string | undefined): Promise<Job | undefined> {
    return jobs.get(name, { namespace }).catch((error: unknown) => {
      if (!isNotFound(error)) throw error
      return undefined
    })
  }

  /** A failure comes back with the status, so that what was done before it is written. */
  async function carryOut(
    cronJob: CronJob,
    status: CronJobStatus,
    step: CronStep,
  ): Promise<{ status: CronJobStatus; error?: unknown }> {
    if (step.act === 'wait') return { status }
    let current = status
    try {
      for (const { name = '', uid, namespace } of step.replaces) {
        const job = await findJob(name, namespace)
        if (job !== undefined && !(await deleteJob(cronJob, job))) {
          throw new Error(`could not replace job ${namespace}/${name}`)
        }
        current = { ...current, active: (current.active ?? []).filter((reference) => reference.uid !== uid) }
      }
      return { status: await start(cronJob, current, step.scheduledAt) }
    } catch (error) {
      return { status: current, error: isNamespaceTerminating(error) ? undefined : error }
    }
  }

  async function start(cronJob: CronJob, status: CronJobStatus, scheduledAt: number): Promise<CronJobStatus> {
    const wanted = renderJob(cronJob, scheduledAt)
    const job = await createJob(cronJob, wanted)
    const { name, namespace, uid, resourceVersion } = job?.metadata ?? {}
    const isKnown = status.active?.some((reference) => reference.uid === uid) === true
    if (job === undefined || isKnown) return status
    const reference = { apiVersion: 'batch/v1', kind: 'Job', name, namespace, uid, resourceVersion }
    return { ...status, active: [...(status.active ?? []), reference], lastScheduleTime: renderTime(scheduledAt) }
  }

  /** The job of that time, made now or before; undefined when somebody else has one of its name. */
  async function createJob(cronJob: CronJob, wanted: Job): Promise<Job | undefined> {
    const { name = '', namespace } = wanted.metadata ?? {}
    try {
      const job = await jobs.create(wanted)
      recorder.record(cronJob, { type: 'Normal', reason: 'SuccessfulCreate', message: `Created job ${name}` })
      return job
    } catch (error) {
      if (isAlreadyExists(error)) {
        const job = await findJob(name, namespace)
        return job !== undefined && controllerOf(job)?.uid === cronJob.metadata?.uid ? job : undefined
      }
      if (!isNamespaceTerminating(error)) {
        const message = `Error creating job: ${messageOf(error)}`
        recorder.record(cronJob, { type: 'Warning', reason: 'FailedCreate', message })
      }
      throw error
    }
  }

  async function cleanUp(cronJob: CronJob, own: readonly Job[], status: CronJobStatus): Promise<CronJobStatus> {
    const deleted = new Set<string | undefined>()
    for (const job of decideHistory(cronJob, own)) {
      const isGoing = job.metadata?.deletionTimestamp !== undefined
      if (!isGoing && (await deleteJob(cronJob, job))) deleted.add(job.metadata?.uid)
    }
    return { ...status, active: (status.active ?? []).filter(({ uid }) => !deleted.has(uid)) }
  }

  async function deleteJob(cronJob: CronJob, { metadata }: Job): Promise<boolean> {
    const { name = '', namespace, uid } = metadata ?? {}
    try {
      await ignoreNotFound(jobs.delete(name, { namespace, uid, propagationPolicy: 'Background' }))
    } catch (error) {
      const message = `Deleted job: ${messageOf(error)}`
      recorder.record(cronJob, { type: 'Warning', reason: 'FailedDelete', message })
      return false
    }
    recorder.record(cronJob, { type: 'Normal', reason: 'SuccessfulDelete', message: `Deleted job ${name}` })
    return true
  }

  async function writeStatus(cronJob: CronJob, { active = [], ...rest }: CronJobStatus): Promise<void> {
    const status = { ...rest, ...(active.length > 0 && { active }) }
    if (hasStatus(cronJob, status)) return
    const written = await ignoreNotFound(cronJobs.updateStatus({ ...cronJob, status }))
    if (written !== undefined) freshest.put(written)
  }

  return runController({
    name: 'cronjob',
    sources: [
      fromInformer(informers.cronJobs, (cronJob, _event, old) => {
        const key = keyOf(cronJob)
        if (old !== undefined && isRescheduled(cronJob, old)) changedAt.set(key, clock.now())
        return [key]
      }),
      fromInformer(informers.jobs, (job) => keysOfController(job, 'CronJob')),
    ],
    reconcile,
    concurrency: 4,
    signal,
    onError,
    clock,
  })
}

function isRescheduled({ spec }: CronJob, old: CronJob): boolean {
  return spec?.schedule !== old.spec?.schedule || spec?.timeZone !== old.spec?.timeZone
}
