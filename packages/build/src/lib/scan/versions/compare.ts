import semver from 'semver'

import { compareApk } from './apk.ts'
import { compareDpkg } from './dpkg.ts'

/** Negative, zero or positive; `undefined` when a version is not written as its ecosystem wants it. */
export type Comparison = (a: string, b: string) => number | undefined

/** Order of versions in an ecosystem of OSV, such as `npm` or `Debian:12`; `undefined` when it is not known here. */
export function comparisonFor(ecosystem: string): Comparison | undefined {
  const [name = ''] = ecosystem.split(':')
  return COMPARISONS[name]
}

const COMPARISONS: Readonly<Record<string, Comparison>> = {
  npm: compareSemver,
  Bitnami: compareSemver,
  'Node.js': compareSemver,
  Debian: compareDpkg,
  Ubuntu: compareDpkg,
  Alpine: compareApk,
  Wolfi: compareApk,
  Chainguard: compareApk,
}

/** Precedence of semver.org 2.0.0, section 11; build metadata does not count. */
export function compareSemver(a: string, b: string): number | undefined {
  const [left, right] = [semver.parse(a, { loose: true }), semver.parse(b, { loose: true })]
  return left && right ? left.compare(right) : undefined
}
