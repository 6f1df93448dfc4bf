import { renderExactJson } from '../codec/exact-json.ts'
import { isJsonObject } from './json-value.ts'

/** A JSON value as Go prints it with `%v`; upstream's messages hold values so. */
export function renderGo(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(renderGo).join(' ')}]`
  if (typeof value === 'string') return value
  if (!isJsonObject(value)) return value === null || value === undefined ? '<nil>' : renderExactJson(value)
  const parts = Object.keys(value)
    .toSorted()
    .map((key) => `${key}:${renderGo(value[key])}`)
  return `map[${parts.join(' ')}]`
}

/** The Go type a JSON value is decoded to. */
export function goTypeOf(value: unknown): string {
  if (Array.isArray(value)) return '[]interface {}'
  if (isJsonObject(value)) return 'map[string]interface {}'
  switch (typeof value) {
    case 'string':
      return 'string'
    case 'boolean':
      return 'bool'
    case 'bigint':
      return 'int64'
    case 'number':
      return Number.isInteger(value) ? 'int64' : 'float64'
    default:
      return '%!s(<nil>)'
  }
}
