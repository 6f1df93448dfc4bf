import { Opaque, sizeOf } from './values.ts'
import type { Value } from './values.ts'

const traversal = 0.1
const regex = 0.25

const nominal = new Set(
  `serviceAccount path group resource subresource namespace name allowed reason error errored masked prefixLength family
isUnspecified isLoopback isLinkLocalMulticast isLinkLocalUnicast isGlobalUnicast format.named sign asInteger isInteger
asApproximateFloat isGreaterThan isLessThan compareTo add sub major minor patch getScheme getHostname getHost getPort
getEscapedPath getQuery`.split(/\s+/),
)
const traversed = new Set(
  `url lowerAscii upperAscii substring trim cidr isIP isCIDR ip quantity isQuantity semver isSemver startsWith endsWith
strings.quote format`.split(/\s+/),
)
const lists = new Set('isSorted sum max min indexOf lastIndexOf'.split(' '))

/** What one call costs, counted as Kubernetes counts it. */
export function runtimeCost(name: string, overload: string, args: readonly Value[], result: Value): number {
  const size = (index: number): number => sizeOf(args[index] ?? null)
  const walk = (length: number): number => Math.ceil(length * traversal)
  if (name === 'check') return 350_000
  if (nominal.has(name) || overload === 'cidr_ip') return 1
  if (lists.has(name)) return listCost(args[0] ?? null)
  if (traversed.has(name)) return walk(size(0))
  switch (name) {
    case 'replace':
    case 'split':
    case 'ip.isCanonical':
      return walk(size(0) * 2)
    case 'join':
      return walk(sizeOf(result) * 2)
    case 'find':
    case 'findAll':
    case 'matches':
      return walk(1 + size(0)) * Math.ceil(size(1) * regex)
    case 'validate':
      return walk(1 + size(1)) * Math.ceil(128 * regex)
    case 'containsIP':
      return walk(2 * size(0)) + parsing(args[1])
    case 'containsCIDR':
      return walk(2 * size(0)) + walk(size(0)) + 1 + parsing(args[1])
    case 'contains':
      return walk(size(0)) * walk(size(1))
    case '@in':
      return overload === 'in_map' ? 1 : size(1)
    case '_==_':
    case '_!=_':
    case '_<_':
    case '_<=_':
    case '_>_':
    case '_>=_':
      return args[0] instanceof Opaque ? 1 : walk(Math.min(size(0), size(1)))
    case '_+_':
      return typeof args[0] === 'string' || args[0] instanceof Uint8Array ? walk(size(0) + size(1)) : 1
    case 'bytes':
    case 'string':
      return typeof args[0] === 'string' || args[0] instanceof Uint8Array ? walk(size(0)) : 1
    case 'sets.contains':
    case 'sets.equivalent':
    case 'sets.intersects':
      return 10 + size(0) * size(1) * (name === 'sets.equivalent' ? 2 : 1)
    default:
      return 1
  }
}

/** A text in the place of an address is read first. */
function parsing(value: Value | undefined): number {
  return typeof value === 'string' ? Math.ceil(sizeOf(value) * traversal) : 0
}

function listCost(value: Value): number {
  // Looking for a text in a text is free upstream: its estimator only knows the function of lists of this name.
  if (!Array.isArray(value)) return 0
  return (value as readonly Value[]).reduce<number>(
    (sum, item) => sum + 1 + (typeof item === 'string' ? Math.ceil(sizeOf(item) * traversal) : 0),
    0,
  )
}
