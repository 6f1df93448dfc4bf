import type { ObjectMeta } from '@fairlead/kube/types'

import type { FieldError } from '../status.ts'
import type { KindStrategy, TableColumn } from '../strategy.ts'

/** An object as the API server hands it over: its metadata is always there. */
export type Stored<T> = T & { metadata: ObjectMeta }

/** A {@link KindStrategy} that knows the type of its objects. */
export interface TypedStrategy<T> {
  default?(object: Stored<T>): void
  validate?(object: Stored<T>, old: Stored<T> | undefined): FieldError[]
  validateStatus?(object: Stored<T>, old: Stored<T>): FieldError[]
  create?(object: Stored<T>): void
  update?(object: Stored<T>, old: Stored<T>): void
  updateStatus?(object: Stored<T>, old: Stored<T>): void
  fields?(object: Stored<T>): Record<string, string>
  /** The name of a field of `fields` in the version that is stored, where that is another. */
  storedField?(name: string): string
  readonly columns: readonly TableColumn[]
  row(object: Stored<T>, now: number): readonly unknown[]
}

/** Registers what a kind does; the API server calls a strategy with objects of its kind only. */
export function defineKind<T>(strategy: TypedStrategy<T>): KindStrategy {
  // The proof of the cast: strategies are looked up by the kind of the object they are given.
  return strategy as unknown as KindStrategy
}

/** What a kind does beyond being stored, where the columns of `kubectl get` stand in a table of their own. */
export type Rules = Omit<KindStrategy, 'columns' | 'row'>

/** {@link defineKind} for the rules only. */
export function defineRules<T>(rules: Omit<TypedStrategy<T>, 'columns' | 'row'>): Rules {
  // The proof of the cast is that of `defineKind`.
  return rules as unknown as Rules
}
