import type { EventDetails } from '@fairlead/kube/controller'
import { renderTime } from '@fairlead/kube/controller'
import type { CronJob, CronJobStatus, Job } from '@fairlead/kube/types/batch-v1'

import { parseSchedule } from '../../cron/schedule.ts'
import type { Schedule } from '../../cron/schedule.ts'
import { findTimeZone, renderZonedTime } from '../../cron/time-zone.ts'
import { finishedCondition } from '../job/job-facts.ts'
import { controllerReference } from '../ownership.ts'

const scheduledAtKey = 'batch.kubernetes.io/cronjob-scheduled-timestamp'
/** A little after the full minute, so that a clock that is behind does not wake up before it. */
const delayMs = 100
/** More missed runs than this are told by an event (TooManyMissedTimes). */
const manyMissed = 100

/** What jobs of a CronJob mean for its status. */
export interface Observation {
  readonly status: CronJobStatus
  readonly events: readonly EventDetails[]
}

/** Takes finished jobs out of the active ones; `missing` are the uids of active jobs that are no longer there. */
export function observeJobs(cronJob: CronJob, jobs: readonly Job[], missing: ReadonlySet<string>): Observation {
  const events: EventDetails[] = []
  const tell = (reason: string, message: string, type: EventDetails['type'] = 'Normal'): void => {
    events.push({ type, reason, message })
  }
  let { active = [], lastSuccessfulTime } = cronJob.status ?? {}
  for (const job of jobs) {
    const { name = '', uid } = job.metadata ?? {}
    const end = finishedCondition(job)
    const isActive = active.some((reference) => reference.uid === uid)
    if (end === undefined && !isActive) {
      tell('UnexpectedJob', `Saw a job that the controller did not create or forgot: ${name}`, 'Warning')
    }
    if (end === undefined) continue
    if (isActive) tell('SawCompletedJob', `Saw completed job: ${name}, condition: ${end.type}`)
    active = active.filter((reference) => reference.uid !== uid)
    if (end.type === 'Complete') lastSuccessfulTime = later(lastSuccessfulTime, job.status?.completionTime)
  }
  for (const { name = '', uid = '' } of active) {
    if (missing.has(uid)) tell('MissingJob', `Active job went missing: ${name}`)
  }
  const status = { ...cronJob.status, active: active.filter(({ uid = '' }) => !missing.has(uid)), lastSuccessfulTime }
  return { status, events }
}

function later(one: string | undefined, other: string | undefined): string | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return Date.parse(other) > Date.parse(one) ? other : one
}

export type CronStep =
  /** Nothing to start; look again after `requeueAfterMs`, if ever. */
  | { readonly act: 'wait'; readonly requeueAfterMs?: number | undefined; readonly events: readonly EventDetails[] }
  /** Starts the job of the time `scheduledAt` (milliseconds since 1970), after those of `replaces` are deleted. */
  | {
      readonly act: 'start'
      readonly scheduledAt: number
      readonly replaces: NonNullable<CronJobStatus['active']>
      readonly requeueAfterMs?: number | undefined
      readonly events: readonly EventDetails[]
    }

/**
 * Whether a job is due; `cronJob` carries the status that {@link observeJobs} gave. Times before `changedAt`, when the
 * schedule became another, are not made up for.
 */
export function decideRun(cronJob: CronJob, now: number, changedAt = 0): CronStep {
  const { spec, status, metadata } = cronJob
  if (spec === undefined || metadata?.deletionTimestamp !== undefined) return { act: 'wait', events: [] }
  const zone = findTimeZone(spec.timeZone)
  if (zone === undefined) {
    const message = `invalid timeZone: ${JSON.stringify(spec.timeZone)}: unknown time zone ${spec.timeZone}`
    return { act: 'wait', events: [warning('UnknownTimeZone', message)] }
  }
  if (spec.suspend === true) return { act: 'wait', events: [] }
  const { schedule, problem } = parseSchedule(spec.schedule, zone)
  if (schedule === undefined) {
    const message = `unparseable schedule: ${JSON.stringify(spec.schedule)} : ${problem}`
    return { act: 'wait', events: [warning('UnparseableSchedule', message)] }
  }
  const events = spec.schedule.includes('TZ') ? [unsupportedSchedule(spec.schedule)] : []
  const due = findDue(cronJob, schedule, { now, changedAt, deadlineSeconds: spec.startingDeadlineSeconds })
  if (due === undefined) return { act: 'wait', events: [...events, neverDue(spec.schedule)] }
  const { dueAt, missed } = due
  const requeueAfterMs = nextLookMs(cronJob, schedule, { now, changedAt })
  if (dueAt === undefined) return { act: 'wait', requeueAfterMs, events }
  if (missed > manyMissed) events.push(tooManyMissed)
  const obstacle = findObstacle(cronJob, dueAt, now)
  if (obstacle !== undefined) return { act: 'wait', requeueAfterMs, events: [...events, ...obstacle] }
  const replaces = spec.concurrencyPolicy === 'Replace' ? (status?.active ?? []) : []
  return { act: 'start', scheduledAt: dueAt, replaces, requeueAfterMs, events }
}

function warning(reason: string, message: string): EventDetails {
  return { type: 'Warning', reason, message }
}

const tooManyMissed = warning(
  'TooManyMissedTimes',
  'too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew',
)

