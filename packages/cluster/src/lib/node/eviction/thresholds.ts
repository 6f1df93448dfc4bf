/** What a kubelet keeps an eye on (Kubernetes, "Eviction signals and thresholds"). */
export type Signal =
  | 'memory.available'
  | 'nodefs.available'
  | 'nodefs.inodesFree'
  | 'imagefs.available'
  | 'imagefs.inodesFree'

/** What a node can be short of, as its conditions say it. */
export type Shortage = 'memory' | 'disk'

/** An amount, as such or as a part of what there is; with both the smaller counts. */
export interface Amount {
  readonly quantity?: number | undefined
  /** From 0 to 1. */
  readonly share?: number | undefined
}

/** Less than `least` is too little. */
export interface Threshold {
  readonly signal: Signal
  readonly least: Amount
  /** How long it may be so before pods have to go; undefined: not at all (a hard threshold). */
  readonly graceMs?: number | undefined
  /** So much more than `least` there has to be before it is over. */
  readonly reclaim?: Amount | undefined
}

/** What there is of something, and how much of it is left. */
export interface Observation {
  readonly available: number
  readonly capacity: number
}

export type Observations = ReadonlyMap<Signal, Observation>

const MI = 2 ** 20
const GI = 2 ** 30

/**
 * Those of kubelets, but for the disk: a machine that somebody works with often has less than a tenth of its disk free,
 * for reasons of its own. Here a gibibyte is enough where a tenth is more.
 */
export const defaultThresholds: readonly Threshold[] = [
  { signal: 'memory.available', least: { quantity: 100 * MI } },
  { signal: 'nodefs.available', least: { quantity: GI, share: 0.1 } },
  { signal: 'nodefs.inodesFree', least: { share: 0.05 } },
  { signal: 'imagefs.available', least: { quantity: GI, share: 0.15 } },
  { signal: 'imagefs.inodesFree', least: { share: 0.05 } },
]

export function shortageOf({ signal }: Threshold): Shortage {
  return signal === 'memory.available' ? 'memory' : 'disk'
}

/** The amount in units, of `capacity`. */
export function amountIn({ quantity = Infinity, share = Infinity }: Amount, capacity: number): number {
  return Math.floor(Math.min(quantity, share * capacity))
}

/** Which of `thresholds` are not kept; `withReclaim` wants what is to be won back as well. Signals nobody has seen are kept. */
export function findMet(
  thresholds: readonly Threshold[],
  seen: Observations,
  { withReclaim }: { readonly withReclaim: boolean },
): readonly Threshold[] {
  return thresholds.filter(({ signal, least, reclaim }) => {
    const found = seen.get(signal)
    if (found === undefined) return false
    const more = withReclaim && reclaim !== undefined ? amountIn(reclaim, found.capacity) : 0
    return found.available < amountIn(least, found.capacity) + more
  })
}

/** Bytes as Kubernetes writes them: by the largest binary unit that leaves no rest. */
export function renderBytes(bytes: number): string {
  let [value, unit] = [Math.floor(bytes), 0]
  while (value !== 0 && value % 1024 === 0 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${value}${units[unit]}`
}

const units = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei']
