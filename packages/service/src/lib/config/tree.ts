/** A value as a layer has it, with where it stands. Maps, not objects: a key such as `__proto__` is a key like any. */
export type Tree =
  | {
      readonly kind: 'scalar'
      readonly value: string | number | boolean | bigint | null
      /** From a place that only knows text (environment, flag, mounted file): `"5"` may be a number there. */
      readonly isText: boolean
      readonly origin: string
    }
  | { readonly kind: 'list'; readonly items: readonly Tree[]; readonly origin: string }
  | { readonly kind: 'map'; readonly entries: ReadonlyMap<string, Tree>; readonly origin: string }

export function textTree(value: string, origin: string): Tree {
  return { kind: 'scalar', value, isText: true, origin }
}

/** `value` below the names of `path`. */
export function nest(path: readonly string[], value: Tree): Tree {
  return path.reduceRight<Tree>(
    (inner, name) => ({ kind: 'map', entries: new Map([[name, inner]]), origin: value.origin }),
    value,
  )
}

/** Later wins; maps are merged, lists are not. Nothing (`key:` in YAML) leaves what is there. */
export function merge(below: Tree | undefined, above: Tree): Tree {
  if (below === undefined) return above
  if (above.kind === 'scalar' && above.value === null) return below
  if (below.kind !== 'map' || above.kind !== 'map') return above
  const entries = new Map(below.entries)
  for (const [name, value] of above.entries) entries.set(name, merge(entries.get(name), value))
  return { kind: 'map', entries, origin: above.origin }
}

/** A tree of plain data, as a default is written. */
export function toTree(value: unknown, origin: string, isText = false): Tree {
  if (Array.isArray(value)) return { kind: 'list', items: value.map((item) => toTree(item, origin, isText)), origin }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([name, item]) => [name, toTree(item, origin, isText)] as const)
    return { kind: 'map', entries: new Map(entries), origin }
  }
  const isScalar = ['string', 'number', 'boolean', 'bigint'].includes(typeof value)
  return { kind: 'scalar', value: isScalar ? (value as string) : null, isText, origin }
}

/** Plain data; absent for nothing. */
export function toPlain(tree: Tree): unknown {
  if (tree.kind === 'scalar') return tree.value ?? undefined
  if (tree.kind === 'list') return tree.items.map(toPlain)
  const entries = [...tree.entries].map(([name, value]) => [name, toPlain(value)] as const)
  // fromEntries defines properties, so that `__proto__` is one of its own.
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined))
}

/** `db.url`; a name that is not a plain word stands in brackets. */
export function renderKey(path: readonly PropertyKey[]): string {
  return path
    .map(String)
    .map((name, index) => (/^[\w-]+$/.test(name) ? `${index === 0 ? '' : '.'}${name}` : `[${JSON.stringify(name)}]`))
    .join('')
}
