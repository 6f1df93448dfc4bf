import { digestOf, hostPlatform, mediaTypes, parsePlatform, renderCanonicalJson, renderPlatform } from '@fairlead/oci'
import type { Descriptor, ImageConfig, ImageManifest } from '@fairlead/oci'

import { resolveBase } from './base/base.ts'
import type { Base } from './base/base.ts'
import { nodeLayer } from './base/node.ts'
import type { NodeLayer } from './base/node.ts'
import { bundleProject } from './bundle/bundle.ts'
import type { Bundle, BundlePlan } from './bundle/bundle.ts'
import { diskFull, platformUnsupported } from './errors.ts'
import { renderImageConfig } from './image-config.ts'
import { applicationEntries } from './layers/application.ts'
import { hashKey, openCache } from './layers/cache.ts'
import type { BuildCache, StoredLayer } from './layers/cache.ts'
import { copyLayer, writeLayer } from './layers/layer.ts'
import { DEFAULT_NODE_VERSION } from './options.ts'
import type { BuildEvent, BuildImageOptions, BuildResult, BuiltLayer } from './options.ts'
import { reportContents } from './report.ts'
import type { BuildReport } from './report.ts'
import { satisfiesEngines } from './source/engines.ts'
import { checkConfig, checkFiles } from './secrets/check.ts'
import { installDependencies } from './source/install.ts'
import { dependencyClosure } from './source/lockfile.ts'
import { pathBelow } from './source/project-path.ts'
import { loadProject } from './source/project.ts'
import type { Project } from './source/project.ts'
import { creationTime, loadRevision } from './source/revision.ts'
import type { Revision } from './source/revision.ts'
import { externalsKey, traceExternals } from './trace/externals.ts'

/**
 * Builds an OCI image of the service in a folder, without a container engine and without root: bundles it, puts it on a
 * base with Node.js, and stores it in a layout under `localhost/<name>`. The same source, lock file and cached base
 * give the same image to the bit.
 *
 * Fails with a `FAIRLEAD_BUILD_…` code; then, as when `signal` aborts, the layout holds what it held before, apart from
 * unreferenced layers. Several builds may run at once, in one process or in many.
 */
export async function buildImage(options: BuildImageOptions): Promise<BuildResult> {
  const startedAt = performance.now()
  try {
    const build = new Build(options, await openCache(options.cacheDir))
    return { ...(await build.run()), durationMs: Math.round(performance.now() - startedAt) }
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException
    throw code === 'ENOSPC' || code === 'EDQUOT' ? diskFull(path ?? options.cacheDir, error) : error
  }
}

type Layer = StoredLayer & { title: BuiltLayer['title'] }

class Build {
  readonly #options: BuildImageOptions
  readonly #signal: AbortSignal
  readonly #failed = new AbortController()
  readonly #cache: BuildCache
  readonly #architecture: 'amd64' | 'arm64'
  readonly #nodeVersion: string
  readonly #env: NodeJS.ProcessEnv

  constructor(options: BuildImageOptions, cache: BuildCache) {
    this.#options = options
    this.#signal = options.signal ? AbortSignal.any([options.signal, this.#failed.signal]) : this.#failed.signal
    this.#cache = cache
    this.#architecture = architectureOf(options.platform)
    this.#nodeVersion = options.nodeVersion ?? DEFAULT_NODE_VERSION
    this.#env = options.env ?? process.env
  }

  async run(): Promise<Omit<BuildResult, 'durationMs'>> {
    const project = await loadProject(this.#options.dir)
    const [base, node, source] = await this.#together([this.#base(), this.#node(), this.#source(project)])
    this.#signal.throwIfAborted()
    const layers: Layer[] = [
      ...base.layers.map((layer) => ({ ...layer, title: 'base' as const })),
      { descriptor: node.descriptor, diffId: node.diffId, title: 'node' },
      ...source.layers,
    ]
    return this.#write(source.project, { ...source, base, node, layers })
  }

  async #base(): Promise<Base> {
    const { base = 'auto', refreshBase } = this.#options
    const signal = this.#signal
    const step = this.#step('base')
    const { base: found, isCached } = await resolveBase({
      cache: this.#cache,
      base,
      architecture: this.#architecture,
      isRefresh: refreshBase === true,
      env: this.#env,
      signal,
      onStart: step.start,
    })
    step.end(isCached, found.detail)
    return found
  }

