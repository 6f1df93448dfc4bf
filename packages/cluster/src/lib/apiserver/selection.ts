import type { Entry } from '../storage/collection.ts'
import { attributesOf, idOf, readObject, selectAttributes } from './resource.ts'
import type { Attributes, Resource } from './resource.ts'
import type { ResourceRoute } from './route.ts'
import { parseLabelSelector } from './label-selector.ts'
import { exactValue, matches, parseFieldSelector } from './selectors.ts'
import { badRequest } from './status.ts'

/** Which objects of a resource a request is about. */
export interface Selection {
  /** Ids of the selection start with this. */
  readonly prefix: string
  /** The one object it can be, when a selector says so. */
  readonly id: string | undefined
  /** Whether every object under the prefix belongs to it. */
  readonly isEverything: boolean
  /** Whether the objects have to be seen in the version of the request: its form is to be prepared for what is asked of. */
  readonly needsForm: boolean
  matches(entry: Entry): boolean
}

/** Reads namespace and selectors of a list or watch. */
export function parseSelection(resource: Resource, route: ResourceRoute, query: URLSearchParams): Selection {
  const labels = parseLabelSelector(query.get('labelSelector') ?? '')
  const fields = parseFieldSelector(query.get('fieldSelector') ?? '')
  for (const { key } of fields) {
    if (!resource.selectableFields.has(key)) throw unknownField(resource, key)
  }
  const stored = fields.map((field) => ({ ...field, key: resource.strategy.storedField?.(field.key) ?? field.key }))
  const { namespace } = route
  const selected = exactValue(fields, 'metadata.name')
  if (route.name !== '' && fields.length > 0 && selected !== route.name) {
    throw badRequest("fieldSelector metadata.name doesn't match requested name")
  }
  const name = route.name === '' ? selected : route.name
  const prefix = namespace === '' ? '' : `${namespace}/`
  const hasPlace = namespace !== '' || !resource.info.namespaced
  const id = name !== undefined && hasPlace ? idOf(namespace, name) : undefined
  // A name in all namespaces: ids tell it, and the objects of other names need not be read for it.
  const ending = name === undefined || hasPlace ? '' : `/${name}`
  const isEverything = labels.length === 0 && fields.length === 0 && id === undefined
  // Versions of a custom resource have fields of their own to select by.
  const needsForm = resource.custom !== undefined && fields.some(({ key }) => !key.startsWith('metadata.'))
  return {
    prefix,
    id,
    isEverything,
    needsForm,
    matches(entry) {
      if (!entry.id.startsWith(prefix)) return false
      if (isEverything) return true
      if (id !== undefined && entry.id !== id) return false
      if (!entry.id.endsWith(ending)) return false
      const attributes = needsForm ? attributesInVersion(resource, entry) : attributesOf(resource, entry)
      return matches(labels, attributes.labels) && matches(stored, attributes.fields)
    },
  }
}

/** What was kept with the entry is of the version in which it was written, maybe another one. */
function attributesInVersion(resource: Resource, entry: Entry): Attributes {
  const kept = entry.cache as Attributes | undefined
  if (kept?.version === resource.info.apiVersion) return kept
  return selectAttributes(resource, readObject(resource, entry))
}

/** Kinds with fields of their own to select by name the label, the others the two that every kind has. */
function unknownField({ custom, strategy, info }: Resource, key: string): Error {
  const hasOwn = custom !== undefined || strategy.fields !== undefined
  if (info.kind === 'ResourceSlice') return badRequest(`field label not supported for ${goKindOf(info)}: ${key}`)
  if (hasOwn) return badRequest(`field label not supported: ${key}`)
  return badRequest(`"${key}" is not a known field selector: only "metadata.name", "metadata.namespace"`)
}

/** `resource.k8s.io/v1, Kind=ResourceSlice`. */
function goKindOf({ apiVersion, kind }: Resource['info']): string {
  return `${apiVersion}, Kind=${kind}`
}
