import { copyExactJson } from '@fairlead/kube/codec'
import { mergeTypeOf } from '@fairlead/kube/patch'
import type { MergeContext, MergeType } from '@fairlead/kube/patch'
import { findKind } from '@fairlead/kube/types'
import type { KubeObject } from '@fairlead/kube/types'

import type { CustomKind, Resource } from '../resource.ts'
import { convert } from '../versions.ts'
import { customStatusResets, resetFieldsOf } from './reset-fields.ts'
import { mergeTypeOfSchema } from './schema-type.ts'

const contexts = new WeakMap<Resource, Map<string, MergeContext>>()

/** What ownership needs to know of a resource written through a subresource (empty for the object itself). */
export function mergeContextOf(resource: Resource, subresource: string): MergeContext {
  let ofResource = contexts.get(resource)
  if (ofResource === undefined) {
    ofResource = new Map()
    contexts.set(resource, ofResource)
  }
  let context = ofResource.get(subresource)
  if (context === undefined) {
    context = createContext(resource, subresource)
    ofResource.set(subresource, context)
  }
  return context
}

function createContext(resource: Resource, subresource: string): MergeContext {
  const { info, custom } = resource
  if (custom !== undefined) return createCustomContext(resource, custom, subresource)
  return {
    typeOf: (apiVersion) => {
      const kind = findKind(apiVersion, info.kind)
      return kind === undefined ? undefined : mergeTypeOf(kind.definition)
    },
    convert: (object, apiVersion) => convertBuiltIn(object as KubeObject, apiVersion, info.kind),
    ignored: resetFieldsOf(info, subresource),
    isFixed: true,
  }
}

/** An object without a version is the one that is not there yet: it is the same in all. */
function convertBuiltIn(object: KubeObject, apiVersion: string, kind: string): unknown {
  if (object.apiVersion === apiVersion || object.apiVersion === undefined) return object
  const target = findKind(apiVersion, kind)
  if (target === undefined) return undefined
  return convert(copyExactJson(object), target)
}

/**
 * Versions of a custom resource are compared by the schema of the one that is written: a definition converts them by
 * their name alone unless a webhook does, which nobody can wait for in the middle of a write.
 */
function createCustomContext({ info, subresources }: Resource, custom: CustomKind, subresource: string): MergeContext {
  let type: MergeType | undefined
  const isOurs = (apiVersion: string): boolean => apiVersion.startsWith(`${info.group}/`)
  const hasStatus = subresources.some(({ name }) => name === 'status')
  return {
    typeOf: (apiVersion) => (isOurs(apiVersion) ? (type ??= mergeTypeOfSchema(custom.schema)) : undefined),
    convert(object, apiVersion) {
      const { apiVersion: present } = object as KubeObject
      if (present === apiVersion || present === undefined) return object
      return isOurs(apiVersion) ? { ...(object as KubeObject), apiVersion } : undefined
    },
    ignored:
      subresource === 'status' ? customStatusResets : hasStatus && subresource === '' ? { 'f:status': {} } : undefined,
  }
}
