import { describe, it } from 'node:test'
import { systemClock } from '@fairlead/kube/controller'
import type { Clock } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { isReady, openWorld, skipReason, until } from './testing/world.ts'

const HOUR_MS = 3_600_000
const LONGEST_WAIT_MS = 1000

/** The machine's clock, an hour fast until it is set right. Nobody waits for long. */
function createFastClock(): Clock & { setBack(): void } {
  let aheadMs = HOUR_MS
  return {
    now: () => systemClock.now() + aheadMs,
    schedule: (delayMs, callback) => systemClock.schedule(Math.min(delayMs, LONGEST_WAIT_MS), callback),
    setBack: () => void (aheadMs = 0),
  }
}

const stubborn = { args: ['trap "" TERM; while true; do sleep 1; done'] }

describe('node agent whose clock is set back by an hour', { skip: skipReason() }, () => {
  it('starts containers again that wait, and kills those that do not end', async () => {
    await using world = await openWorld()
    const clock = createFastClock()
    await world.startAgent({ clock })
    await world.createPod('crashing', { args: ['exit 3'] })
    await world.createPod('stubborn', stubborn, { terminationGracePeriodSeconds: 30 })
    await world.pod('stubborn', isReady, 'is ready')
    const waiting = await world.pod('crashing', ({ status }) => reasonOf(status) === 'CrashLoopBackOff', 'waits')
    await world.client.resource('v1/Pod').delete('stubborn', { namespace: 'default' })
    await until(async () => (await world.events('stubborn')).includes('Killing') || undefined, 'it is told to end')
    clock.setBack()

    const before = waiting.status?.containerStatuses?.[0]?.restartCount ?? 0
    const isAgain = (count = 0): boolean => count > before
    await world.pod(
      'crashing',
      ({ status }) => isAgain(status?.containerStatuses?.[0]?.restartCount),
      'is started again',
    )
    await world.gone('stubborn')
  })
})

function reasonOf(status: Pod['status']): string | undefined {
  return status?.containerStatuses?.[0]?.state?.waiting?.reason
}
