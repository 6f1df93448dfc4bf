import { settingInvalid } from '../errors.ts'
import type { Environment } from '../lifecycle/resource.ts'

/** How much a span may hold; what is beyond is counted and dropped. */
export interface SpanLimits {
  /** Default 128. */
  readonly attributes: number
  /** Characters of a string value. Default: no limit. */
  readonly valueLength: number
  /** Default 128. */
  readonly events: number
  /** Default 128. */
  readonly links: number
}

export const defaultLimits: SpanLimits = { attributes: 128, valueLength: Infinity, events: 128, links: 128 }

/**
 * OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT (and OTEL_ATTRIBUTE_... of both),
 * OTEL_SPAN_EVENT_COUNT_LIMIT, OTEL_SPAN_LINK_COUNT_LIMIT.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING`
 */
export function readLimits(env: Environment): SpanLimits {
  const first = (...names: readonly string[]): number | undefined =>
    names.map((name) => readCount(env, name)).find((count) => count !== undefined)
  return {
    attributes: first('OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT', 'OTEL_ATTRIBUTE_COUNT_LIMIT') ?? defaultLimits.attributes,
    valueLength:
      first('OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT', 'OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT') ?? defaultLimits.valueLength,
    events: first('OTEL_SPAN_EVENT_COUNT_LIMIT') ?? defaultLimits.events,
    links: first('OTEL_SPAN_LINK_COUNT_LIMIT') ?? defaultLimits.links,
  }
}

/**
 * A variable that is a whole number; undefined when it is not set.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING`
 */
export function readCount(env: Environment, name: string, min = 0): number | undefined {
  const text = env[name]?.trim()
  if (text === undefined || text === '') return undefined
  if (!/^\d{1,9}$/.test(text) || Number(text) < min) throw settingInvalid(name, text, `a whole number from ${min}`)
  return Number(text)
}
