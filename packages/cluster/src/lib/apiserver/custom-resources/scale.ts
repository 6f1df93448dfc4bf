import type { KubeObject } from '@fairlead/kube/types'
import type { Scale } from '@fairlead/kube/types/autoscaling-v1'
import type { CustomResourceSubresourceScale } from '@fairlead/kube/types/apiextensions-v1'

import { invalid } from '../kinds/field-errors.ts'
import type { FieldError } from '../status.ts'
import { internalError } from '../status.ts'
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

/** The `autoscaling/v1` Scale of a custom resource. */
export function toCustomScale(object: KubeObject, paths: ScalePaths): KubeObject & Scale {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata
  const replicas = numberAt(object, paths.specReplicas)
  if (replicas === undefined) {
    const path = paths.specReplicas.map((key) => `.${key}`).join('')
    throw internalError(`the spec replicas field "${path}" does not exist`)
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

/** The custom resource with the number of replicas its Scale asks for. */
export function applyCustomScale(object: KubeObject, scale: KubeObject & Scale, paths: ScalePaths): KubeObject {
  const { uid } = scale.metadata
  // Only a version that the client names is a condition; a custom resource is never replaced without one.
  const resourceVersion = scale.metadata.resourceVersion || object.metadata.resourceVersion
  const scaled = setAt(object, paths.specReplicas, scale.spec?.replicas ?? 0) as KubeObject
  return { ...scaled, metadata: { ...object.metadata, resourceVersion, uid } }
}

/** Replica numbers must be such: somebody will compute with them. */
export function checkScale(object: KubeObject, paths: ScalePaths): FieldError[] {
  return [paths.specReplicas, paths.statusReplicas].flatMap((keys) => {
    const value = valueAt(object, keys)
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
