import type { CustomResourceDefinition, CustomResourceDefinitionNames } from '@fairlead/kube/types/apiextensions-v1'

import { isEqual } from '../metadata.ts'

export interface NameDecision {
  /** Names the definition may use from now on. */
  readonly accepted: CustomResourceDefinitionNames
  /** The condition `NamesAccepted`, without times. */
  readonly condition: { readonly status: 'True' | 'False'; readonly reason: string; readonly message: string }
}

/** What a definition means for the names of others. */
export interface NameHolder {
  readonly name: string
  readonly group: string
  readonly accepted: CustomResourceDefinitionNames | undefined
}

export function nameHolderOf({ metadata, spec, status }: CustomResourceDefinition): NameHolder {
  return { name: metadata?.name ?? '', group: spec.group, accepted: status?.acceptedNames }
}

/** Decides which of its names a definition gets: those no other definition of its group has. */
export function decideNames(definition: CustomResourceDefinition, others: Iterable<NameHolder>): NameDecision {
  const taken = takenNames(definition, others)
  const asked = definition.spec.names
  const current = definition.status?.acceptedNames ?? { plural: '', kind: '' }
  const accepted: CustomResourceDefinitionNames = { ...current }
  let conflict: { reason: string; message: string } | undefined
  const claim = (key: 'plural' | 'singular' | 'kind' | 'listKind', used: ReadonlySet<string>, reason: string): void => {
    const name = asked[key] ?? ''
    if (name !== (current[key] ?? '') && used.has(name)) conflict = { reason, message: inUse(name) }
    else accepted[key] = name
  }
  claim('plural', taken.resources, 'PluralConflict')
  claim('singular', taken.resources, 'SingularConflict')
  const shortNames = asked.shortNames ?? []
  const known = current.shortNames ?? []
  if (!isEqual(shortNames, known)) {
    const clashes = shortNames.filter((name) => !known.includes(name) && taken.resources.has(name)).map(inUse)
    if (clashes.length === 0) accepted.shortNames = shortNames
    else {
      const message = clashes.length === 1 ? (clashes[0] ?? '') : `[${clashes.join(', ')}]`
      conflict = { reason: 'ShortNamesConflict', message }
    }
  }
  claim('kind', taken.kinds, 'KindConflict')
  claim('listKind', taken.kinds, 'ListKindConflict')
  if (asked.categories === undefined) delete accepted.categories
  else accepted.categories = asked.categories
  if (accepted.shortNames?.length === 0) delete accepted.shortNames
  const good = { status: 'True', reason: 'NoConflicts', message: 'no conflicts found' } as const
  return { accepted, condition: conflict === undefined ? good : { status: 'False', ...conflict } }
}

function inUse(name: string): string {
  return `"${name}" is already in use`
}

function takenNames(
  definition: CustomResourceDefinition,
  others: Iterable<NameHolder>,
): { resources: ReadonlySet<string>; kinds: ReadonlySet<string> } {
  const resources = new Set<string>()
  const kinds = new Set<string>()
  for (const { name: holder, group, accepted } of others) {
    if (group !== definition.spec.group || holder === definition.metadata?.name) continue
    const { plural = '', singular = '', shortNames = [], kind = '', listKind = '' } = accepted ?? {}
    for (const name of [plural, singular, ...shortNames]) if (name !== '') resources.add(name)
    for (const name of [kind, listKind]) if (name !== '') kinds.add(name)
  }
  return { resources, kinds }
}
