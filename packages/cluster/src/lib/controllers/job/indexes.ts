import type { Pod } from '@fairlead/kube/types/core-v1'

/** Indexes without gaps, both ends included. */
export interface IndexRange {
  readonly first: number
  readonly last: number
}

/** Ranges in ascending order that neither touch nor overlap. A million finished indexes are mostly one of them. */
export type Indexes = readonly IndexRange[]

/** Carries a pod's index; the label of the same name is what programs read. */
export const completionIndexKey = 'batch.kubernetes.io/job-completion-index'

/** The index of a pod of an Indexed job; undefined when it has none that can be read. */
export function completionIndexOf({ metadata }: Pod): number | undefined {
  const text = metadata?.annotations?.[completionIndexKey]
  return text !== undefined && /^\+?\d+$/.test(text) ? Number(text) : undefined
}

/** Reads `1,3-5`; what cannot be read, and what is not below `completions`, is left out. */
export function parseIndexes(text: string | undefined, completions: number): Indexes {
  const ranges: IndexRange[] = []
  for (const part of (text ?? '').split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part)
    const first = Number(match?.[1])
    if (match === null || first >= completions) continue
    ranges.push({ first, last: Math.min(Number(match[2] ?? first), completions - 1) })
  }
  return mergeIndexes(ranges, [])
}

/** Two neighbours are written with a comma: `1,2`, not `1-2`. */
export function renderIndexes(indexes: Indexes): string {
  return indexes
    .map(({ first, last }) => (last === first ? `${first}` : `${first}${last === first + 1 ? ',' : '-'}${last}`))
    .join(',')
}

export function toIndexes(indexes: Iterable<number>): Indexes {
  return mergeIndexes(
    Array.from(indexes, (index) => ({ first: index, last: index })),
    [],
  )
}

export function mergeIndexes(some: Indexes, others: Indexes): Indexes {
  const merged: { first: number; last: number }[] = []
  for (const { first, last } of [...some, ...others].toSorted((a, b) => a.first - b.first)) {
    const previous = merged.at(-1)
    if (previous !== undefined && first <= previous.last + 1) previous.last = Math.max(previous.last, last)
    else merged.push({ first, last })
  }
  return merged
}

export function countIndexes(indexes: Indexes): number {
  return indexes.reduce((count, { first, last }) => count + last - first + 1, 0)
}

export function hasIndex(indexes: Indexes, index: number): boolean {
  let low = 0
  let high = indexes.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((indexes[middle]?.last ?? 0) < index) low = middle + 1
    else high = middle
  }
  return (indexes[low]?.first ?? Infinity) <= index
}

/** How many indexes two sets share. */
export function countShared(some: Indexes, others: Indexes): number {
  let count = 0
  for (let i = 0, j = 0; ;) {
    const a = some[i]
    const b = others[j]
    if (a === undefined || b === undefined) return count
    count += Math.max(0, Math.min(a.last, b.last) - Math.max(a.first, b.first) + 1)
    if (a.last <= b.last) i += 1
    if (b.last <= a.last) j += 1
  }
}

/** The `count` lowest indexes below `completions` that are not among `taken`. */
export function lowestFree(taken: Indexes, count: number, completions: number): number[] {
  const free: number[] = []
  let candidate = 0
  for (const { first, last } of [...taken, { first: completions, last: completions }]) {
    for (; candidate < Math.min(first, completions) && free.length < count; candidate += 1) free.push(candidate)
    candidate = Math.max(candidate, last + 1)
  }
  return free
}
