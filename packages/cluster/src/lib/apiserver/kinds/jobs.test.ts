import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { CronJobSpec, Job, JobSpec, JobStatus } from '@fairlead/kube/types/batch-v1'
import type { KubeObject } from '@fairlead/kube/types'

import type { KindStrategy } from '../strategy.ts'
import { cronJob, job } from './jobs.ts'

const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'task:1' }] } }
const metadata = { name: 'sum', namespace: 'shop', uid: 'u1' }

function create(strategy: KindStrategy, spec: object, name = 'sum'): { stored: KubeObject; errors: string[] } {
  const stored = structuredClone({ apiVersion: 'batch/v1', kind: 'Job', metadata: { ...metadata, name }, spec })
  strategy.create?.(stored)
  strategy.default?.(stored)
  return { stored, errors: told(strategy.validate?.(stored, undefined)) }
}

function told(errors: readonly { field: string; message: string }[] | undefined): string[] {
  return (errors ?? []).map(({ field, message }) => `${field}: ${message}`)
}

void describe('job', () => {
  void it('gets the defaults of batch/v1, its own selector, and the labels of its pods', () => {
    const { stored, errors } = create(job, {
      template,
      backoffLimitPerIndex: 1,
      completions: 2,
      completionMode: 'Indexed',
    })
    assert.deepEqual(errors, [])
    const { spec } = stored as Job
    const labels = {
      'batch.kubernetes.io/controller-uid': 'u1',
      'batch.kubernetes.io/job-name': 'sum',
      'controller-uid': 'u1',
      'job-name': 'sum',
    }
    assert.deepEqual(spec?.selector, { matchLabels: { 'batch.kubernetes.io/controller-uid': 'u1' } })
    assert.deepEqual(spec?.template.metadata?.labels, labels)
    assert.deepEqual(stored.metadata.labels, labels)
    assert.equal(spec?.backoffLimit, 2_147_483_647)
    assert.equal(spec?.podReplacementPolicy, 'TerminatingOrFailed')
  })

  const indexed = { template, completions: 3, completionMode: 'Indexed' }
  const onExitCodes = { operator: 'In', values: [1] }
  const cases: { name: string; spec: Partial<JobSpec>; error: RegExp }[] = [
    {
      name: 'a pod that restarts forever',
      spec: { template: { spec: { ...template.spec, restartPolicy: 'Always' } } },
      error: /^spec\.template\.spec\.restartPolicy: Required value: valid values: "OnFailure", "Never"$/,
    },
    {
      name: 'indexes without completions',
      spec: { template, completionMode: 'Indexed', parallelism: 1 },
      error: /^spec\.completions: Required value: when completion mode is Indexed$/,
    },
    {
      name: 'a limit per index without indexes',
      spec: { template, backoffLimitPerIndex: 1 },
      error: /^spec\.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode$/,
    },
    {
      name: 'more failed indexes than there are',
      spec: { ...indexed, backoffLimitPerIndex: 1, maxFailedIndexes: 4 },
      error: /^spec\.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions$/,
    },
    {
      name: 'a manager without a domain',
      spec: { template, managedBy: 'robot' },
      error: /^spec\.managedBy: Invalid value: "robot": must be a domain-prefixed path/,
    },
    {
      name: 'a rule that asks for nothing',
      spec: { template, podFailurePolicy: { rules: [{ action: 'Ignore' }] } },
      error:
        /^spec\.podFailurePolicy\.rules\[0\]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required$/,
    },
    {
      name: 'an action for indexes without a limit per index',
      spec: { template, podFailurePolicy: { rules: [{ action: 'FailIndex', onExitCodes }] } },
      error:
        /^spec\.podFailurePolicy\.rules\[0\]\.action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set$/,
    },
    {
      name: 'the exit code of success among failures',
      spec: {
        template,
        podFailurePolicy: { rules: [{ action: 'Count', onExitCodes: { operator: 'In', values: [0] } }] },
      },
      error:
        /^spec\.podFailurePolicy\.rules\[0\]\.onExitCodes\.values\[0\]: Invalid value: 0: must not be 0 for the In operator$/,
    },
    {
      name: 'rules for failures of pods that are restarted in place',
      spec: {
        template: { spec: { ...template.spec, restartPolicy: 'OnFailure' } },
        podFailurePolicy: { rules: [{ action: 'Count', onExitCodes }] },
      },
      error:
        /^spec\.template\.spec\.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified$/,
    },
    {
      name: 'replacing pods that have not failed, with rules for failures',
      spec: {
        template,
        podReplacementPolicy: 'TerminatingOrFailed',
        podFailurePolicy: { rules: [{ action: 'Count', onExitCodes }] },
      },
      error: /^spec\.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"$/,
    },
    {
      name: 'success of indexes that do not exist',
      spec: { ...indexed, successPolicy: { rules: [{ succeededIndexes: '0,5' }] } },
      error:
        /^spec\.successPolicy\.rules\[0\]\.succeededIndexes: Invalid value: "0,5": error parsing succeededIndexes: too large index: "5"$/,
    },
    {
      name: 'labels of another job',
      spec: { template: { ...template, metadata: { labels: { 'job-name': 'other' } } } },
      error: /^spec\.template\.metadata\.labels\[job-name\]: Invalid value: "other": must be 'sum'$/,
    },
  ]
  for (const { name, spec, error } of cases) {
    void it(`refuses ${name}`, () => {
      const { errors } = create(job, spec)
      assert.equal(errors.length, 1, errors.join('\n'))
      assert.match(errors[0] ?? '', error)
    })
  }

  void it('refuses indexes whose pods would have no host name', () => {
    const { errors } = create(job, indexed, 'a'.repeat(62))
    assert.match(
      errors[0] ?? '',
      /^metadata\.name: Invalid value: "a+": will not able to create pod with invalid DNS label: a+-2$/,
    )
  })

  const update = (before: Partial<JobSpec>, after: Partial<JobSpec>, status: JobStatus = {}): string[] => {
    const old = create(job, { template, ...before }).stored
    const wanted = create(job, { template, ...after }).stored
    old['status'] = status
    return told(job.validate?.(wanted, old))
  }

  void it('keeps what it is, except for its number of indexes together with how many run at once', () => {
    assert.match(update({ completions: 2 }, { completions: 3 })[0] ?? '', /^spec\.completions: .*field is immutable$/)
    assert.deepEqual(update({ ...indexed, parallelism: 3 }, { ...indexed, parallelism: 2, completions: 2 }), [])
    assert.match(
      update({ ...indexed, parallelism: 3 }, { ...indexed, parallelism: 3, completions: 2 })[0] ?? '',
      /can only be modified in tandem with spec\.parallelism$/,
    )
  })

  void it('may be moved to other nodes only while it is suspended and has no pods', () => {
    const moved = { suspend: true, template: { spec: { ...template.spec, nodeSelector: { disk: 'fast' } } } }
    assert.deepEqual(update({ suspend: true }, moved), [])
    assert.match(update({}, moved)[0] ?? '', /^spec\.template: .*field is immutable$/s)
    const running = { startTime: '2026-01-01T00:00:00Z', active: 1 }
    assert.match(update({ suspend: true }, moved, running)[0] ?? '', /^spec\.template: .*field is immutable$/s)
    const otherImage = {
      suspend: true,
      template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'x' }] } },
    }
    assert.match(update({ suspend: true }, otherImage)[0] ?? '', /^spec\.template\.spec: .*field is immutable$/s)
  })

  const condition = (type: string): { type: string; status: string } => ({ type, status: 'True' })
  const startTime = '2026-01-01T00:00:00Z'
  const completionTime = '2026-01-01T00:01:00Z'
  const statuses: { name: string; status: JobStatus; old?: JobStatus; error?: RegExp }[] = [
    {
      name: 'takes the end of a job',
      status: { startTime, completionTime, conditions: [condition('SuccessCriteriaMet'), condition('Complete')] },
    },
    {
      name: 'refuses success that was not announced',
      status: { startTime, completionTime, conditions: [condition('Complete')] },
      error: /without the SuccessCriteriaMet=true condition$/,
    },
    {
      name: 'refuses an end with pods at work',
      status: { startTime, active: 1, conditions: [condition('FailureTarget'), condition('Failed')] },
      error: /^status\.active: .*active>0 is invalid for finished job$/,
    },
    {
      name: 'refuses to forget failures',
      old: { failed: 2 },
      status: { failed: 1 },
      error: /cannot decrease the failed counter$/,
    },
    {
      name: 'refuses another start',
      old: { startTime },
      status: { startTime: completionTime },
      error: /field is immutable for unsuspended job once set$/,
    },
    {
      name: 'refuses to go back',
      old: { conditions: [condition('FailureTarget')] },
      status: {},
      error: /cannot disable the terminal FailureTarget=True condition$/,
    },
    {
      name: 'refuses indexes of a job without',
      status: { completedIndexes: '0' },
      error: /when non-indexed completion mode$/,
    },
  ]
  for (const { name, status, old = {}, error } of statuses) {
    void it(name, () => {
      const before = { ...create(job, { template }).stored, status: old }
      const errors = told(job.validateStatus?.({ ...before, status }, before))
      assert.equal(errors.length, error === undefined ? 0 : 1, errors.join('\n'))
      if (error !== undefined) assert.match(errors[0] ?? '', error)
    })
  }
})

