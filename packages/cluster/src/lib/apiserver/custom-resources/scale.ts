import type { KubeObject } from '@fairlead/kube/types'
import type { Scale } from '@fairlead/kube/types/autoscaling-v1'
import type { CustomResourceDefinition, CustomResourceSubresourceScale } from '@fairlead/kube/types/apiextensions-v1'

import { invalid } from '../kinds/field-errors.ts'
import type { FieldError } from '../status.ts'
import { badRequest, internalError } from '../status.ts'
import { isObject } from './schema.ts'

/** Where a custom resource keeps what its scale subresource shows. */
export interface ScalePaths {
  readonly specReplicas: readonly string[]
  readonly statusReplicas: readonly string[]
  readonly labelSelector: readonly string[] | undefined
}

export function scalePathsOf(scale: CustomResourceSubresourceScale): ScalePaths {
  const { labelSelectorPath = '' } = scale
  return {
    specReplicas: keysOf(scale.specReplicasPath),
    statusReplicas: keysOf(scale.statusReplicasPath),
    labelSelector: labelSelectorPath === '' ? undefined : keysOf(labelSelectorPath),
  }
}

/** Where each version keeps the number of replicas, as sets of fields name it; an empty path where it has no scale. */
export function replicasPathsOf({ spec }: CustomResourceDefinition): ReadonlyMap<string, readonly string[]> {
  const paths = spec.versions.map(({ name, subresources }) => {
    const path = subresources?.scale === undefined ? [] : keysOf(subresources.scale.specReplicasPath)
    return [`${spec.group}/${name}`, path.map((key) => `f:${key}`)] as const
  })
  return new Map(paths)
}

/** The `autoscaling/v1` Scale of a custom resource; `missing` stands for a number of replicas that is not there. */
export function toCustomScale(object: KubeObject, paths: ScalePaths, missing?: number): KubeObject & Scale {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata
  const replicas = numberAt(object, paths.specReplicas) ?? missing
  if (replicas === undefined) {
    throw internalError(`the spec replicas field "${textOf(paths.specReplicas)}" does not exist`)
  }
  const selector = paths.labelSelector === undefined ? undefined : valueAt(object, paths.labelSelector)
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas },
    status: {
      replicas: numberAt(object, paths.statusReplicas) ?? 0,
      ...(typeof selector === 'string' ? { selector } : {}),
    },
  }
}

/** No number anyone would ask for: a write of the Scale that leaves it has not named one. */
export const noReplicas = -2_147_483_648

/** The custom resource with the number of replicas its Scale asks for; throws 400 when that is {@link noReplicas}. */
export function applyCustomScale(object: KubeObject, scale: KubeObject & Scale, paths: ScalePaths): KubeObject {
  const { uid } = scale.metadata
  if (scale.spec?.replicas === noReplicas) {
    throw badRequest(`the spec replicas field "${textOf(paths.specReplicas)}" cannot be empty`)
  }
  // Only a version that the client names is a condition; a custom resource is never replaced without one.
  const resourceVersion = scale.metadata.resourceVersion || object.metadata.resourceVersion
  const scaled = setAt(object, paths.specReplicas, scale.spec?.replicas ?? 0) as KubeObject
  return { ...scaled, metadata: { ...object.metadata, resourceVersion, uid } }
}

/** Replica numbers must be such: somebody will compute with them. */
export function checkScale(object: KubeObject, paths: ScalePaths): FieldError[] {
  return [paths.specReplicas, paths.statusReplicas].flatMap((keys) => {
    const held = valueAt(object, keys)
    // One of 64 bits is too large like any other.
    const value = typeof held === 'bigint' ? Number(held) : held
    if (value === undefined) return []
    const field = `.${keys.join('.')}`
    if (typeof value !== 'number' || !Number.isInteger(value)) {
      const found = `${JSON.stringify(value)} is of the type ${typeof value}, expected int64`
      return [invalid(field, value, `${field} accessor error: ${found}`)]
    }
    if (value < 0) return [invalid(field, value, 'should be a non-negative integer')]
    return value > 2147483647 ? [invalid(field, value, 'should be less than or equal to 2147483647')] : []
  })
}

function keysOf(path: string): string[] {
  return path.split('.').filter((key) => key !== '')
}

function textOf(keys: readonly string[]): string {
  return keys.map((key) => `.${key}`).join('')
}

function valueAt(object: unknown, keys: readonly string[]): unknown {
  let value = object
  for (const key of keys) value = isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined
  return value
}

function numberAt(object: unknown, keys: readonly string[]): number | undefined {
  const value = valueAt(object, keys)
  return typeof value === 'number' ? value : undefined
}

function setAt(object: unknown, [key = '', ...rest]: readonly string[], value: unknown): unknown {
  const base = isObject(object) ? object : {}
  return { ...base, [key]: rest.length === 0 ? value : setAt(base[key], rest, value) }
}
