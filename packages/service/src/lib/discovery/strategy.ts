import type { Member } from './member.ts'

/**
 * `p2c`: of two drawn at random the one with the lower latency times calls under way (peak EWMA). `least-request`: of two drawn the one
 * with fewer calls under way. `round-robin`: one after the other. `weighted`: one after the other, as often as their weights say.
 */
export type Strategy = 'p2c' | 'least-request' | 'round-robin' | 'weighted'

export interface StrategyOptions {
  readonly random: () => number
  /** Time in which an observation loses 63% of its weight. */
  readonly tauMs: number
  /** What an endpoint without an answer yet is taken to cost while a call to it is under way. */
  readonly penaltyMs: number
}

/** Chooses one of `members`, of which there is at least one. */
export type Choose = (members: readonly Member[], now: number) => Member

export function createChoose(strategy: Strategy, options: StrategyOptions): Choose {
  if (strategy === 'round-robin') return createRotation(options.random, () => 1)
  if (strategy === 'weighted') return createRotation(options.random, ({ weight }) => weight)
  const cost = strategy === 'p2c' ? peakEwmaCost : pendingCost
  return (members, now) => {
    const first = draw(members, now, options.random)
    if (members.length === 1) return first
    const second = drawOther(members, first, now, options.random)
    return cost(second, now, options) < cost(first, now, options) ? second : first
  }
}

/** Least share of an endpoint that has just come. */
const rampFloor = 0.1

/** The share of its calls that a member gets now: grows while it is new. */
function rampOf(member: Member, now: number): number {
  if (now >= member.rampUntil) return 1
  return Math.max(rampFloor, (now - member.rampFrom) / (member.rampUntil - member.rampFrom))
}

function draw(members: readonly Member[], now: number, random: () => number): Member {
  // A new one that is drawn is passed over as often as its share is less than that of the others.
  for (let tries = 0; tries < 4; tries += 1) {
    const member = at(members, Math.floor(random() * members.length))
    if (now >= member.rampUntil || random() < rampOf(member, now)) return member
  }
  return at(members, Math.floor(random() * members.length))
}

function drawOther(members: readonly Member[], first: Member, now: number, random: () => number): Member {
  for (let tries = 0; tries < 4; tries += 1) {
    const member = draw(members, now, random)
    if (member !== first) return member
  }
  return at(members, (members.indexOf(first) + 1) % members.length)
}

function pendingCost(member: Member): number {
  return (member.pending + 1) / member.weight
}

/** Finagle's peak EWMA (twitter.github.io/finagle, "P2C + Peak EWMA"), made dearer by failures, which are often quick. */
function peakEwmaCost(member: Member, now: number, options: Pick<StrategyOptions, 'tauMs' | 'penaltyMs'>): number {
  const { latencyMs, pending, weight } = member
  // Tried once, and while that is under way avoided.
  if (latencyMs === 0) return pending === 0 ? 0 : (options.penaltyMs + pending) / weight
  // What was seen long ago says less and less: a slow one is tried again.
  const decay = Math.exp(-(now - member.seenAt) / options.tauMs)
  const success = Math.max(0.05, 1 - member.faults * decay)
  return (latencyMs * decay * (pending + 1)) / (weight * success * success)
}

/** How much one more failure counts in {@link Member.faults}. */
const faultShare = 0.2
/** A member whose first answer is a failure is not taken to be quick. */
const firstFailureMs = 1000

/** Takes an answer into the averages: at once if it was slower, slowly if quicker. */
export function observe(member: Member, isSuccess: boolean, durationMs: number, now: number, tauMs: number): void {
  const elapsed = Math.max(0, now - member.seenAt)
  const decay = Math.exp(-elapsed / tauMs)
  member.seenAt = now
  const taken = Math.max(0.001, durationMs)
  const before = member.latencyMs * decay
  if (isSuccess) member.latencyMs = taken > before ? taken : before + taken * (1 - decay)
  else member.latencyMs = Math.max(taken, member.latencyMs === 0 ? firstFailureMs : member.latencyMs)
  member.faults = member.faults * decay * (1 - faultShare) + (isSuccess ? 0 : faultShare)
}

/** Weights on the scale of the largest are whole numbers up to this. */
const weightScale = 65_535

/**
 * The static stride scheduler of gRPC (A58): goes round and passes over a member as often as its weight is less than the largest,
 * evenly spread, without a list to keep in order.
 */
function createRotation(random: () => number, weightOf: (member: Member) => number): Choose {
  let sequence = Math.floor(random() * 2 ** 20)
  let known: readonly Member[] | undefined
  let largest = 0
  return (members, now) => {
    const { length } = members
    if (members !== known) {
      known = members
      largest = members.reduce((most, member) => Math.max(most, weightOf(member)), 0)
    }
    for (;;) {
      sequence += 1
      const index = sequence % length
      const member = at(members, index)
      const share = Math.max(0.005, (weightOf(member) / largest) * rampOf(member, now))
      if (share >= 1) return member
      const weight = Math.round(share * weightScale)
      const generation = Math.floor(sequence / length)
      if ((weight * generation + index * 32_768) % weightScale >= weightScale - weight) return member
    }
  }
}

function at(members: readonly Member[], index: number): Member {
  const member = members[index]
  if (member === undefined) throw new RangeError(`There is no member ${index} of ${members.length}`)
  return member
}
