// Watches disruption budgets from the outside: counts pods as the API tells of them, not as the budget's status says.
import { connectKube, loadKubeconfig } from '@fairlead/kube'
import { createInformer } from '@fairlead/kube/cache'
import type { Pod } from '@fairlead/kube/types/core-v1'

export interface BudgetWatch extends AsyncDisposable {
  /** By the value of `label`: the fewest pods that were ready, and not on their way out, at any time. */
  readonly fewest: ReadonlyMap<string, number>
  /** Changes that were seen. */
  readonly changes: number
}

/** Counts from now on; each change of a pod is looked at, none is missed by asking too seldom. */
export async function watchBudgets(kubeconfig: string, label: string): Promise<BudgetWatch> {
  const ended = new AbortController()
  const client = connectKube({ kubeconfig: loadKubeconfig({ path: kubeconfig }) })
  const pods = createInformer(client.resource('v1/Pod'), { namespace: 'default', signal: ended.signal })
  const fewest = new Map<string, number>()
  let changes = 0
  const count = (name: string): void => {
    const healthy = pods.list().filter((pod) => pod.metadata?.labels?.[label] === name && isHealthy(pod)).length
    fewest.set(name, Math.min(healthy, fewest.get(name) ?? healthy))
  }
  await pods.start()
  pods.on((_event, { metadata }) => {
    changes += 1
    const name = metadata?.labels?.[label]
    if (name !== undefined) count(name)
  })
  return {
    fewest,
    get changes() {
      return changes
    },
    async [Symbol.asyncDispose]() {
      ended.abort()
      await client.close()
    },
  }
}

function isHealthy({ metadata, status }: Pod): boolean {
  const isReady = status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True')
  return metadata?.deletionTimestamp === undefined && isReady === true
}
