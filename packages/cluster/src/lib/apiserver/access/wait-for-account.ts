import type { Store } from '../../storage/store.ts'

/**
 * Resolves when the service account is there, or after `patienceMs`: somebody who makes a namespace and a pod in it at
 * once is not punished for the moment its account takes to appear.
 */
export async function waitForAccount(store: Store, id: string, patienceMs = 1000): Promise<void> {
  if (store.get('serviceaccounts', id) !== undefined) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const subscription = store.subscribe('serviceaccounts', undefined, ({ entry }) => {
    if (entry.id === id) resolve()
  })
  const timer = setTimeout(resolve, patienceMs)
  await promise
  clearTimeout(timer)
  subscription.unsubscribe()
}
