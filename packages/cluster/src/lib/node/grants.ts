import type { Amounts } from './resources.ts'

/** The classes of quality of service whose pods share a control group; guaranteed pods stand beside them. */
export type SharedClass = 'Burstable' | 'BestEffort'

interface Grant extends Amounts {
  readonly qosClass: SharedClass | 'Guaranteed'
}

/** What a node has granted its pods, so that one may grow only into what the others leave. */
export class Grants {
  readonly #grants = new Map<string, Grant>()
  readonly #shares = new Map<SharedClass, number>()
  readonly #waiting = new Map<string, () => void>()

  /** Notes what the pod may use; whoever waits for room is told when there may be more. */
  set(podUid: string, grant: Grant): void {
    const before = this.#grants.get(podUid)
    this.#grants.set(podUid, grant)
    if (before !== undefined && (grant.cpu < before.cpu || grant.memory < before.memory)) this.#tellWaiting(podUid)
  }

  /** The pod has ended. */
  delete(podUid: string): void {
    this.#waiting.delete(podUid)
    if (this.#grants.delete(podUid)) this.#tellWaiting(podUid)
  }

  /** What pods other than this one may use. */
  besides(podUid: string): Amounts {
    return sum([...this.#grants].filter(([uid]) => uid !== podUid).map(([, grant]) => grant))
  }

  ofClass(qosClass: SharedClass): Amounts {
    return sum([...this.#grants.values()].filter((grant) => grant.qosClass === qosClass))
  }

  /** Notes the processor shares of a class; whether they are other than those noted before. */
  noteShares(qosClass: SharedClass, shares: number): boolean {
    if (this.#shares.get(qosClass) === shares) return false
    this.#shares.set(qosClass, shares)
    return true
  }

  /** Calls `retry` once there may be room for the pod. */
  waitForRoom(podUid: string, retry: () => void): void {
    this.#waiting.set(podUid, retry)
  }

  #tellWaiting(leaver: string): void {
    const waiting = [...this.#waiting].filter(([uid]) => uid !== leaver)
    for (const [uid] of waiting) this.#waiting.delete(uid)
    for (const [, retry] of waiting) retry()
  }
}

function sum(grants: readonly Amounts[]): Amounts {
  return grants.reduce((total, { cpu, memory }) => ({ cpu: total.cpu + cpu, memory: total.memory + memory }), {
    cpu: 0,
    memory: 0,
  })
}
