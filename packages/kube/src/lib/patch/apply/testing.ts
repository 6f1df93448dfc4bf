import { findDefinition } from '../../types/fields.ts'
import { cloneJson, isJsonObject } from '../json-value.ts'
import { applyMergePatch } from '../merge-patch.ts'
import { ApplyConflict } from './errors.ts'
import { applyConfiguration, ownUpdate } from './field-manager.ts'
import { mergeTypeOf } from './table-type.ts'
import type { Owned } from './field-manager.ts'
import type { MergeContext } from './ownership.ts'

/** One write of a case of the table in testdata/. */
export interface Step {
  create?: Owned
  /** An update, told as the merge patch that makes it. */
  merge?: unknown
  apply?: unknown
  as: string
  subresource?: string
  force?: boolean
  /** Ownership is forgotten after the step, as if the object were older than ownership. */
  forget?: boolean
}

export interface ApplyCase {
  name: string
  apiVersion: string
  kind: string
  steps: Step[]
  /** What each step gives; a failed step leaves the object as it was. */
  expected: unknown[]
}

/** What each step of a case gives, in the form the table holds: times are `T`, zero values left out. */
export function runSteps({ apiVersion, kind, steps }: ApplyCase): unknown[] {
  let live: Owned | undefined
  return steps.map((step) => {
    try {
      const next = runStep(step, apiVersion, kind, live)
      next.metadata.uid = 'uid'
      if (step.forget === true) delete next.metadata.managedFields
      // As it would be read from the store.
      live = dropNulls(JSON.parse(JSON.stringify(next))) as Owned
      return snapshot(live)
    } catch (error) {
      if (!(error instanceof Error)) throw error
      const causes =
        error instanceof ApplyConflict ? error.causes.map(({ message, field }) => `${message} ${field}`) : []
      return { error: error.message, ...(causes.length === 0 ? {} : { causes }) }
    }
  })
}

function runStep(step: Step, apiVersion: string, kind: string, live: Owned | undefined): Owned {
  const { as, subresource = '', force = false } = step
  const info = { writer: { manager: as, apiVersion, subresource }, time: '2026-01-01T00:00:00Z' }
  const context = contextOf(apiVersion, kind, subresource)
  if (step.apply !== undefined) {
    return applyConfiguration(context, info, live, { config: step.apply, kind, subject: '/web', isForced: force })
  }
  const next = cloneJson(step.create ?? (applyMergePatch(live, step.merge) as Owned))
  const entries = ownUpdate(context, info, live, next)
  if (entries === undefined) delete next.metadata.managedFields
  else next.metadata.managedFields = entries
  return next
}

function contextOf(apiVersion: string, kind: string, subresource: string): MergeContext {
  const type = mergeTypeOf(findDefinition(apiVersion, kind) ?? '')
  return {
    typeOf: (version) => (version === apiVersion ? type : undefined),
    convert: (object, version) => (version === apiVersion ? object : undefined),
    ignored: subresource === 'status' ? { 'f:spec': {} } : { 'f:status': {} },
  }
}

function snapshot(object: Owned): unknown {
  const { managedFields, ...metadata } = object.metadata
  const entries = managedFields?.map((entry) => (entry.time === undefined ? entry : { ...entry, time: 'T' }))
  return cloneJson({
    object: dropEmpty({ ...object, metadata }),
    ...(entries === undefined ? {} : { managedFields: entries }),
  })
}

function dropNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dropNulls)
  if (!isJsonObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, child]) => (child === null ? [] : [[key, dropNulls(child)]])),
  )
}

function dropEmpty(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map(dropEmpty).map((item) => (item === undefined ? null : item))
    return items.length === 0 ? undefined : items
  }
  if (!isJsonObject(value)) return value === '' || value === 0 || value === false ? undefined : (value ?? undefined)
  const entries = Object.entries(value).flatMap(([key, child]) => {
    const kept = dropEmpty(child)
    return kept === undefined ? [] : [[key, kept]]
  })
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}
