import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

import { readTar } from '@fairlead/oci/archive'

import { baseUnavailable } from '../errors.ts'
import { hashKey } from '../layers/cache.ts'
import type { BuildCache, StoredLayer } from '../layers/cache.ts'
import { writeLayer } from '../layers/layer.ts'
import { openCommand, runCommand } from '../run-command.ts'
import type { ReportedBasePackage } from '../report.ts'
import { openApt } from './apt.ts'
import type { Apt, DebianPackage } from './apt.ts'
import { RootFiles } from './root-files.ts'

/** How to get the base made of Debian packages. */
export interface DebianBaseOptions {
  cache: BuildCache
  architecture: 'amd64' | 'arm64'
  /** `scratch`: the libraries that Node.js loads, accounts and name service, and nothing else. */
  profile: 'debian' | 'scratch'
  /** The program needs no libraries: only what any program expects of a system. Default false. */
  isStatic?: boolean | undefined
  /** Paths of programs that stay, such as an interpreter. */
  programs?: RegExp | undefined
  /** Packages to add, with all they depend on. */
  packages: readonly string[]
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
}

/** A base ready to be built on. */
export interface DebianBase {
  layer: StoredLayer
  /** `Debian GNU/Linux 12 (bookworm): libc6 2.36-9, …`. */
  detail: string
  name: string
  distribution: { id: string; versionId: string } | undefined
  packages: readonly ReportedBasePackage[]
  libraries: readonly string[]
}

/** Changes whenever the layer made from the same packages would differ. */
const RECIPE = '4'

/** What Node.js itself loads; from version 26 on libatomic as well. */
const LIBRARIES = ['libatomic1', 'libc6', 'libgcc-s1', 'libstdc++6']
/** What Node.js and native addons ask for (C and C++ libraries), and what programs expect of a system. */
const SYSTEM = ['base-files', 'netbase', 'tzdata', 'ca-certificates']
const PACKAGES = [...SYSTEM, ...LIBRARIES]

/**
 * A root file system of the packages above, fetched by the machine's own apt and read with dpkg-deb. No maintainer
 * script runs: what they would have done is done by {@link RootFiles}. Throws `FAIRLEAD_BUILD_BASE`.
 */
export function assembleDebianBase(options: DebianBaseOptions): Promise<DebianBase> {
  return options.cache.scratch(async (dir) => {
    try {
      return await assemble(options, dir)
    } catch (error) {
      options.signal?.throwIfAborted()
      if (!['FAIRLEAD_BUILD_COMMAND', undefined].includes((error as { code?: string }).code)) throw error
      throw baseUnavailable('debian', 'apt could not deliver the packages', error)
    }
  })
}

async function assemble(options: DebianBaseOptions, dir: string): Promise<DebianBase> {
  const { cache, architecture, env, signal } = options
  const apt = await openApt({ dir, architecture, env, signal })
  const packages = await resolvePackages(apt, options)
  const variant = `${options.profile}${options.programs?.source ?? ''}${isWhole(options) ? ' whole' : ''}`
  const key = `debian-${hashKey(RECIPE, variant, architecture, ...packages.map((found) => found.sha256))}`
  const known = await cache.read<DebianBase>(key)
  if (known && (await cache.layers.hasBlob(known.layer.descriptor.digest))) return known
  await apt.download(packages, dir)
  const files = new RootFiles(options.profile, options.programs, { isWhole: isWhole(options) })
  for (const name of (await readdir(dir)).filter((file) => file.endsWith('.deb')).toSorted()) {
    await addPackage(files, join(dir, name), options)
  }
  const { entries, systemName, distribution, libraries } = files.finish()
  const layer = await writeLayer(cache.layers, entries, { signal })
  const versions = packages.map(({ name, version }) => `${name} ${version}`).join(', ')
  const base: DebianBase = {
    layer,
    detail: `${systemName}: ${versions}`,
    name: systemName,
    distribution,
    libraries,
    packages: packages.map(({ name, version, architecture: arch, source, sha256 }) => ({
      name,
      version,
      architecture: arch,
      ...(source === '' ? {} : { source }),
      sha256,
    })),
  }
  await cache.write(key, base)
  return base
}

/** Whether rare files of the packages stay: other programs than Node.js may load them. */
function isWhole({ packages, programs }: DebianBaseOptions): boolean {
  return programs !== undefined || packages.includes('libc6')
}

async function resolvePackages(apt: Apt, options: DebianBaseOptions): Promise<DebianPackage[]> {
  // A source this machine also lists may be down; what counts is whether our packages are found afterwards.
  const failure: unknown = await apt.update().then(
    () => undefined,
    (error: unknown) => error,
  )
  const needed = options.isStatic ? SYSTEM : PACKAGES
  const wanted = options.profile === 'scratch' ? ['base-files', ...LIBRARIES] : needed
  const added = options.packages.length > 0 ? await addedPackages(apt, options.packages) : []
  const names = [...new Set([...wanted, ...added])]
  const found = await apt.show(names).catch((error: unknown) => {
    throw failure ?? error
  })
  const compiler = found.map(({ depends }) => /\bgcc-\d+-base\b/.exec(depends)?.[0]).find(Boolean)
  const all = compiler && !names.includes(compiler) ? [...found, ...(await apt.show([compiler]))] : found
  const missing = names.filter((name) => !all.some((entry) => entry.name === name))
  if (missing.length > 0) throw baseUnavailable('debian', `apt knows no package ${missing.join(', ')}`, failure)
  return all.toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** Without what only maintainer scripts need, for none of them runs. */
async function addedPackages(apt: Apt, names: readonly string[]): Promise<string[]> {
  const closure = await apt.closure(names).catch((error: unknown) => {
    throw baseUnavailable('debian', `apt cannot resolve the packages ${names.join(', ')}`, error)
  })
  return closure.filter((name) => !/^(debconf|dpkg|tar|perl-base|install-info)$/.test(name))
}

async function addPackage(files: RootFiles, deb: string, options: DebianBaseOptions): Promise<void> {
  const run = { env: { ...options.env, LC_ALL: 'C' }, signal: options.signal }
  const control = await runCommand('dpkg-deb', ['--info', deb, 'control'], run)
  const sums = await runCommand('dpkg-deb', ['--info', deb, 'md5sums'], run)
  const name = /^Package: (.*)$/m.exec(control)?.[1] ?? ''
  files.addPackage(name, control, sums)
  const tar = openCommand('dpkg-deb', ['--fsys-tarfile', deb], run)
  for await (const member of readTar(tar)) await files.addMember(member)
}
