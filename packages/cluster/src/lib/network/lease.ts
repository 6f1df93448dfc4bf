import { openDeathWatch } from './death-watch.ts'
import type { DeathWatch } from './death-watch.ts'
import { bridgeName, gatewayOf, tableName } from './plan.ts'
import type { NetworkPlan } from './plan.ts'
import type { RuleWriter } from './rule-writer.ts'
import { leaseSet, redirectsSet } from './rules.ts'

/**
 * Connections are redirected to this process only as long as it lives; without it they go to the endpoints. Three things see to that. A
 * shell takes the redirection away at the moment the process is gone. Should it be gone too, the lease ends by itself. And a connection
 * of a pod that was led here when nobody listened any more is not refused: the pod asks again after a second, and is led to an endpoint.
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
  const end = `flush set ${set}`
  // Emptied before: a member's time is not prolonged by adding it again.
  const renewal = [end, `add element ${set} { tcp timeout ${leaseSeconds}s }`]
  let timer: NodeJS.Timeout | undefined
  let watch: DeathWatch | undefined

  return {
    async hold() {
      // Kernels may be without the look at sockets; then a connection in the moment of the death is refused.
      await writer.apply(renderArrivals(plan)).catch((error: unknown) => onError?.(error))
      await writer.apply(renewal)
      watch ??= openDeathWatch(end)
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

/**
 * Drops what pods ask for at a port of a redirection where nobody listens, before connection tracking takes it for a connection: asked
 * again, it is led anew. What the host asks for has been taken for one on its way out, and is refused.
 */
function renderArrivals(plan: NetworkPlan): string[] {
  const table = `ip ${tableName(plan)}`
  const asks = `iifname ${bridgeName(plan)} ip daddr ${gatewayOf(plan)} tcp dport @${redirectsSet} tcp flags & (syn | ack) == syn`
  return [
    `add chain ${table} arriving { type filter hook input priority 0; }`,
    `flush chain ${table} arriving`,
    `add rule ${table} arriving ${asks} socket transparent 0 accept`,
    `add rule ${table} arriving ${asks} drop`,
  ]
}
