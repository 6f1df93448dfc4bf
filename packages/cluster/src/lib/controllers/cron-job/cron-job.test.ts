import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { CronJob, CronJobSpec } from '@fairlead/kube/types/batch-v1'

import { asTimePasses, createJumpClock } from '../testing/jump-clock.ts'
import { eventually, namesOf, openWorkbench } from '../testing/workbench.ts'

function cronJob(name: string, change: Partial<CronJobSpec> = {}): CronJob {
  const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'task:1' }] } }
  return {
    metadata: { name, namespace: 'default' },
    spec: { schedule: '* * * * *', jobTemplate: { spec: { template } }, ...change },
  }
}

void describe('runCronJobController', () => {
  void it('starts a job each time, keeps the history asked for, and remembers when', async () => {
    const clock = createJumpClock()
    await using bench = await openWorkbench({ clock })
    const { client } = bench
    const cronJobs = client.resource('batch/v1/CronJob')
    const jobs = client.resource('batch/v1/Job')
    await cronJobs.create(cronJob('tick', { successfulJobsHistoryLimit: 1 }))
    const seen = new Set<string>()
    for (let round = 0; round < 3; round += 1) {
      const findFresh = async (): Promise<string[] | false> => {
        const fresh = (await namesOf(jobs, 'default')).filter((one) => !seen.has(one))
        return fresh.length > 0 && fresh
      }
      const [name = ''] = await eventually('a new job', asTimePasses(clock, findFresh))
      seen.add(name)
      const [pod] = await eventually('its pod', async () => {
        const { items } = await client.resource('v1/Pod').list({ labelSelector: `job-name=${name}` })
        return items.length === 1 && items
      })
      const body = { status: { phase: 'Succeeded' } }
      await client
        .resource('v1/Pod')
        .patch(pod?.metadata?.name ?? '', { type: 'merge', body }, { subresource: 'status' })
      await eventually('the success is remembered', async () => {
        const { status } = await cronJobs.get('tick')
        return status?.lastSuccessfulTime !== undefined && (status.active ?? []).length === 0
      })
    }
    await eventually('one job is kept', async () => (await namesOf(jobs, 'default')).length === 1)
    assert.deepEqual(bench.errors, [])
  })

  void it('replaces a job that still runs when told so', async () => {
    const clock = createJumpClock()
    await using bench = await openWorkbench({ clock })
    const { client } = bench
    await client.resource('batch/v1/CronJob').create(cronJob('latest', { concurrencyPolicy: 'Replace' }))
    const activeOf = async (): Promise<string[]> => {
      const { status } = await client.resource('batch/v1/CronJob').get('latest')
      return (status?.active ?? []).map(({ name = '' }) => name)
    }
    const hasOne = async (): Promise<string[] | false> => {
      const active = await activeOf()
      return active.length === 1 && active
    }
    const [first = ''] = await eventually('a job', asTimePasses(clock, hasOne))
    const isAnother = async (): Promise<boolean> => {
      const active = await activeOf()
      return active.length === 1 && active[0] !== first
    }
    await eventually('another one instead', asTimePasses(clock, isAnother))
    assert.deepEqual(bench.errors, [])
  })
})
