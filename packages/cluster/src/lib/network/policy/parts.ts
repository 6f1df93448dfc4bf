/** Something of the policy table that has a name: a chain with its rules, or a set or map with its elements. */
export interface Part {
  readonly kind: 'set' | 'map' | 'chain'
  /** What is declared behind the name, such as `{ type ipv4_addr; }`. */
  readonly declaration?: string | undefined
  /** Rules of a chain in order; elements of a set or map. */
  readonly content: readonly string[]
}

/** Parts by name, in an order in which each stands after those that it refers to. */
export type Parts = ReadonlyMap<string, Part>

/** Commands that lead from one state of the table to another as one transaction. Parts that stay equal are not touched. */
export function renderChange(table: string, before: Parts, after: Parts): string[] {
  const changed = [...after].filter(([name, part]) => !isSame(before.get(name), part))
  return [
    // All declarations first: rules may then refer to any part.
    ...changed
      .filter(([name]) => !before.has(name))
      .map(([name, { kind, declaration = '' }]) => `add ${kind} ${table} ${name} ${declaration}`.trimEnd()),
    ...changed.flatMap(([name, part]) => renderContent(table, name, before.get(name), part)),
  ]
}

/** Commands that take away what is no longer there; a transaction of its own, when nothing refers to it any more. */
export function renderRemoval(table: string, before: Parts, after: Parts): string[] {
  const gone = [...before].filter(([name]) => !after.has(name)).toReversed()
  // Chains that lead to each other, and to sets, can be deleted in any order once they are empty.
  const chains = gone.filter(([, { kind }]) => kind === 'chain')
  return [
    ...chains.map(([name]) => `flush chain ${table} ${name}`),
    ...gone.map(([name, { kind }]) => `delete ${kind} ${table} ${name}`),
  ]
}

function renderContent(table: string, name: string, before: Part | undefined, { kind, content }: Part): string[] {
  if (kind === 'chain') {
    return [`flush chain ${table} ${name}`, ...content.map((rule) => `add rule ${table} ${name} ${rule}`)]
  }
  const [had, wanted] = [new Set(before?.content), new Set(content)]
  const gone = [...had].filter((element) => !wanted.has(element)).map((element) => element.split(' : ', 1)[0] ?? '')
  const come = [...wanted].filter((element) => !had.has(element))
  return [
    ...(gone.length === 0 ? [] : [`delete element ${table} ${name} { ${gone.join(', ')} }`]),
    ...(come.length === 0 ? [] : [`add element ${table} ${name} { ${come.join(', ')} }`]),
  ]
}

function isSame(a: Part | undefined, b: Part): boolean {
  return a !== undefined && a.declaration === b.declaration && a.content.join('\n') === b.content.join('\n')
}
