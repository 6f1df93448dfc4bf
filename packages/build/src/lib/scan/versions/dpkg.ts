/**
 * Compares versions as dpkg does (Debian Policy 5.6.12, deb-version(7)): epoch, upstream version, revision; a tilde sorts
 * before the end. Negative, zero or positive.
 */
export function compareDpkg(a: string, b: string): number {
  const [left, right] = [splitVersion(a), splitVersion(b)]
  return (
    left.epoch - right.epoch || comparePart(left.upstream, right.upstream) || comparePart(left.revision, right.revision)
  )
}

function splitVersion(text: string): { epoch: number; upstream: string; revision: string } {
  const colon = text.indexOf(':')
  const rest = text.slice(colon + 1)
  const dash = rest.lastIndexOf('-')
  return {
    epoch: colon === -1 ? 0 : Number.parseInt(text.slice(0, colon), 10) || 0,
    upstream: dash === -1 ? rest : rest.slice(0, dash),
    revision: dash === -1 ? '' : rest.slice(dash + 1),
  }
}

/** Alternates between a part without digits and a number, from the left. */
function comparePart(a: string, b: string): number {
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    while ((i < a.length && !isDigit(a, i)) || (j < b.length && !isDigit(b, j))) {
      const difference = weight(a, i) - weight(b, j)
      if (difference !== 0) return difference
      i += 1
      j += 1
    }
    const [left, right] = [digitsAt(a, i), digitsAt(b, j)]
    const difference = compareDigits(left, right)
    if (difference !== 0) return difference
    i += left.length
    j += right.length
  }
  return 0
}

/** Tilde before the end, the end before letters, letters before everything else. */
function weight(text: string, at: number): number {
  const code = text.charCodeAt(at)
  if (Number.isNaN(code) || isDigit(text, at)) return 0
  if (code === 0x7e) return -1
  return (code >= 65 && code <= 90) || (code >= 97 && code <= 122) ? code : code + 256
}

function isDigit(text: string, at: number): boolean {
  const code = text.charCodeAt(at)
  return code >= 48 && code <= 57
}

function digitsAt(text: string, at: number): string {
  let end = at
  while (isDigit(text, end)) end += 1
  return text.slice(at, end)
}

/** Compares numbers of any length. */
export function compareDigits(a: string, b: string): number {
  const left = a.replace(/^0+/, '')
  const right = b.replace(/^0+/, '')
  if (left.length !== right.length) return left.length - right.length
  return left === right ? 0 : left < right ? -1 : 1
}
