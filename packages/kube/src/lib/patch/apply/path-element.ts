import { parseExactJson, renderExactJson } from '../../codec/exact-json.ts'
import { getKey, isJsonObject } from '../json-value.ts'
import type { MergeList, MergeMap } from './merge-type.ts'

/** An element of a list that nothing tells from the others; the message is upstream's. */
export class ElementError extends TypeError {
  override readonly name = 'ElementError'
}

/**
 * The text by which `FieldsV1` names an element of a list: `k:{"name":"web"}` by its keys, `v:"x"` by its value.
 *
 * Throws {@link ElementError} for elements that have none.
 */
export function elementName(list: MergeList, item: unknown): string {
  return list.keys.length === 0 ? nameByValue(item) : nameByKeys(list, item)
}

function nameByValue(item: unknown): string {
  if (item === null) throw new ElementError("associative list without keys has an element that's an explicit null")
  if (Array.isArray(item)) throw new ElementError('not supported: associative list with lists as elements')
  if (typeof item === 'object') throw new ElementError("associative list without keys has an element that's a map type")
  return `v:${renderScalar(item)}`
}

function nameByKeys(list: MergeList, item: unknown): string {
  if (item === null) throw new ElementError('associative list with keys may not have a null element')
  if (!isJsonObject(item)) throw new ElementError('associative list with keys may not have non-map elements')
  let text = ''
  for (const key of sortedKeys(list)) {
    const value = getKey(item, key) ?? list.element.map?.fields.get(key)?.default
    if (value === undefined) continue
    text += `${text === '' ? '' : ','}"${key}":${renderScalar(value)}`
  }
  if (text !== '') return `k:{${text}}`
  const keys = `[${list.keys.map((key) => JSON.stringify(key)).join(' ')}]`
  throw new ElementError(
    `associative list with keys has an element that omits all key fields ${keys} (and doesn't have default values for any key fields)`,
  )
}

const sorted = new WeakMap<MergeList, readonly string[]>()

function sortedKeys(list: MergeList): readonly string[] {
  if (list.keys.length === 1) return list.keys
  let keys = sorted.get(list)
  if (keys === undefined) {
    keys = list.keys.toSorted()
    sorted.set(list, keys)
  }
  return keys
}

/** JSON as Go's encoder writes it, which spells out what HTML would read. */
function renderScalar(value: unknown): string {
  const text = renderExactJson(value)
  return html.test(text) ? text.replaceAll(html2, escapeHtml) : text
}

const html = /[<>&\u2028\u2029]/
const html2 = /[<>&\u2028\u2029]/g

function escapeHtml(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** Brings a path element that a client wrote to the one form this server writes; undefined for one it does not know. */
export function canonicalElement(text: string): string | undefined {
  if (text.length < 2) throw new SyntaxError('key must be 2 characters long')
  if (text[1] !== ':') throw new SyntaxError(`missing colon: ${text}`)
  switch (text[0]) {
    case 'f':
      return text
    case 'v':
      return `v:${renderScalar(parseExactJson(text.slice(2)))}`
    case 'i':
      if (!/^[-+]?\d+$/.test(text.slice(2))) throw new SyntaxError(`invalid index: ${text}`)
      return `i:${Number(text.slice(2))}`
    case 'k': {
      const keys = parseExactJson(text.slice(2))
      if (!isJsonObject(keys)) throw new SyntaxError(`invalid key: ${text}`)
      const parts = Object.keys(keys)
        .toSorted()
        .map((key) => `${renderScalar(key)}:${renderScalar(keys[key])}`)
      return `k:{${parts.join(',')}}`
    }
    default:
      return undefined
  }
}

/** A path element as people read it: `.spec`, `[name="web"]`, `[="x"]`, `[3]`. */
export function renderElement(element: string): string {
  const text = element.slice(2)
  switch (element[0]) {
    case 'f':
      return `.${text}`
    case 'v':
      return `[=${renderValue(parseExactJson(text))}]`
    case 'k': {
      const keys = parseExactJson(text) as Record<string, unknown>
      return `[${Object.entries(keys)
        .map(([key, value]) => `${key}=${renderValue(value)}`)
        .join(',')}]`
    }
    default:
      return `[${text}]`
  }
}

function renderValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(renderValue).join(',')}]`
  if (!isJsonObject(value)) return renderExactJson(value)
  return Object.entries(value)
    .map(([key, child]) => `${key}=${renderValue(child)}`)
    .join('')
}

const ranks = 'fkvi'

/** The order of path elements: fields, then keys, values and indexes, each by content. */
export function compareElements(a: string, b: string): number {
  const rank = ranks.indexOf(a[0] ?? '') - ranks.indexOf(b[0] ?? '')
  if (rank !== 0) return rank
  if (a[0] === 'f') return a < b ? -1 : a > b ? 1 : 0
  return compareValues(parseExactJson(a.slice(2)), parseExactJson(b.slice(2)))
}

const types = ['number', 'string', 'boolean']

function rankOf(value: unknown): number {
  return types.indexOf(typeof value === 'bigint' ? 'number' : typeof value)
}

/** Numbers before texts before booleans, as upstream orders values. */
function compareValues(a: unknown, b: unknown): number {
  if (isJsonObject(a) && isJsonObject(b)) {
    const [left, right] = [Object.entries(a), Object.entries(b)]
    for (let index = 0; index < Math.min(left.length, right.length); index += 1) {
      const [key = '', value] = left[index] ?? []
      const [otherKey = '', other] = right[index] ?? []
      const order = compareScalars(key, otherKey) || compareValues(value, other)
      if (order !== 0) return order
    }
    return left.length - right.length
  }
  return rankOf(a) - rankOf(b) || compareScalars(a, b)
}

function compareScalars(a: unknown, b: unknown): number {
  if (a === b) return 0
  return (a as string) < (b as string) ? -1 : 1
}

/** Whether an element names a field the map declares. */
export function isNamedField(map: MergeMap | undefined, element: string): boolean {
  return element[0] === 'f' && map?.fields.has(element.slice(2)) === true
}
