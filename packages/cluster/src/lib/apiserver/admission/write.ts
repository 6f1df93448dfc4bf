import type { KubeObject } from '@fairlead/kube/types'

import type { WriteOptions } from '../registry.ts'
import type { Resource } from '../resource.ts'

/** A write about to happen, as the built-in plugins see it. */
export interface Write {
  /** In the version in which objects are stored. */
  readonly resource: Resource
  /** Empty for the object itself. */
  readonly subresource: string
  readonly object: KubeObject
  /** Absent when the object is new. */
  readonly old: KubeObject | undefined
  readonly options: WriteOptions
}
