import type { Digest, ImageRunConfig } from '@fairlead/oci'

import { baseUnavailable } from '../errors.ts'
import { hashKey } from '../layers/cache.ts'
import type { BuildCache, StoredLayer } from '../layers/cache.ts'
import { glibcVersion } from './contents.ts'
import type { BaseContents } from './contents.ts'
import { assembleDebianBase } from './debian.ts'
import { isRegistryReachable, pullBase } from './registry.ts'

/** What an image stands on, with all its layers in the cache. */
export interface Base extends BaseContents {
  kind: 'debian' | 'registry' | 'scratch'
  /** Fit to be printed: packages and versions, or reference and digest. */
  detail: string
  name: string
  digest?: Digest | undefined
  config?: ImageRunConfig | undefined
  layers: readonly StoredLayer[]
}

/** How to get a base. */
export interface BaseOptions {
  cache: BuildCache
  /** `auto`, `debian`, `scratch` or an image reference. */
  base: string
  architecture: 'amd64' | 'arm64'
  /** Debian packages to add; only to a base made of Debian packages. */
  packages: readonly string[]
  /** Do not use what the cache has. */
  isRefresh: boolean
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
  onStart: (message: string) => void
}

/** Changes whenever what is recorded about a base does. */
const RECIPE = '4'
/** C and C++ libraries, certificates and accounts, no shell; Node.js comes from npm on top of it. */
const DISTROLESS = 'gcr.io/distroless/cc-debian12:nonroot'

/**
 * The base for an image. What was chosen or resolved once is used again until a refresh is asked for, so that builds
 * stay equal while archives and tags move. Throws `FAIRLEAD_BUILD_BASE`.
 */
export async function resolveBase(options: BaseOptions): Promise<{ base: Base; isCached: boolean }> {
  const key = `base-${hashKey(RECIPE, options.base, options.architecture, ...options.packages.toSorted())}`
  const known = options.isRefresh ? undefined : await knownBase(options.cache, key)
  if (known) return { base: known, isCached: true }
  return options.cache.exclusively(
    key,
    async () => {
      const other = options.isRefresh ? undefined : await knownBase(options.cache, key)
      const base = other ?? (await makeBase(options))
      await options.cache.write(key, base)
      return { base, isCached: false }
    },
    options.signal,
  )
}

async function knownBase(cache: BuildCache, key: string): Promise<Base | undefined> {
  const base = await cache.read<Base>(key)
  if (!base) return undefined
  const present = await Promise.all(base.layers.map((layer) => cache.layers.hasBlob(layer.descriptor.digest)))
  return present.every(Boolean) ? base : undefined
}

async function makeBase(options: BaseOptions): Promise<Base> {
  if (options.base === 'debian' || options.base === 'scratch') return debianBase(options)
  // Packages can be added to packages only.
  if (options.base === 'auto' && options.packages.length > 0) return debianBase(options)
  if (options.packages.length > 0) {
    throw baseUnavailable(options.base, 'Debian packages cannot be added to an image, choose the base "debian"')
  }
  if (options.base !== 'auto') return pullBase(options.base, options)
  if (!(await isRegistryReachable(DISTROLESS, options))) return debianBase(options)
  try {
    return await pullBase(DISTROLESS, options)
  } catch (error) {
    options.signal?.throwIfAborted()
    return debianBase(options).catch((second: unknown) => {
      throw baseUnavailable(
        'auto',
        `neither "${DISTROLESS}" nor Debian packages could be had`,
        new AggregateError([error, second]),
      )
    })
  }
}

async function debianBase(options: BaseOptions): Promise<Base> {
  options.onStart('assembling the base from Debian packages')
  const profile = options.base === 'scratch' ? 'scratch' : 'debian'
  const { layer, ...described } = await assembleDebianBase({ ...options, profile })
  const glibc = glibcVersion(described.packages)
  const name = profile === 'scratch' ? 'scratch' : described.name
  const detail = profile === 'scratch' ? `scratch with libraries of ${described.detail}` : described.detail
  return { kind: profile, ...described, name, detail, libc: 'glibc', glibc, node: undefined, layers: [layer] }
}
