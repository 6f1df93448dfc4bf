import type { KubeObject } from '@fairlead/kube/types'

import type { Catalogue } from '../catalogue.ts'
import type { Resource } from '../resource.ts'
import { convert } from '../versions.ts'

/** The other versions in which the objects of a resource are served. */
export function equivalentsOf(catalogue: Catalogue): (resource: Resource) => readonly Resource[] {
  return (resource) =>
    catalogue.groups
      .flatMap(({ versions }) => versions.flatMap(({ resources }) => resources))
      .filter((other) => other !== resource && other.collection === resource.collection)
}

/** An object of `from` as one of `to`, another version of the same objects; the same object when they are one. */
export function toVersion<T extends KubeObject | undefined>(object: T, from: Resource, to: Resource): T {
  if (object === undefined || from === to) return object
  const stored = convert(structuredClone(object), from.stored.info)
  return to.form.read(from.stored.form.write(stored, revisionOf(object))) as T
}

function revisionOf({ metadata }: KubeObject): number {
  return Number(metadata.resourceVersion ?? 0)
}