  async #node(): Promise<NodeLayer> {
    const step = this.#step('node')
    const { layer, isCached } = await nodeLayer({
      cache: this.#cache,
      version: this.#nodeVersion,
      architecture: this.#architecture,
      env: this.#env,
      signal: this.#signal,
      onStart: () => step.start(`Node.js ${this.#nodeVersion} from npm`),
    })
    step.end(isCached, `Node.js ${this.#nodeVersion}`)
    return layer
  }

  async #source(found: Project): Promise<Source> {
    const signal = this.#signal
    const install = this.#step('install')
    const revisionPending = loadRevision(found.dir, this.#env, signal)
    revisionPending.catch(() => {})
    const isInstalled = await installDependencies(found.lock, {
      cache: this.#cache,
      env: this.#env,
      signal,
      onStart: install.start,
    })
    if (isInstalled) install.end(false, 'dependencies installed')
    // Of pnpm and Yarn, only what is installed tells where packages lie.
    const project = isInstalled && found.lock.manager !== 'npm' ? await loadProject(found.dir) : found
    this.#checkEngines(project)
    const revision = await revisionPending
    const created = this.#options.created ?? creationTime(this.#env, revision)
    const bundle = await this.#bundle(project, revision, created)
    const [externals, application] = await this.#together([
      this.#externals(project, bundle),
      applicationEntries(project, bundle, created).then(async (entries) => {
        await checkFiles(project, entries, { cache: this.#cache, allowed: this.#options.allowSecrets })
        return writeLayer(this.#options.layout, entries, { mtimeSeconds: Math.floor(created.getTime() / 1000), signal })
      }),
    ])
    const layers: Layer[] = externals ? [{ ...externals, title: 'externals' }] : []
    return { project, layers: [...layers, { ...application, title: 'application' }], bundle, revision, created }
  }

  #checkEngines({ packageJson }: Project): void {
    const range = packageJson.engines?.['node']
    if (range === undefined || satisfiesEngines(this.#nodeVersion, range)) return
    const message = `package.json asks for Node.js ${range} ("engines"), the image has ${this.#nodeVersion}`
    this.#emit({ step: 'warning', state: 'note', message })
  }

  async #bundle(project: Project, revision: Revision | undefined, created: Date): Promise<Bundle> {
    const step = this.#step('bundle')
    const key = `plan-${planKey(project)}`
    const plan = await this.#cache.read<BundlePlan>(key)
    const version = this.#version(project)
    const constants = {
      ...(version ? { FAIRLEAD_VERSION: version } : {}),
      FAIRLEAD_COMMIT: revision?.commit ?? '',
      FAIRLEAD_CREATED: created.toISOString(),
    }
    const bundle = await bundleProject(project, { constants, signal: this.#signal, plan })
    const made: BundlePlan = { externals: bundle.externals.entries(), imported: bundle.imported }
    if (renderCanonicalJson(made) !== renderCanonicalJson(plan)) await this.#cache.write(key, made)
    const sizeBytes = [...bundle.files.values()].reduce((sum, file) => sum + file.byteLength, 0)
    step.end(false, `${bundle.files.size} file(s), ${Math.ceil(sizeBytes / 1024)} KiB`)
    for (const note of bundle.notes) this.#emit({ step: 'warning', state: 'note', message: note })
    return bundle
  }

  async #externals(project: Project, bundle: Bundle): Promise<StoredLayer | undefined> {
    const packages = bundle.externals.entries()
    if (packages.length === 0) return undefined
    const step = this.#step('externals')
    const target = { architecture: this.#architecture }
    const key = await externalsKey(project, bundle, target)
    const known = await this.#cache.read<StoredLayer>(key)
    const isCached = known !== undefined && (await this.#cache.layers.hasBlob(known.descriptor.digest))
    if (!isCached) step.start(`${packages.length} package(s) outside the bundle`)
    const layer = isCached ? known : await this.#writeExternals(project, bundle, key)
    step.end(isCached, `${packages.length} package(s) outside the bundle`)
    return layer
  }

  async #writeExternals(project: Project, bundle: Bundle, key: string): Promise<StoredLayer> {
    const entries = await traceExternals(project, bundle, { architecture: this.#architecture })
    const layer = await writeLayer(this.#cache.layers, entries, { signal: this.#signal })
    await this.#cache.write(key, layer)
    return layer
  }

  async #write(project: Project, parts: Parts): Promise<Omit<BuildResult, 'durationMs'>> {
    const { layout, name } = this.#options
    const { base, layers, bundle } = parts
    for (const layer of layers) if (layer.title !== 'application') await copyLayer(this.#cache.layers, layout, layer)
    const manifest = await this.#writeManifest(project, parts)
    const digest = manifest.digest
    const repository = `localhost/${name}`
    const reference = `${repository}:${digest.slice('sha256:'.length, 'sha256:'.length + 12)}`
    const latest = `${repository}:latest`
    const platform = renderPlatform({ os: 'linux', architecture: this.#architecture })
    const before = await layout.resolve(latest, platform).catch(() => undefined)
    const changed = before?.descriptor.digest !== digest
    if (changed || (await layout.resolve(reference, platform)) === undefined) {
      await layout.tagAll([
        { reference, descriptor: manifest },
        { reference: latest, descriptor: manifest },
      ])
    }
    const built = layers.map(({ title, descriptor, diffId }) => ({ ...descriptor, title, diffId }))
    const sizeBytes = built.reduce((sum, layer) => sum + layer.size, 0)
    const report = await this.#report(project, parts, built)
    this.#emit({ step: 'write', state: changed ? 'done' : 'cached', message: reference })
    return {
      reference,
      digest,
      sizeBytes,
      layers: built,
      base: { kind: base.kind, detail: base.detail },
      nodeVersion: this.#nodeVersion,
      externals: bundle.externals.entries().map(([path, reason]) => ({ name: nameOf(path), reason })),
      report,
      changed,
    }
  }

  async #report(project: Project, parts: Parts, layers: readonly BuiltLayer[]): Promise<BuildReport> {
    const { base, node, revision, created, bundle } = parts
    const { name, license } = project.packageJson
    return {
      platform: `linux/${this.#architecture}`,
      source: {
        name,
        version: this.#version(project),
        license,
        commit: revision?.commit,
        created: created.toISOString(),
        entry: pathBelow(project.lock.root, project.entry) ?? project.entry,
      },
      lockfile: { manager: project.lock.manager, name: project.lock.name, digest: project.lock.digest },
      ...(await reportContents(project, bundle)),
      base: {
        kind: base.kind,
        name: base.name,
        digest: base.digest,
        distribution: base.distribution,
        packages: base.packages,
      },
      node: { version: this.#nodeVersion, source: node.source, integrity: node.integrity, stripped: true },
      layers,
    }
  }

  async #writeManifest(project: Project, parts: Parts): Promise<Descriptor> {
    const { layout, name } = this.#options
    const text = renderImageConfig({
      project,
      name,
      architecture: this.#architecture,
      created: parts.created,
      version: this.#version(project),
      revision: parts.revision,
      nodeVersion: this.#nodeVersion,
      base: { name: parts.base.name, digest: parts.base.digest, config: parts.base.config },
      layers: parts.layers,
    })
    await checkConfig(project, JSON.parse(text) as ImageConfig, { allowed: this.#options.allowSecrets })
    const bytes = Buffer.from(text)
    await layout.writeBlob(bytes, digestOf(bytes))
    const manifest: ImageManifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: { mediaType: mediaTypes.config, digest: digestOf(bytes), size: bytes.byteLength },
      layers: parts.layers.map((layer) => layer.descriptor),
    }
    const descriptor = await layout.writeJson(mediaTypes.manifest, manifest)
    return { ...descriptor, platform: { os: 'linux', architecture: this.#architecture } }
  }

  #version(project: Project): string | undefined {
    return this.#options.version ?? project.packageJson.version
  }

  #step(step: BuildEvent['step']): {
    start: (message: string) => void
    end: (isCached: boolean, message: string) => void
  } {
    const startedAt = performance.now()
    return {
      start: (message) => this.#emit({ step, state: 'started', message }),
      end: (isCached, message) => {
        const durationMs = Math.round(performance.now() - startedAt)
        this.#emit({ step, state: isCached ? 'cached' : 'done', message, durationMs })
      },
    }
  }

  /** All results; when one part fails the others are ended, and have ended, before the failure is passed on. */
  async #together<T extends readonly Promise<unknown>[]>(
    parts: readonly [...T],
  ): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
    try {
      return await Promise.all(parts)
    } catch (error) {
      this.#failed.abort(error)
      await Promise.allSettled(parts)
      throw error
    }
  }

  #emit(event: BuildEvent): void {
    this.#options.onProgress?.(event)
  }
}

interface Source {
  project: Project
  layers: Layer[]
  bundle: Bundle
  revision: Revision | undefined
  created: Date
}

interface Parts extends Source {
  base: Base
  node: NodeLayer
}

function architectureOf(platform: string | undefined): 'amd64' | 'arm64' {
  const { os, architecture } = platform ? parsePlatform(platform) : hostPlatform()
  if (os === 'linux' && (architecture === 'amd64' || architecture === 'arm64')) return architecture
  throw platformUnsupported(platform ?? `${os}/${architecture}`)
}

/** Everything but the imports of the source itself that decides which packages stay outside the bundle. */
function planKey(project: Project): string {
  const packages = dependencyClosure(project.lock).map((path) => {
    const entry = project.lock.packages.get(path)
    return `${path}@${entry?.version ?? ''} ${entry?.integrity ?? ''}`
  })
  return hashKey(
    '2',
    project.dir,
    project.entry,
    ...project.conditions,
    JSON.stringify(project.packageJson),
    ...packages,
  )
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
}
