/** `base.key`, or `key` at the root. */
export function child(base: string, ...keys: readonly string[]): string {
  return [base, ...keys].filter((key) => key !== '').join('.')
}

/** `base[key]`: an index, or a key that is data. */
export function at(base: string, key: string | number): string {
  return `${base}[${key}]`
}
