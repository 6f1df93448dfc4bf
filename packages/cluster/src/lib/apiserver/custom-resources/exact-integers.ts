import type { KindInfo } from '@fairlead/kube/types'

import { invalid } from '../status.ts'

const longInteger = /-?\d{16,}/g
const least = -(2n ** 63n)
const greatest = 2n ** 63n - 1n

/**
 * Throws 422 when `value`, read from `text`, holds an integer that was rounded on the way: numbers are doubles here, where
 * Kubernetes keeps integers of 64 bits. What does not fit into those is rounded there as well.
 */
export function checkIntegers(
  text: string,
  value: unknown,
  { apiVersion, kind }: Pick<KindInfo, 'apiVersion' | 'kind'>,
): void {
  for (const [token] of text.matchAll(longInteger)) {
    const rounded = Number(token)
    if (String(rounded) === token) continue
    const exact = BigInt(token)
    if (exact < least || exact > greatest) continue
    // Digits may as well be part of a text or of a fraction.
    const field = fieldOf(value, rounded)
    if (field === undefined) continue
    const why = `integers beyond ${Number.MAX_SAFE_INTEGER} cannot be kept exactly, write it as a string or use a smaller one`
    const message = `Invalid value: ${token}: ${why}`
    throw invalid({ group: apiVersion.split('/', 1)[0] ?? '', kind }, nameIn(value), [
      { field, reason: 'FieldValueInvalid', message },
    ])
  }
}

/** Where a number is in a value; undefined when it is nowhere. */
function fieldOf(value: unknown, wanted: number, path = ''): string | undefined {
  if (value === wanted) return path
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, child] of Object.entries(value)) {
    const place = Array.isArray(value) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`
    const found = fieldOf(child, wanted, place)
    if (found !== undefined) return found
  }
  return undefined
}

function nameIn(value: unknown): string {
  const { metadata } = (value ?? {}) as { metadata?: { name?: unknown } | null }
  return typeof metadata?.name === 'string' ? metadata.name : ''
}
