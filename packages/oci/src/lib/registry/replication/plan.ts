import type { Digest } from '../../spec/digest.ts'
import { renderPlace } from './config.ts'
import type { ReplicationRule } from './config.ts'

/** A tag of a source. */
export interface SourceImage {
  /** Name below the prefix of the source, such as `shop/web`. */
  readonly repository: string
  readonly tag: string
  readonly digest: Digest
  /** The reference it has at the source. */
  readonly reference: string
}

/** A tag that is to be at a destination too. */
export interface ReplicationCandidate {
  /** Counted from 1. */
  readonly rule: number
  readonly from: string
  readonly to: string
  readonly digest: Digest
}

/**
 * What is to be done for one tag. `copy`: it is not there; `move`: it means another image there; `same`: it is there;
 * `conflict`: an earlier rule gives that tag another image.
 */
export interface ReplicationStep extends ReplicationCandidate {
  readonly action: 'copy' | 'move' | 'same' | 'conflict'
}

/** Which tags a rule wants where, out of what its source has. */
export function listCandidates(
  rule: ReplicationRule,
  number: number,
  images: readonly SourceImage[],
): ReplicationCandidate[] {
  const wanted = images.filter(
    ({ repository, tag }) =>
      !isReferrersList(tag) &&
      (rule.prefixes.length === 0 || rule.prefixes.some((prefix) => repository.startsWith(prefix))),
  )
  return wanted.flatMap(({ repository, tag, digest, reference }) =>
    rule.destinations
      .map((place) => ({ rule: number, from: reference, to: `${renderPlace(place)}/${repository}:${tag}`, digest }))
      .filter(({ from, to }) => from !== to),
  )
}

/** Decides what to do, knowing what the tags mean at their destinations. Each tag is dealt with once. */
export function planReplication(
  candidates: readonly ReplicationCandidate[],
  there: ReadonlyMap<string, Digest>,
): ReplicationStep[] {
  const given = new Map<string, Digest>()
  const steps: ReplicationStep[] = []
  for (const candidate of candidates) {
    const { to, digest } = candidate
    const before = given.get(to)
    if (before === digest) continue
    given.set(to, before ?? digest)
    const known = there.get(to)
    const action = before ? 'conflict' : known === digest ? 'same' : known ? 'move' : 'copy'
    steps.push({ ...candidate, action })
  }
  return steps
}

/** Where registries have no referrers interface, clients keep the list under such a tag; copies have one of their own. */
function isReferrersList(tag: string): boolean {
  return /^sha(256-[0-9a-f]{64}|512-[0-9a-f]{121})$/.test(tag)
}
