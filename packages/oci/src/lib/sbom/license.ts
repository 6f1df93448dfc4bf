import licenseIds from 'spdx-license-ids/index.json' with { type: 'json' }
import deprecatedIds from 'spdx-license-ids/deprecated.json' with { type: 'json' }

const KNOWN = new Set<string>([...licenseIds, ...deprecatedIds])

/** Exceptions that packages name after `WITH`; others make the text one that SPDX does not know. */
const EXCEPTIONS = new Set([
  'Classpath-exception-2.0',
  'GCC-exception-3.1',
  'LLVM-exception',
  'OpenJDK-assembly-exception-1.0',
])

/** What can be said of a licence: an SPDX expression, or the text of somebody who did not use one. */
export type License = { kind: 'expression'; text: string } | { kind: 'other'; text: string }

/** Reads what a package says of its licence; `undefined` when it says nothing, or points to a file. */
export function readLicense(text: string | undefined): License | undefined {
  const trimmed = text?.trim() ?? ''
  if (trimmed === '' || /^SEE LICENSE IN /i.test(trimmed) || /^UNLICENSED$/i.test(trimmed)) {
    return /^UNLICENSED$/i.test(trimmed) ? { kind: 'other', text: 'UNLICENSED' } : undefined
  }
  return isExpression(trimmed)
    ? { kind: 'expression', text: trimmed }
    : { kind: 'other', text: trimmed.slice(0, 1_000) }
}

/** Whether the licence is one identifier of the SPDX list. */
export function isLicenseId(text: string): boolean {
  return KNOWN.has(text)
}

/** Whether a text is a licence expression with known identifiers (SPDX 2.3, annex D). */
export function isExpression(text: string): boolean {
  const tokens = text.match(/\(|\)|[^\s()]+/g) ?? []
  let at = 0
  const unit = (): boolean => {
    const token = tokens[at]
    at += 1
    if (token === '(') {
      const isInner = chain()
      at += 1
      return isInner && tokens[at - 1] === ')'
    }
    if (token === undefined || !isLicenseId(token.replace(/\+$/, ''))) return false
    if (tokens[at] !== 'WITH') return true
    at += 2
    return EXCEPTIONS.has(tokens[at - 1] ?? '')
  }
  const chain = (): boolean => {
    if (!unit()) return false
    while (tokens[at] === 'AND' || tokens[at] === 'OR') {
      at += 1
      if (!unit()) return false
    }
    return true
  }
  return chain() && at === tokens.length
}
