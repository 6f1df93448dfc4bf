import type { Store } from '../storage/store.ts'

/** What upstream has etcd do: `--etcd-compaction-interval`. */
const compactEveryMs = 5 * 60_000

/**
 * Forgets the history that is older than five minutes, every five minutes, as kube-apiserver has etcd do: how long a list
 * can be continued and a watch be resumed depends on time, not on how busy the cluster is. Returns the function that
 * stops it. The size of what is kept in between is bounded by the store itself.
 */
export function compactHistory(store: Store): () => void {
  let fiveMinutesAgo = store.revision
  const timer = setInterval(() => {
    const { revision } = store
    store.compact(fiveMinutesAgo)
    fiveMinutesAgo = revision
  }, compactEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}
