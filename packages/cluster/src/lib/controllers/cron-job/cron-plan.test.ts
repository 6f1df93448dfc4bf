import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { CronJob, CronJobSpec, CronJobStatus, Job } from '@fairlead/kube/types/batch-v1'

import { decideHistory, decideRun, observeJobs, renderJob } from './cron-plan.ts'
import type { CronStep } from './cron-plan.ts'

const at = (time: string): string => `2026-05-04T${time}:00Z`

function cronJob(spec: Partial<CronJobSpec> = {}, status: CronJobStatus = {}, created = '10:00'): CronJob {
  return {
    metadata: { name: 'tick', namespace: 'shop', uid: 'c', creationTimestamp: at(created) },
    spec: { schedule: '0 * * * *', timeZone: 'UTC', jobTemplate: { spec: { template: {} } }, ...spec },
    status,
  }
}

const active = [{ name: 'tick-other', uid: 'j', namespace: 'shop' }]

function summary(step: CronStep): unknown {
  const reasons = step.events.map(({ reason }) => reason)
  return step.act === 'start'
    ? { start: new Date(step.scheduledAt).toISOString().slice(11, 16), replaces: step.replaces.length, reasons }
    : { reasons }
}

void describe('decideRun', () => {
  const start = (time: string, reasons: string[] = [], replaces = 0): unknown => ({ start: time, replaces, reasons })
  const wait = (...reasons: string[]): unknown => ({ reasons })
  const cases: { name: string; cronJob: CronJob; now: string; expected: unknown; changedAt?: string }[] = [
    { name: 'waits for the first time', cronJob: cronJob(), now: '10:59', expected: wait() },
    { name: 'starts when it is time', cronJob: cronJob(), now: '11:00', expected: start('11:00') },
    { name: 'starts late rather than never', cronJob: cronJob(), now: '11:40', expected: start('11:00') },
    { name: 'starts only the last of many', cronJob: cronJob(), now: '15:20', expected: start('15:00') },
    {
      name: 'tells of many missed times',
      cronJob: cronJob({ schedule: '* * * * *' }),
      now: '12:30',
      expected: start('12:30', ['TooManyMissedTimes']),
    },
    {
      name: 'looks back no further than the deadline',
      cronJob: cronJob({ schedule: '* * * * *', startingDeadlineSeconds: 200 }),
      now: '12:30',
      expected: start('12:30'),
    },
    {
      name: 'does not start twice',
      cronJob: cronJob({}, { lastScheduleTime: at('11:00') }),
      now: '11:30',
      expected: wait(),
    },
    {
      name: 'misses a time that is too long ago',
      cronJob: cronJob({ startingDeadlineSeconds: 60 }),
      now: '11:02',
      expected: wait(),
    },
    { name: 'rests while suspended', cronJob: cronJob({ suspend: true }), now: '11:00', expected: wait() },
    {
      name: 'lets the one before end when told to forbid',
      cronJob: cronJob({ concurrencyPolicy: 'Forbid' }, { active }),
      now: '11:00',
      expected: wait('JobAlreadyActive'),
    },
    {
      name: 'replaces the one before when told so',
      cronJob: cronJob({ concurrencyPolicy: 'Replace' }, { active }),
      now: '11:00',
      expected: start('11:00', [], 1),
    },
    {
      name: 'follows the clocks of its zone',
      cronJob: cronJob({ schedule: '0 14 * * *', timeZone: 'Europe/Berlin' }),
      now: '12:00',
      expected: start('12:00'),
    },
    {
      name: 'says that a zone is unknown',
      cronJob: cronJob({ timeZone: 'X/Y' }),
      now: '11:00',
      expected: wait('UnknownTimeZone'),
    },
    {
      name: 'says that a schedule is none',
      cronJob: cronJob({ schedule: 'x' }),
      now: '11:00',
      expected: wait('UnparseableSchedule'),
    },
    {
      name: 'says that a schedule names a day which never comes',
      cronJob: cronJob({ schedule: '59 23 31 2 *' }),
      now: '11:00',
      expected: wait('InvalidSchedule'),
    },
    {
      name: 'makes up for nothing before the schedule was changed',
      cronJob: cronJob(),
      now: '11:30',
      changedAt: '11:10',
      expected: wait(),
    },
  ]
  for (const { name, cronJob: given, now, expected, changedAt } of cases) {
    void it(name, () => {
      const changed = changedAt === undefined ? 0 : Date.parse(at(changedAt))
      assert.deepEqual(summary(decideRun(given, Date.parse(at(now)), changed)), expected)
    })
  }

  void it('looks again just after the next time', () => {
    assert.equal(decideRun(cronJob(), Date.parse(at('10:59'))).requeueAfterMs, 60_100)
    assert.equal(decideRun(cronJob(), Date.parse(at('11:00'))).requeueAfterMs, 3_600_100)
  })
})

void describe('renderJob', () => {
  void it('is named by its time, and told when that was', () => {
    const { metadata } = renderJob(cronJob({ timeZone: 'America/New_York' }), Date.parse(at('11:00')))
    assert.equal(metadata?.name, 'tick-29631540')
    assert.equal(
      metadata?.annotations?.['batch.kubernetes.io/cronjob-scheduled-timestamp'],
      '2026-05-04T07:00:00-04:00',
    )
    assert.equal(metadata?.ownerReferences?.[0]?.uid, 'c')
  })
})

const job = (name: string, end?: 'Complete' | 'Failed', completionTime?: string): Job => ({
  metadata: { name, uid: name, namespace: 'shop' },
  status: {
    startTime: at(`0${name.length}:00`),
    conditions: end === undefined ? [] : [{ type: end, status: 'True' }],
    completionTime,
  },
})

void describe('observeJobs', () => {
  void it('forgets what ended or is gone, and remembers the last success', () => {
    const known = ['done', 'bad', 'runs', 'gone'].map((name) => ({ name, uid: name }))
    const jobs = [job('done', 'Complete', at('11:05')), job('bad', 'Failed'), job('runs'), job('by-hand')]
    const { status, events } = observeJobs(cronJob({}, { active: known }), jobs, new Set(['gone']))
    assert.deepEqual(
      status.active?.map(({ name }) => name),
      ['runs'],
    )
    assert.equal(status.lastSuccessfulTime, at('11:05'))
    assert.deepEqual(
      events.map(({ message }) => message),
      [
        'Saw completed job: done, condition: Complete',
        'Saw completed job: bad, condition: Failed',
        'Saw a job that the controller did not create or forgot: by-hand',
        'Active job went missing: gone',
      ],
    )
  })
})

void describe('decideHistory', () => {
  void it('keeps the newest of each kind', () => {
    const jobs = [job('ccc', 'Complete'), job('a', 'Complete'), job('bb', 'Complete'), job('f', 'Failed'), job('dddd')]
    const limits = { successfulJobsHistoryLimit: 1, failedJobsHistoryLimit: 1 }
    assert.deepEqual(
      decideHistory(cronJob(limits), jobs).map(({ metadata }) => metadata?.name),
      ['a', 'bb'],
    )
    assert.deepEqual(decideHistory(cronJob(), jobs), [])
  })
})
