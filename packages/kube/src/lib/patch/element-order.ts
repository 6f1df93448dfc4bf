import { equalJson, isJsonObject } from './json-value.ts'

/** What pairs elements of two lists: the value under the merge key, or the element itself in a list of scalars. */
export function identityOf(element: unknown, mergeKey: string | undefined): unknown {
  return mergeKey !== undefined && isJsonObject(element) ? element[mergeKey] : element
}

export function findElement(list: readonly unknown[], element: unknown, mergeKey: string | undefined): number {
  const identity = identityOf(element, mergeKey)
  return list.findIndex((each) => equalJson(identityOf(each, mergeKey), identity))
}

/**
 * Puts a merged list in the order a strategic merge patch asks for.
 *
 * Elements named in `patchOrder` take its order; the others keep that of `liveOrder`. The two groups are interleaved
 * so that an unnamed element stays before a named one where it stood before it in the live list.
 */
export function orderElements(
  merged: readonly unknown[],
  patchOrder: readonly unknown[],
  liveOrder: readonly unknown[],
  mergeKey: string | undefined,
): unknown[] {
  const wanted = positionsIn(patchOrder, mergeKey)
  const before = positionsIn(liveOrder, mergeKey)
  const sortBy = (elements: unknown[], positions: (element: unknown) => number): unknown[] =>
    elements.toSorted((a, b) => positions(a) - positions(b))
  const named = sortBy(
    merged.filter((element) => wanted(element) >= 0),
    wanted,
  )
  const others = sortBy(
    merged.filter((element) => wanted(element) < 0),
    before,
  )
  const ordered: unknown[] = []
  let next = 0
  for (const element of named) {
    const limit = before(element)
    while (next < others.length && isBetween(before(others[next]), limit)) ordered.push(others[next++])
    ordered.push(element)
  }
  return [...ordered, ...others.slice(next)]
}

/** First position of an element by what it is told from others by; -1 when it is not there. */
function positionsIn(list: readonly unknown[], mergeKey: string | undefined): (element: unknown) => number {
  const positions = new Map<unknown, number>()
  for (const [index, element] of list.entries()) {
    const identity = keyOf(element, mergeKey)
    if (!positions.has(identity)) positions.set(identity, index)
  }
  return (element) => positions.get(keyOf(element, mergeKey)) ?? -1
}

function keyOf(element: unknown, mergeKey: string | undefined): unknown {
  const identity = identityOf(element, mergeKey)
  return typeof identity === 'object' && identity !== null ? JSON.stringify(identity) : identity
}

/** Both must be known in the live list: a new element goes before everything not yet placed. */
function isBetween(position: number, limit: number): boolean {
  return position >= 0 && position < limit
}