function unsupportedSchedule(schedule: string): EventDetails {
  const page = 'https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/'
  const message = `CRON_TZ or TZ used in schedule ${JSON.stringify(schedule)} is not officially supported, see ${page} for more details`
  return warning('UnsupportedSchedule', message)
}

function neverDue(schedule: string): EventDetails {
  const why = 'time difference between two schedules is less than 1 second'
  return warning('InvalidSchedule', `invalid schedule: ${schedule} : ${why}`)
}

/** Why the job of a time is not started, as events: none when it has been already. */
function findObstacle({ metadata, spec, status }: CronJob, dueAt: number, now: number): EventDetails[] | undefined {
  const { startingDeadlineSeconds: deadline = Infinity } = spec ?? {}
  if (dueAt + deadline * 1000 < now) {
    return [warning('MissSchedule', `Missed scheduled time to start a job: ${renderRfc1123(dueAt)}`)]
  }
  const name = jobName(metadata?.name ?? '', dueAt)
  const isStarted = status?.active?.some((reference) => reference.name === name) === true
  if (isStarted || (status?.lastScheduleTime !== undefined && Date.parse(status.lastScheduleTime) === dueAt)) return []
  if (spec?.concurrencyPolicy !== 'Forbid' || (status?.active ?? []).length === 0) return undefined
  const message = 'Not starting job because prior execution is running and concurrency policy is Forbid'
  return [{ type: 'Normal', reason: 'JobAlreadyActive', message }]
}

/** Such as `Sat, 21 Nov 2026 18:00:00 +0000`. */
function renderRfc1123(ms: number): string {
  return new Date(ms).toUTCString().replace('GMT', '+0000')
}

interface Due {
  /** Times before this one are past. */
  readonly since: number
  /** The last time that is due, of perhaps many. */
  readonly dueAt?: number | undefined
  /** How many times have come since, estimated from the distance of the first two. */
  readonly missed: number
}

interface DueOptions {
  readonly now: number
  readonly changedAt: number
  readonly deadlineSeconds?: number | undefined
}

/**
 * The last time a job was to start since the last one did, or within the deadline; undefined for a schedule that names times which
 * never come, such as 31 February.
 */
function findDue({ metadata, status }: CronJob, schedule: Schedule, options: DueOptions): Due | undefined {
  const { now, changedAt, deadlineSeconds } = options
  const startedAt = Date.parse(status?.lastScheduleTime ?? metadata?.creationTimestamp ?? renderTime(now))
  const lastAt = Math.max(startedAt, changedAt)
  const since = deadlineSeconds === undefined ? lastAt : Math.max(lastAt, now - deadlineSeconds * 1000)
  const first = schedule.next(since)
  if (first === undefined) return undefined
  if (now < first) return { since, missed: 0 }
  const second = schedule.next(first)
  if (second === undefined) return undefined
  if (now < second) return { since, dueAt: first, missed: 1 }
  const distanceMs = second - first
  const missed = Math.floor((now - first) / distanceMs) + 1
  // Counting one by one would take long after a long time; times at uneven distances are found from a little before.
  let dueAt: number | undefined
  let next = schedule.next(first + (missed - 2) * distanceMs)
  while (next !== undefined && next <= now) {
    dueAt = next
    next = schedule.next(next)
  }
  return { since, dueAt, missed }
}

function nextLookMs(cronJob: CronJob, schedule: Schedule, options: DueOptions): number | undefined {
  const { now } = options
  const { since, dueAt, missed } = findDue(cronJob, schedule, options) ?? { since: now, dueAt: undefined, missed: 0 }
  const next = schedule.next(dueAt ?? (missed === 0 ? since : now))
  return next === undefined ? undefined : Math.max(0, next + delayMs - now)
}

/** The same name for the same time: a job is not started twice, whatever is forgotten. */
function jobName(cronJobName: string, scheduledAt: number): string {
  return `${cronJobName}-${Math.floor(scheduledAt / 60_000)}`
}

export function renderJob(cronJob: CronJob, scheduledAt: number): Job {
  const { name = '', namespace } = cronJob.metadata ?? {}
  const { jobTemplate, timeZone } = cronJob.spec ?? {}
  const zone = findTimeZone(timeZone ?? 'UTC')
  const annotation = zone && { [scheduledAtKey]: renderZonedTime(scheduledAt, zone) }
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: jobName(name, scheduledAt),
      namespace,
      labels: { ...jobTemplate?.metadata?.labels },
      annotations: { ...jobTemplate?.metadata?.annotations, ...annotation },
      ownerReferences: [controllerReference(cronJob)],
    },
    spec: jobTemplate?.spec,
  }
}

/** Finished jobs beyond the history that is kept, oldest first. */
export function decideHistory({ spec }: CronJob, jobs: readonly Job[]): Job[] {
  const beyond = (type: string, limit: number | undefined): Job[] => {
    const finished = jobs.filter((job) => finishedCondition(job)?.type === type).toSorted(compareStart)
    return limit === undefined ? [] : finished.slice(0, Math.max(0, finished.length - limit))
  }
  return [...beyond('Complete', spec?.successfulJobsHistoryLimit), ...beyond('Failed', spec?.failedJobsHistoryLimit)]
}

function compareStart(a: Job, b: Job): number {
  const start = ({ status }: Job): number => (status?.startTime === undefined ? Infinity : Date.parse(status.startTime))
  const [left, right] = [start(a), start(b)]
  return left === right ? (a.metadata?.name ?? '').localeCompare(b.metadata?.name ?? '') : left - right
}
