import { pathsOf } from './field-set.ts'
import { renderElement } from './path-element.ts'
import type { FieldSet } from './field-set.ts'
import type { ManagedEntry } from './managed-fields.ts'

/** A field an applier wants to change and another manager owns. */
export interface Conflict {
  readonly owner: ManagedEntry
  readonly path: readonly string[]
}

/** A cause of the 409 answer to a conflicting apply. */
export interface ConflictCause {
  readonly reason: 'FieldManagerConflict'
  readonly message: string
  readonly field: string
}

/** Thrown when an apply without force would change what others own. */
export class ApplyConflict extends Error {
  readonly code = 'FAIRLEAD_KUBE_APPLY_CONFLICT'
  readonly hint = 'Take the fields over with force, leave them out, or apply the value they have'
  readonly conflicts: readonly Conflict[]

  constructor(conflicts: readonly Conflict[]) {
    super(renderConflicts(conflicts))
    this.name = 'ApplyConflict'
    this.conflicts = conflicts
  }

  get causes(): ConflictCause[] {
    return this.conflicts.map(({ owner, path }) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with ${renderOwner(owner)}`,
      field: renderPath(path),
    }))
  }
}

/** What is wrong with a configuration that cannot be applied; `status` is the HTTP status upstream answers with. */
export class ApplyError extends TypeError {
  readonly code = 'FAIRLEAD_KUBE_APPLY'
  readonly hint = 'Correct the configuration that is applied'
  readonly status: 400 | 500

  constructor(status: 400 | 500, message: string) {
    super(message)
    this.name = 'ApplyError'
    this.status = status
  }
}

/** Conflicts by owner, in the order of their identities. */
export function conflictsOf(sets: readonly { identity: string; owner: ManagedEntry; fields: FieldSet }[]): Conflict[] {
  return sets
    .toSorted((a, b) => (a.identity < b.identity ? -1 : 1))
    .flatMap(({ owner, fields }) => [...pathsOf(fields)].map((path) => ({ owner, path })))
}

function renderConflicts(conflicts: readonly Conflict[]): string {
  const [first] = conflicts
  if (conflicts.length === 1 && first !== undefined) {
    return `Apply failed with 1 conflict: conflict with ${renderOwner(first.owner)}: ${renderPath(first.path)}`
  }
  const lines: string[] = []
  let owner: ManagedEntry | undefined
  for (const conflict of conflicts) {
    if (conflict.owner !== owner) lines.push(`conflicts with ${renderOwner(conflict.owner)}:`)
    owner = conflict.owner
    lines.push(`- ${renderPath(conflict.path)}`)
  }
  return `Apply failed with ${conflicts.length} conflicts: ${lines.join('\n')}`
}

function renderPath(path: readonly string[]): string {
  return path.map(renderElement).join('')
}

function renderOwner({ manager, operation, apiVersion, subresource }: ManagedEntry): string {
  const name = JSON.stringify(manager) + (subresource === '' ? '' : ` with subresource ${JSON.stringify(subresource)}`)
  return operation === 'Update' ? `${name} using ${apiVersion}` : name
}
