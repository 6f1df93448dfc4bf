import type { Pod } from '@fairlead/kube/types/core-v1'

/** Addresses that this process gave to pods, and took back, before the status of the pods tells of it. */
export interface GivenAddresses {
  give(uid: string, ip: string): void
  /** False when the pod had none. */
  takeBack(uid: string): boolean
  /** Where a pod is reached; undefined when it has no address, or one that may be another's by now. */
  of(pod: Pod): string | undefined
  /** Forgets the pods that had their address taken back and are none of these: nobody will ask for them again. */
  forgetOthers(pods: readonly Pod[]): void
  readonly size: number
}

export function createGivenAddresses(): GivenAddresses {
  /** Undefined: taken back. */
  const given = new Map<string, string | undefined>()
  return {
    give: (uid, ip) => void given.set(uid, ip),
    takeBack(uid) {
      if (!given.has(uid)) return false
      given.set(uid, undefined)
      return true
    },
    of({ metadata, status }) {
      const isOver = status?.phase === 'Succeeded' || status?.phase === 'Failed'
      const uid = metadata?.uid ?? ''
      const ip = given.has(uid) ? given.get(uid) : isOver ? undefined : status?.podIP
      return ip === '' ? undefined : ip
    },
    forgetOthers(pods) {
      const uids = new Set(pods.map(({ metadata }) => metadata?.uid))
      for (const [uid, ip] of given) if (ip === undefined && !uids.has(uid)) given.delete(uid)
    },
    get size() {
      return given.size
    },
  }
}
