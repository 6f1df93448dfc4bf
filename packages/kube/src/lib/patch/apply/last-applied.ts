import { parseExactJson, renderExactJson } from '../../codec/exact-json.ts'
import { getKey, isJsonObject } from '../json-value.ts'
import { compareTyped } from './compare.ts'
import { difference } from './field-set.ts'
import { toFieldSet } from './to-field-set.ts'
import { validateTyped } from './validate.ts'
import type { JsonObject } from '../json-value.ts'
import type { FieldSet } from './field-set.ts'
import type { MergeContext } from './ownership.ts'

/** Where client-side apply keeps what it applied. */
const lastAppliedAnnotation = 'kubectl.kubernetes.io/last-applied-configuration'

/** All annotations of an object together may have this many bytes. */
const maxAnnotationsBytes = 256 * 1024

/** What client-side apply recorded; undefined when it never did. */
export function lastApplied(object: unknown): string | undefined {
  const annotations = annotationsOf(object)
  const text = annotations === undefined ? undefined : getKey(annotations, lastAppliedAnnotation)
  return typeof text === 'string' && text !== '' ? text : undefined
}

function annotationsOf(object: unknown): JsonObject | undefined {
  const metadata = isJsonObject(object) ? object['metadata'] : undefined
  const annotations = isJsonObject(metadata) ? metadata['annotations'] : undefined
  return isJsonObject(annotations) ? annotations : undefined
}

/**
 * Fields that client-side apply set and nobody changed since: taking them over is no conflict. Undefined when nothing
 * can be said, as without the annotation.
 */
export function allowedConflicts(context: MergeContext, apiVersion: string, live: unknown): FieldSet | undefined {
  const text = lastApplied(live)
  const type = context.typeOf(apiVersion)
  if (text === undefined || type === undefined) return undefined
  const applied = parse(text)
  if (applied === undefined || applied['apiVersion'] !== apiVersion) return undefined
  if (validateTyped(type, applied).length > 0) return undefined
  const { removed, changed } = compareTyped(type, applied, live, { hasZeros: false })
  return difference(difference(toFieldSet(type, applied), changed), removed)
}

function parse(text: string): JsonObject | undefined {
  try {
    const value = parseExactJson(text)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Writes the configuration into the annotation, so that client-side apply goes on from it. Changes `object`. */
export function syncLastApplied(object: JsonObject, config: JsonObject): void {
  const metadata = { ...(object['metadata'] as JsonObject) }
  const annotations: JsonObject = { ...annotationsOf(object), [lastAppliedAnnotation]: renderConfiguration(config) }
  let size = 0
  for (const [key, value] of Object.entries(annotations))
    size += Buffer.byteLength(key) + (typeof value === 'string' ? Buffer.byteLength(value) : 0)
  if (size > maxAnnotationsBytes) delete annotations[lastAppliedAnnotation]
  object['metadata'] = { ...metadata, annotations }
}

function renderConfiguration(config: JsonObject): string {
  const metadata = config['metadata']
  const annotations = annotationsOf(config)
  let plain = config
  if (isJsonObject(metadata) && annotations !== undefined) {
    const { [lastAppliedAnnotation]: _recorded, ...rest } = annotations
    plain = { ...config, metadata: { ...metadata, annotations: rest } }
  }
  const text = renderExactJson(sortKeys(plain))
  return `${text.replaceAll(/[<>&\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (!isJsonObject(value)) return value
  return Object.fromEntries(
    Object.keys(value)
      .toSorted()
      .map((key) => [key, sortKeys(value[key])]),
  )
}
