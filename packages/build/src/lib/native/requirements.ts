import type { TarEntry } from '@fairlead/oci/archive'

import { nativeUnusable } from '../errors.ts'
import { isElf, parseElf } from './elf.ts'

/** What a native file asks of the system it is loaded on. */
export interface NativeRequirement {
  /** Its path in the image. */
  path: string
  /** Libraries it needs that no file beside it brings. */
  libraries: readonly string[]
  /** Least version of glibc. */
  glibc: string | undefined
}

/** What a base offers; empty `libraries` when that is not known. */
export interface NativeOffer {
  libraries: readonly string[]
  glibc: string | undefined
  name: string
  platform: string
}

/** Reads every native file among the entries of a layer. */
export function requirementsOf(entries: readonly TarEntry[]): NativeRequirement[] {
  const files = entries.flatMap(({ path, content }) =>
    content instanceof Uint8Array && isElf(content)
      ? [{ path, elf: parseElf(Buffer.from(content.buffer, content.byteOffset, content.byteLength)) }]
      : [],
  )
  const brought = new Set(files.flatMap(({ path, elf }) => [path.slice(path.lastIndexOf('/') + 1), elf.soname ?? '']))
  return files
    .map(({ path, elf }) => ({ path, glibc: elf.glibc, libraries: elf.needed.filter((name) => !brought.has(name)) }))
    .toSorted((a, b) => (a.path < b.path ? -1 : 1))
}

/** Refuses native files that the base cannot load, before a container does. Throws `FAIRLEAD_BUILD_NATIVE`. */
export function checkRequirements(requirements: readonly NativeRequirement[], offer: NativeOffer): void {
  const offered = new Set(offer.libraries)
  if (offered.size === 0) return
  for (const { path, libraries, glibc } of requirements) {
    const missing = libraries.find((name) => !offered.has(name))
    const file = `"${path}" for ${offer.platform}`
    if (missing !== undefined) {
      const holder = missing.startsWith('libmvec.') ? 'libc6' : `that holds ${missing}`
      const hint = `Add the Debian package ${holder} to the base (option "packages", --package), or choose a base that has it`
      throw nativeUnusable(
        ownerOf(path),
        `${file} needs the library ${missing}, which the base "${offer.name}" does not have`,
        hint,
      )
    }
    if (glibc !== undefined && offer.glibc !== undefined && isNewer(glibc, offer.glibc)) {
      const hint = 'Build the addon on an older system, take a release of it that was, or choose a newer base'
      throw nativeUnusable(
        ownerOf(path),
        `${file} needs glibc ${glibc}, the base "${offer.name}" has ${offer.glibc}`,
        hint,
      )
    }
  }
}

function ownerOf(path: string): string {
  return /^.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? path
}

/** Compared by hand: the first comparison with a collator loads its data, 15 ms. */
function isNewer(a: string, b: string): boolean {
  const [left, right] = [a.split('.').map(Number), b.split('.').map(Number)]
  const at = left.findIndex((part, index) => part !== (right[index] ?? 0))
  return at !== -1 && (left[at] ?? 0) > (right[at] ?? 0)
}
