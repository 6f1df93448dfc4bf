import { isDeepStrictEqual } from 'node:util'

import { isAlreadyExists, isNotFound } from '@fairlead/kube'
import type { KubeResource, ResourceClient } from '@fairlead/kube'

/**
 * Writes a status by merge patch, for controllers that are its only writer: no version to lose a race with. Fields
 * that are undefined in `status` are removed. An object that is gone is passed over.
 */
export async function patchStatus<T extends KubeResource>(
  objects: ResourceClient<T>,
  object: T,
  status: object,
): Promise<void> {
  const { name = '', namespace, uid } = object.metadata ?? {}
  const body = { metadata: { uid }, status: undefinedToNull(status) }
  await ignoreNotFound(objects.patch(name, { type: 'merge', body }, { namespace, subresource: 'status' }))
}

/** Whether the status of `object` is `wanted` already. Fields that are undefined in `wanted` count as absent. */
export function hasStatus(object: { readonly status?: object | undefined }, wanted: object): boolean {
  const fields = Object.entries(wanted).filter(([, value]) => value !== undefined)
  return isDeepStrictEqual(Object.fromEntries(fields), { ...object.status })
}

function undefinedToNull(value: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, field === undefined ? null : field]))
}

/** Settles a write to an object that may have been deleted meanwhile; undefined when it was. */
export async function ignoreNotFound<T>(write: Promise<T>): Promise<T | undefined> {
  try {
    return await write
  } catch (error) {
    if (isNotFound(error)) {
      return undefined
    }
    throw error
  }
}

/** Settles a create of what somebody else may have created meanwhile: the cache was behind. */
export async function ignoreExists(write: Promise<unknown>): Promise<void> {
  try {
    await write
  } catch (error) {
    if (!isAlreadyExists(error)) throw error
  }
}

/** Zero as the API writes it in most status fields: not at all. */
export function omitZero(count: number): number | undefined {
  return count === 0 ? undefined : count
}
