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
  const position = (order: readonly unknown[], element: unknown): number => findElement(order, element, mergeKey)
  const sortBy = (elements: unknown[], order: readonly unknown[]): unknown[] =>
    elements.toSorted((a, b) => position(order, a) - position(order, b))
  const named = sortBy(
    merged.filter((element) => position(patchOrder, element) >= 0),
    patchOrder,
  )
  const others = sortBy(
    merged.filter((element) => position(patchOrder, element) < 0),
    liveOrder,
  )
  const ordered: unknown[] = []
  for (const element of named) {
    const limit = position(liveOrder, element)
    const cut = others.findIndex((other) => !isBetween(position(liveOrder, other), limit))
    ordered.push(...others.splice(0, cut < 0 ? others.length : cut), element)
  }
  return [...ordered, ...others]
}

/** Both must be known in the live list: a new element goes before everything not yet placed. */
function isBetween(position: number, limit: number): boolean {
  return position >= 0 && position < limit
}
