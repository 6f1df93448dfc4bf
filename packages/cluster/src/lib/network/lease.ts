import { openDeathWatch } from './death-watch.ts'
import type { DeathWatch } from './death-watch.ts'
import type { LastWill } from './death-watch.ts'
import { gatewayOf, tableName } from './plan.ts'
import type { NetworkPlan } from './plan.ts'
import type { RuleWriter } from './rule-writer.ts'
import { leaseSet } from './rules.ts'

/**
 * Connections are redirected to this process only as long as it lives; without it they go to the endpoints. Three things see to that. A
 * shell takes the redirection away at the moment the process is gone. Should it be gone too, the lease ends by itself. And a connection
 * of a pod that is led here in that moment is not refused (arrivals.ts): the pod asks again after a second, and is led to an endpoint.
 */
export interface Lease {
  /** Begins the redirection, or makes sure of it after the table was made anew; resolves when it is in force. */
  hold(): Promise<void>
  /** Ends it; resolves when that is in force. */
  release(): Promise<void>
}

/** Long beside what may hold the process up, as connections then miss their route. */
const leaseSeconds = 15
const renewMs = 5_000

export function openLease(
  plan: NetworkPlan,
  writer: RuleWriter,
  { onError }: { readonly onError?: ((error: unknown) => void) | undefined } = {},
): Lease {
  const set = `ip ${tableName(plan)} ${leaseSet}`
  const { rules: end } = lastWill(plan)
  // Emptied before: a member's time is not prolonged by adding it again.
  const renewal = [end, `add element ${set} { tcp timeout ${leaseSeconds}s }`]
  let timer: NodeJS.Timeout | undefined
  let watch: DeathWatch | undefined

  return {
    async hold() {
      await writer.apply(renewal)
      watch ??= openDeathWatch(lastWill(plan))
      timer ??= setInterval(() => void writer.apply(renewal).catch((error: unknown) => onError?.(error)), renewMs)
      timer.unref()
    },
    async release() {
      if (timer === undefined) return
      clearInterval(timer)
      timer = undefined
      // Before nobody sees to it any more.
      await writer.apply([end])
      watch?.[Symbol.dispose]()
      watch = undefined
    },
  }
}

/** What ends a lease without its holder. */
export function lastWill(plan: NetworkPlan): LastWill {
  return {
    rules: `flush set ip ${tableName(plan)} ${leaseSet}`,
    // Connections that this process reset as it went are remembered for 10 s: who asks from the same port would be led here again, and refused.
    flows: ['-p', 'tcp', '--state', 'CLOSE', '--reply-src', gatewayOf(plan)],
  }
}
