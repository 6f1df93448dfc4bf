import type { ValueSpec } from './spec.ts'

const names = /pass(word|wd|phrase)?$|secret|token|api_?-?key|credential|private_?-?key|^auth$/i

/**
 * Whether a value must not be shown: it is declared a secret, or its name says so. The second is for schemas of other
 * libraries, which have no word for it.
 */
export function isSensitive(spec: ValueSpec, path: readonly string[]): boolean {
  return spec.secret === true || path.some((name) => names.test(name))
}
