import { manifestSyntax } from '../errors.ts'
import { findDuplicateKeys, mayRepeatKeys } from './duplicate-keys.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true })

export interface ParsedJson {
  value: unknown
  /** Paths of keys given twice; the last one counts. Empty unless asked for. */
  duplicates: readonly string[]
}

/**
 * Parses JSON in UTF-8. With `findDuplicates` keys given twice in one object are reported, which costs about as much
 * as parsing. Throws `SyntaxError` with code FAIRLEAD_KUBE_MANIFEST.
 */
export function parseJson(bytes: Uint8Array | string, options: { findDuplicates?: boolean } = {}): ParsedJson {
  try {
    const text = typeof bytes === 'string' ? bytes : utf8.decode(bytes)
    const value = JSON.parse(text) as unknown
    return {
      value,
      duplicates: options.findDuplicates === true && mayRepeatKeys(text, value) ? findDuplicateKeys(text) : [],
    }
  } catch (error) {
    throw manifestSyntax('JSON', error instanceof Error ? error.message : String(error), error)
  }
}
