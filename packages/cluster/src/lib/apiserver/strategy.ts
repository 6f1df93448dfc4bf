import type { KubeObject } from '@fairlead/kube/types'

import type { FieldError } from './status.ts'

export interface TableColumn {
  readonly name: string
  readonly type: string
  readonly format?: string | undefined
  readonly description?: string | undefined
  readonly priority?: number | undefined
}

/** What one kind does differently from the others. Functions that prepare an object change it. */
export interface KindStrategy {
  /** Fills in the defaults of the version. */
  default?(object: KubeObject): void
  /** What is wrong with an object about to be stored; `old` is the version it replaces. */
  validate?(object: KubeObject, old: KubeObject | undefined): FieldError[]
  /** The same for a write of the status, where that asks for less than a write of the object. */
  validateStatus?(object: KubeObject, old: KubeObject): FieldError[]
  /** Before defaulting: drops what a client may not set, such as the status. */
  create?(object: KubeObject): void
  /** Before defaulting: keeps what a client may not change, and what it may leave out. */
  update?(object: KubeObject, old: KubeObject): void
  /** The same for a write of the status. */
  updateStatus?(object: KubeObject, old: KubeObject): void
  /** Field selectors beyond name and namespace; the same keys for every object. */
  fields?(object: KubeObject): Record<string, string>
  /** The name of a field of `fields` in the version that is stored, where that is another. */
  storedField?(name: string): string
  readonly columns: readonly TableColumn[]
  /** Cells for `columns`; `now` is in milliseconds. */
  row(object: KubeObject, now: number): readonly unknown[]
}