void describe('cronJob', () => {
  const spec = { schedule: '0 * * * *', jobTemplate: { spec: { template } } }
  const errorsOf = (change: Partial<CronJobSpec>, name?: string): string[] =>
    create(cronJob, { ...spec, ...change }, name).errors

  void it('takes a good one', () => assert.deepEqual(errorsOf({ timeZone: 'Europe/Berlin' }), []))

  for (const { name, change, error } of [
    {
      name: 'a schedule that is none',
      change: { schedule: '* * * *' },
      error: /^spec\.schedule: Invalid value: "\* \* \* \*": expected exactly 5 fields, found 4/,
    },
    {
      name: 'a zone in the schedule',
      change: { schedule: 'TZ=UTC 0 * * * *' },
      error: /cannot use TZ or CRON_TZ in schedule, use timeZone field instead$/,
    },
    {
      name: 'an unknown zone',
      change: { timeZone: 'Moon/Base' },
      error: /^spec\.timeZone: Invalid value: "Moon\/Base": unknown time zone Moon\/Base$/,
    },
    { name: 'the zone of the machine', change: { timeZone: 'Local' }, error: /must be an explicit time zone/ },
    {
      name: 'another policy',
      change: { concurrencyPolicy: 'Queue' },
      error: /^spec\.concurrencyPolicy: Unsupported value: "Queue"/,
    },
    {
      name: 'a selector for its jobs',
      change: { jobTemplate: { spec: { template, selector: {} } } },
      error: /^spec\.jobTemplate\.spec\.selector: Invalid value: \{\}: `selector` will be auto-generated$/,
    },
  ]) {
    void it(`refuses ${name}`, () => {
      const errors = errorsOf(change)
      assert.equal(errors.length, 1, errors.join('\n'))
      assert.match(errors[0] ?? '', error)
    })
  }

  void it('refuses a name that leaves no room for a time', () => {
    assert.deepEqual(errorsOf({}, 'a'.repeat(52)), [])
    assert.match(errorsOf({}, 'a'.repeat(53))[0] ?? '', /must be no more than 52 characters$/)
  })
})
