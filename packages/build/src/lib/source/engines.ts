/** Whether a version of Node.js lies in a range as `engines.node` has it (node-semver, "Ranges"); an unreadable range is no bar. */
export function satisfiesEngines(version: string, range: string): boolean {
  const wanted = parseVersion(version)
  return range.split('||').some((part) => {
    const comparators = comparatorsOf(part)
    return comparators === undefined || comparators.every((comparator) => holds(wanted, comparator))
  })
}

type Version = readonly [number, number, number]
interface Comparator {
  operator: '<' | '>='
  version: Version
}

function parseVersion(text: string): Version {
  const [major = 0, minor = 0, patch = 0] = text
    .replace(/[-+].*$/, '')
    .split('.')
    .map(Number)
  return [major, minor, patch]
}

/** All of these must hold; `undefined` when the text is no range. */
function comparatorsOf(text: string): Comparator[] | undefined {
  const hyphen = /^\s*(\S+)\s+-\s+(\S+)\s*$/.exec(text)
  if (hyphen) return comparatorsOf(`>=${hyphen[1]} <=${hyphen[2]}`)
  const words = text
    .trim()
    .replace(/(>=|<=|>|<|=|\^|~)\s+/g, '$1')
    .split(/\s+/)
    .filter(Boolean)
  const groups = words.map(expand)
  return groups.includes(undefined) ? undefined : groups.flatMap((group) => group ?? [])
}

function expand(word: string): Comparator[] | undefined {
  const match = /^(>=|<=|>|<|=|\^|~>?)?v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:[-+].*)?$/.exec(word)
  if (!match) return undefined
  const parts = match.slice(2, 5).map((part) => (part === undefined || /[xX*]/.test(part) ? undefined : Number(part)))
  const [major, minor, patch] = parts
  const low: Version = [major ?? 0, minor ?? 0, patch ?? 0]
  if (major === undefined) return []
  const afterMajor: Version = [major + 1, 0, 0]
  const afterMinor: Version = minor === undefined ? afterMajor : [major, minor + 1, 0]
  const after: Version = patch === undefined ? afterMinor : [major, minor ?? 0, patch + 1]
  const from = (version: Version): Comparator => ({ operator: '>=', version })
  const below = (version: Version): Comparator => ({ operator: '<', version })
  switch (match[1]) {
    case '>=':
      return [from(low)]
    case '>':
      return [from(after)]
    case '<':
      return [below(low)]
    case '<=':
      return [below(after)]
    case '^':
      // Left of the first number that is not zero nothing may change.
      return [
        from(low),
        below(major > 0 || minor === undefined ? afterMajor : minor > 0 || patch === undefined ? afterMinor : after),
      ]
    case '~':
    case '~>':
      return [from(low), below(afterMinor)]
    default:
      return [from(low), below(after)]
  }
}

function holds(version: Version, { operator, version: limit }: Comparator): boolean {
  const difference = version.map((part, index) => part - (limit[index] ?? 0)).find((part) => part !== 0) ?? 0
  return operator === '>=' ? difference >= 0 : difference < 0
}
