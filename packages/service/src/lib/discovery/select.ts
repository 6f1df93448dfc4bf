import type { Member } from './member.ts'

export interface SelectionRules {
  /** Where this process runs. */
  readonly zone: string | undefined
  /** The own zone alone is used while so many of its endpoints are usable. */
  readonly minZoneEndpoints: number
  /** With fewer endpoints usable, in percent, those ejected are used too. */
  readonly panicPercent: number
  readonly subsetSize: number
  /** What tells the subset of this process from those of others. */
  readonly subsetKey: string
}

export interface Selection {
  /** Those calls go to. */
  readonly members: readonly Member[]
  readonly isPanic: boolean
}

/**
 * Which members calls go to now: those not terminating, of the subset, of the best priority and of the own zone, without those
 * ejected; each step only as far as enough are left.
 */
export function selectMembers(members: readonly Member[], now: number, rules: SelectionRules): Selection {
  const serving = members.filter(({ endpoint }) => endpoint.isTerminating !== true)
  // When all of them are about to end, those that still serve are better than none (KEP-1669).
  const present = chooseSubset(serving.length > 0 ? serving : members, rules)
  const isUsable = (member: Member): boolean => member.ejectedUntil <= now
  const usable = present.filter(isUsable)
  const isPanic = usable.length * 100 < present.length * rules.panicPercent || usable.length === 0
  const left = isPanic ? present : usable
  const best = left.reduce((least, { endpoint }) => Math.min(least, endpoint.priority ?? 0), Infinity)
  return {
    members: preferZone(
      left.filter(({ endpoint }) => (endpoint.priority ?? 0) === best),
      rules,
    ),
    isPanic,
  }
}

/**
 * Those meant for the own zone. Hints hold only where all endpoints have some, as in kube-proxy; the zones of the endpoints
 * themselves hold while enough are in ours.
 */
function preferZone(members: readonly Member[], { zone, minZoneEndpoints }: SelectionRules): readonly Member[] {
  if (zone === undefined) return members
  if (members.every(({ endpoint }) => endpoint.forZones !== undefined)) {
    const hinted = members.filter(({ endpoint }) => endpoint.forZones?.includes(zone))
    if (hinted.length > 0) return hinted
  }
  const near = members.filter(({ endpoint }) => endpoint.zone === zone)
  return near.length >= minZoneEndpoints ? near : members
}

/**
 * As many as the rules say, chosen by rendezvous hashing: processes choose differently, every endpoint gets about as many of them, and
 * an endpoint that comes or goes changes one place at most.
 */
function chooseSubset(members: readonly Member[], { subsetSize, subsetKey }: SelectionRules): readonly Member[] {
  if (members.length <= subsetSize) return members
  return members
    .map((member) => ({ member, score: hash(`${subsetKey} ${member.url}`) }))
    .toSorted((a, b) => a.score - b.score)
    .slice(0, subsetSize)
    .map(({ member }) => member)
}

/** FNV-1a of 32 bits, mixed as by MurmurHash3 so that similar texts are far apart. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193)
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}
