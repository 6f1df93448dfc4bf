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
  /** Whether the cache has yet to show what was done to `uid`. */
  isExpected(key: string, uid: string): boolean
  /** How long to wait at most for what is expected for `key`; undefined when all has been seen, or waited for in vain. */
  leftMs(key: string): number | undefined
  forget(key: string): void
}

export function createExpectations(clock: Clock): Expectations {
  const expected = new Map<string, Map<string, number>>()
  return {
    expect(key, uid) {
      const uids = expected.get(key) ?? new Map<string, number>()
      uids.set(uid, clock.now() + patienceMs)
      expected.set(key, uids)
    },
    observe(key, uid) {
      const uids = expected.get(key)
      if (uids?.delete(uid) === true && uids.size === 0) {
        expected.delete(key)
      }
    },
    isExpected: (key, uid) => expected.get(key)?.has(uid) === true,
    leftMs(key) {
      const latest = Math.max(0, ...(expected.get(key)?.values() ?? []))
      const left = latest - clock.now()
      if (left > 0) {
        return left
      }
      expected.delete(key)
      return undefined
    },
    forget(key) {
      expected.delete(key)
    },
  }
}
