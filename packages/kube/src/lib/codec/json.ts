import { manifestSyntax } from '../errors.ts'
import { findDuplicateKeys, mayRepeatKeys } from './duplicate-keys.ts'
import { parseExactJson } from './exact-json.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true })

export interface ParsedJson {
  value: unknown
  /** Paths of keys given twice; the last one counts. Empty unless asked for. */
  duplicates: readonly string[]
}

export interface JsonOptions {
  /** Report keys given twice in one object, which costs about as much as parsing. Default: false. */
  findDuplicates?: boolean
  /** Whole numbers of 64 bits that a double cannot hold become bigints. Default: false, they are rounded. */
  exactIntegers?: boolean
}

/** Parses JSON in UTF-8. Throws `SyntaxError` with code FAIRLEAD_KUBE_MANIFEST. */
export function parseJson(bytes: Uint8Array | string, options: JsonOptions = {}): ParsedJson {
  try {
    const text = typeof bytes === 'string' ? bytes : utf8.decode(bytes)
    const value = options.exactIntegers === true ? parseExactJson(text) : (JSON.parse(text) as unknown)
    return {
      value,
      duplicates: options.findDuplicates === true && mayRepeatKeys(text, value) ? findDuplicateKeys(text) : [],
    }
  } catch (error) {
    throw manifestSyntax('JSON', error instanceof Error ? error.message : String(error), error)
  }
}
