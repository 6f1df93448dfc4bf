import { compareDigits } from './dpkg.ts'

const SUFFIXES = ['alpha', 'beta', 'pre', 'rc', '', 'cvs', 'svn', 'git', 'hg', 'p']
const SYNTAX = /^(\d+(?:\.\d+)*)([a-z]?)((?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)\d*)*)(?:~[0-9a-f]+)?(?:-r(\d+))?$/

interface ApkVersion {
  numbers: string[]
  letter: string
  suffixes: { rank: number; number: string }[]
  revision: string
}

/**
 * Compares versions as apk-tools does (apk-package(5), "VERSION"): numbers, a letter, suffixes such as `_rc1` and `_p2`,
 * revision `-r3`. `undefined` when one of them is no such version.
 */
export function compareApk(a: string, b: string): number | undefined {
  const [left, right] = [parseApk(a), parseApk(b)]
  if (!left || !right) return undefined
  return (
    compareNumbers(left.numbers, right.numbers) ||
    left.letter.charCodeAt(0) - right.letter.charCodeAt(0) ||
    compareSuffixes(left.suffixes, right.suffixes) ||
    compareDigits(left.revision, right.revision)
  )
}

function parseApk(text: string): ApkVersion | undefined {
  const match = SYNTAX.exec(text)
  if (!match) return undefined
  const [, numbers = '', letter = '', suffixes = '', revision = '0'] = match
  return {
    numbers: numbers.split('.'),
    // Compared by character code: no letter comes before "a".
    letter: letter === '' ? '\0' : letter,
    suffixes: [...suffixes.matchAll(/_([a-z]+)(\d*)/g)].map(([, name = '', number = '']) => ({
      rank: SUFFIXES.indexOf(name),
      number,
    })),
    revision,
  }
}

/** After the first number, one with a leading zero is read as a fraction: 1.05 comes before 1.1. */
function compareNumbers(a: readonly string[], b: readonly string[]): number {
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    const [left, right] = [a[at], b[at]]
    if (left === undefined || right === undefined) return left === undefined ? -1 : 1
    const isFraction = at > 0 && (left.startsWith('0') || right.startsWith('0'))
    const difference = isFraction ? compareText(left, right) : compareDigits(left, right)
    if (difference !== 0) return difference
  }
  return 0
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1
}

function compareSuffixes(a: ApkVersion['suffixes'], b: ApkVersion['suffixes']): number {
  const none = { rank: SUFFIXES.indexOf(''), number: '' }
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    const [left, right] = [a[at] ?? none, b[at] ?? none]
    const difference = left.rank - right.rank || compareDigits(left.number, right.number)
    if (difference !== 0) return difference
  }
  return 0
}
