import type { Clock } from '@fairlead/kube/controller'

/** When the cache has not shown a write after this time, it never will: the object came and went in between. */
const patienceMs = 30_000

/**
 * What a controller has written but its cache has not shown yet. Until it has, the number of objects in the cache is
 * wrong, and acting on it would overshoot.
 */
export interface Expectations {
  /** The object `uid` was created or deleted for `key`; wait to see that. */
  expect(key: string, uid: string): void
  /** The cache has shown the creation or deletion of `uid`. */
  observe(key: string, uid: string): void
  /** The objects of `key` of which the cache has yet to show what was done to them: as it is now, whatever is observed later. */
  expected(key: string): ReadonlySet<string>
  /** How long to wait at most for what is expected for `key`; undefined when all has been seen, or waited for in vain. */
  leftMs(key: string): number | undefined
  forget(key: string): void
}

export function createExpectations(clock: Clock): Expectations {
  const deadlines = new Map<string, Map<string, number>>()
  return {
    expect(key, uid) {
      const uids = deadlines.get(key) ?? new Map<string, number>()
      uids.set(uid, clock.now() + patienceMs)
      deadlines.set(key, uids)
    },
    observe(key, uid) {
      const uids = deadlines.get(key)
      if (uids?.delete(uid) === true && uids.size === 0) {
        deadlines.delete(key)
      }
    },
    expected: (key) => new Set(deadlines.get(key)?.keys()),
    leftMs(key) {
      const latest = Math.max(0, ...(deadlines.get(key)?.values() ?? []))
      const left = latest - clock.now()
      if (left > 0) {
        return left
      }
      deadlines.delete(key)
      return undefined
    },
    forget(key) {
      deadlines.delete(key)
    },
  }
}
