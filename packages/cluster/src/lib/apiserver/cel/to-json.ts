import { narrowInteger } from '@fairlead/kube/codec'
import { renderDuration, renderTimestamp } from './time.ts'
import { CelError, CelMap, CelObject, Duration, isList, Optional, Timestamp, typeOf, Uint } from './values.ts'
import type { Value } from './values.ts'

/** A value as JSON; throws {@link CelError} for what JSON has no form for. */
export function toJson(value: Value): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number')
    return value
  if (typeof value === 'bigint') return narrowInteger(value)
  if (value instanceof Uint) return narrowInteger(value.value)
  if (isList(value)) return value.map(toJson)
  if (value instanceof CelMap) {
    return Object.fromEntries(Array.from(value.entries(), ([key, child]) => [String(toJson(key)), toJson(child)]))
  }
  if (value instanceof CelObject) return value.data
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (value instanceof Timestamp) return renderTimestamp(value)
  if (value instanceof Duration) return renderDuration(value)
  if (value instanceof Optional) return value.value === undefined ? null : toJson(value.value)
  throw new CelError(`a value of type '${typeOf(value)}' has no form in JSON`)
}
