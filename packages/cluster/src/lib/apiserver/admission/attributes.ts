import type { KubeObject } from '@fairlead/kube/types'

import type { Identity } from '../exchange.ts'
import type { Resource } from '../resource.ts'

export type Operation = 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT'

/** One request as admission sees it. */
export interface AdmissionAttributes {
  readonly operation: Operation
  /** The resource the URL names, in the version the client speaks. */
  readonly resource: Resource
  /** Empty for the object itself. */
  readonly subresource: string
  /** What `object` and `oldObject` are, where a subresource takes another kind (`Binding`, `Scale`, `PodExecOptions`). */
  readonly kind?: GroupVersionKind | undefined
  readonly namespace: string
  readonly name: string
  /** Absent when something is deleted. In the version of `resource`. */
  readonly object: KubeObject | undefined
  readonly oldObject: KubeObject | undefined
  /** The options object of the request: `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions`. */
  readonly options: KubeObject | undefined
  readonly isDryRun: boolean
  readonly identity: Identity
  readonly notes: AdmissionNotes
}

export interface GroupVersionKind {
  readonly group: string
  readonly version: string
  readonly kind: string
}

/** What admission tells besides yes and no. */
export class AdmissionNotes {
  readonly warnings: string[] = []
  readonly annotations: Record<string, string> = {}

  warn(text: string): void {
    // Said once, as the recorder of upstream does.
    if (!this.warnings.includes(text)) this.warnings.push(text)
  }

  annotate(key: string, value: string): void {
    this.annotations[key] ??= value
  }
}

export function kindOf({ kind, resource }: Pick<AdmissionAttributes, 'kind' | 'resource'>): GroupVersionKind {
  if (kind !== undefined) return kind
  const { group, version, kind: name } = resource.info
  return { group, version, kind: name }
}
