import type { Clock } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'

/** A token as the API gave it. Times are in milliseconds since 1970. */
export interface IssuedToken {
  readonly token: string
  readonly expiresAt: number
}

/** Asks the API for a token of the pod's service account, bound to the pod (TokenRequest). */
export type RequestToken = (pod: Pod, audience: string, expirationSeconds: number) => Promise<IssuedToken>

interface Kept extends IssuedToken {
  readonly podUid: string
  readonly renewAt: number
}

const renewAfterShare = 0.8
const oldestMs = 24 * 60 * 60 * 1000
const jitterMs = 10_000

/**
 * Tokens of the pods of this node: one is used until 80 % of its life, or a day, have passed, and beyond that only while
 * no newer one can be had.
 */
export class TokenCache {
  readonly #request: RequestToken
  readonly #clock: Pick<Clock, 'now'>
  readonly #kept = new Map<string, Kept>()

  constructor(request: RequestToken, clock: Pick<Clock, 'now'>) {
    this.#request = request
    this.#clock = clock
  }

  async get(pod: Pod, audience: string, expirationSeconds: number): Promise<string> {
    const { uid = '' } = pod.metadata ?? {}
    const key = JSON.stringify([uid, pod.spec?.serviceAccountName, audience, expirationSeconds])
    const kept = this.#kept.get(key)
    const now = this.#clock.now()
    if (kept !== undefined && now < kept.renewAt) return kept.token
    try {
      const issued = await this.#request(pod, audience, expirationSeconds)
      this.#kept.set(key, { ...issued, podUid: uid, renewAt: renewalOf(now, issued.expiresAt) })
      return issued.token
    } catch (error) {
      if (kept !== undefined && now < kept.expiresAt) return kept.token
      throw error
    }
  }

  /** Whether a token of the pod is due for renewal. */
  isDue(podUid: string): boolean {
    const now = this.#clock.now()
    return [...this.#kept.values()].some((kept) => kept.podUid === podUid && now >= kept.renewAt)
  }

  forget(podUid: string): void {
    for (const [key, kept] of this.#kept) if (kept.podUid === podUid) this.#kept.delete(key)
  }
}

/** Spread a little, so that pods that started together do not ask together. */
function renewalOf(now: number, expiresAt: number): number {
  const jitter = Math.random() * Math.min(jitterMs, (expiresAt - now) / 10)
  return Math.min(now + (expiresAt - now) * renewAfterShare, now + oldestMs) - jitter
}
