import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import type { Layout } from '@fairlead/oci/layout'
import { digestOf, hostPlatform, mediaTypes, parsePlatform, renderCanonicalJson, renderPlatform } from '@fairlead/oci'
import type { Descriptor, ImageConfig, ImageIndex, ImageManifest } from '@fairlead/oci'
import type { TarEntry } from '@fairlead/oci/archive'

import { resolveBase } from './base/base.ts'
import type { Base } from './base/base.ts'
import { nodeLayer, resolveNodeVersion } from './base/node.ts'
import type { NodeLayer } from './base/node.ts'
import { bundleProject } from './bundle/bundle.ts'
import type { Bundle, BundlePlan } from './bundle/bundle.ts'
import { bundleLauncher, LAUNCHER } from './bundle/launcher.ts'
import { APP_DIR } from './bundle/locations.ts'
import { baseUnavailable, bundleIncomplete, diskFull, platformUnsupported } from './errors.ts'
import { NODE_PATH, renderAnnotations, renderImageConfig, USER_ID } from './image-config.ts'
import { applicationEntries, vendorEntries } from './layers/application.ts'
import { hashKey, openCache } from './layers/cache.ts'
import type { BuildCache, StoredLayer } from './layers/cache.ts'
import { COMPILE_CACHE_DIR, compileBundle } from './layers/compile-cache.ts'
import type { CompiledCode } from './layers/compile-cache.ts'
import { copyLayer, writeLayer } from './layers/layer.ts'
import { runAlone } from './layers/smoke-test.ts'
import { checkRequirements, requirementsOf } from './native/requirements.ts'
import type { NativeRequirement } from './native/requirements.ts'
import { DEFAULT_NODE_VERSION } from './options.ts'
import type { BuildEvent, BuildImageOptions, BuildResult, BuiltLayer, BuiltPlatform } from './options.ts'
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
import type { NativeTarget } from './trace/native-files.ts'

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
type Architecture = 'amd64' | 'arm64'

class Build {
  readonly #options: BuildImageOptions
  readonly #signal: AbortSignal
  readonly #failed = new AbortController()
  readonly #cache: BuildCache
  readonly #architectures: readonly Architecture[]
  readonly #env: NodeJS.ProcessEnv

  constructor(options: BuildImageOptions, cache: BuildCache) {
    this.#options = options
    this.#signal = options.signal ? AbortSignal.any([options.signal, this.#failed.signal]) : this.#failed.signal
    this.#cache = cache
    this.#architectures = architecturesOf(options.platform)
    this.#env = options.env ?? process.env
  }

  async run(): Promise<Omit<BuildResult, 'durationMs'>> {
    const found = await loadProject(this.#options.dir)
    const revisionPending = loadRevision(found.dir, this.#env, this.#signal)
    revisionPending.catch(() => {})
    const nodeVersion = await this.#nodeVersion()
    // The bundler comes after what is fetched: side by side they would hold twice the memory.
    const [foundations, project] = await this.#together([
      this.#together(this.#architectures.map((architecture) => this.#foundation(architecture, nodeVersion))),
      this.#install(found),
    ])
    const revision = await revisionPending
    const created = this.#options.created ?? creationTime(this.#env, revision)
    const version = this.#options.version ?? project.packageJson.version
    this.#checkEngines(project, foundations)
    const bundle = await this.#bundle({ project, revision, created, version })
    const schema = this.#configSchema(bundle)
    schema.catch(() => {})
    const source: Source = { project, bundle, revision, created, version, schema }
    const built = []
    // One after another: they share what they make, and their memory.
    for (const foundation of foundations) built.push(await this.#buildPlatform(source, foundation))
    this.#signal.throwIfAborted()
    return this.#finish(source, built)
  }

  async #nodeVersion(): Promise<string> {
    return resolveNodeVersion({
      cache: this.#cache,
      wanted: this.#options.nodeVersion ?? DEFAULT_NODE_VERSION,
      architectures: this.#architectures,
      isRefresh: this.#options.refreshBase === true,
      env: this.#env,
      signal: this.#signal,
    })
  }

  /** Base and Node.js for one processor. A base with another C library than glibc must bring a Node.js of its own. */
  async #foundation(architecture: Architecture, version: string): Promise<Foundation> {
    const nodePending = this.#node(architecture, version)
    nodePending.catch(() => {})
    const base = await this.#base(architecture)
    if (base.libc !== 'musl') return { architecture, base, nodeVersion: version, layer: await nodePending }
    await nodePending.catch(() => {})
    const own = base.config?.Env?.find((entry) => entry.startsWith('NODE_VERSION='))?.slice('NODE_VERSION='.length)
    if (base.node !== undefined) return { architecture, base, nodeVersion: own ?? version, layer: undefined }
    const state = 'its C library is musl, the Node.js of the npm registry needs glibc, and it has no Node.js of its own'
    throw baseUnavailable(
      base.name,
      state,
      undefined,
      'Choose an image with Node.js, such as node:24-alpine, or the base "debian"',
    )
  }

  async #base(architecture: Architecture): Promise<Base> {
    const { base = 'auto', refreshBase, packages = [] } = this.#options
    const step = this.#step('base')
    const { base: found, isCached } = await resolveBase({
      cache: this.#cache,
      base,
      architecture,
      packages,
      isRefresh: refreshBase === true,
      env: this.#env,
      signal: this.#signal,
      onStart: step.start,
    })
    step.end(isCached, found.detail)
    return found
  }

  async #node(architecture: Architecture, version: string): Promise<NodeLayer> {
    const step = this.#step('node')
    const { layer, isCached } = await nodeLayer({
      cache: this.#cache,
      version,
      architecture,
      hasSymbols: this.#options.debugSymbols === true,
      env: this.#env,
      signal: this.#signal,
      onStart: () => step.start(`Node.js ${version} from npm`),
    })
    step.end(isCached, `Node.js ${version}`)
    return layer
  }

  async #install(found: Project): Promise<Project> {
    const step = this.#step('install')
    const isInstalled = await installDependencies(found.lock, {
      cache: this.#cache,
      env: this.#env,
      signal: this.#signal,
      onStart: step.start,
    })
    if (isInstalled) step.end(false, 'dependencies installed')
    // Of pnpm and Yarn, only what is installed tells where packages lie.
    return isInstalled && found.lock.manager !== 'npm' ? loadProject(found.dir) : found
  }

  #checkEngines({ packageJson }: Project, foundations: readonly Foundation[]): void {
    const range = packageJson.engines?.['node']
    for (const version of new Set(foundations.map(({ nodeVersion }) => nodeVersion))) {
      if (range === undefined || satisfiesEngines(version, range)) continue
      const message = `package.json asks for Node.js ${range} ("engines"), the image has ${version}`
      this.#emit({ step: 'warning', state: 'note', message })
    }
  }

  async #bundle({ project, revision, created, version }: Omit<Source, 'bundle' | 'schema'>): Promise<Bundle> {
    const step = this.#step('bundle')
    const { sourceMaps } = this.#options
    const key = `plan-${planKey(project)}`
    const plan = await this.#cache.read<BundlePlan>(key)
    const constants = {
      ...(version ? { FAIRLEAD_VERSION: version } : {}),
      FAIRLEAD_COMMIT: revision?.commit ?? '',
      FAIRLEAD_CREATED: created.toISOString(),
    }
    const kind = sourceMaps === undefined ? undefined : sourceMaps === 'image' ? 'linked' : 'hidden'
    const bundle = await bundleProject(project, { constants, signal: this.#signal, plan, sourceMaps: kind })
    const made: BundlePlan = { externals: bundle.externals.entries(), imported: bundle.imported }
    if (renderCanonicalJson(made) !== renderCanonicalJson(plan)) await this.#cache.write(key, made)
    const sizeBytes = [...bundle.files.values()].reduce((sum, file) => sum + file.byteLength, 0)
    step.end(false, `${bundle.files.size} file(s), ${Math.ceil(sizeBytes / 1024)} KiB`)
    for (const note of bundle.notes) this.#emit({ step: 'warning', state: 'note', message: note })
    return typeof sourceMaps === 'object' ? moveMaps(bundle, sourceMaps.dir) : bundle
  }

  async #buildPlatform(source: Source, foundation: Foundation): Promise<Built> {
    const { project, bundle } = source
    const externals = await this.#externals(project, bundle, foundation)
    const compiled = await this.#compile(source, foundation, externals)
    const [vendor, { application, hasConfigSchema }] = await this.#together([
      this.#vendor(bundle, compiled),
      this.#application(source, compiled),
    ])
    const { base, layer: node } = foundation
    const layers: Layer[] = [
      ...base.layers.map((layer) => ({ ...layer, title: 'base' as const })),
      ...(node ? [{ descriptor: node.descriptor, diffId: node.diffId, title: 'node' as const }] : []),
      ...(externals ? [{ ...externals, title: 'externals' as const }] : []),
      ...(vendor ? [{ ...vendor, title: 'vendor' as const }] : []),
      { ...application, title: 'application' },
    ]
    if (this.#options.smokeTest === true && isNative(foundation)) await this.#smokeTest(source, foundation, layers)
    return this.#writePlatform(source, {
      ...foundation,
      layers,
      hasConfigSchema,
      hasCompileCache: compiled !== undefined,
    })
  }

  async #externals(project: Project, bundle: Bundle, foundation: Foundation): Promise<StoredLayer | undefined> {
    const packages = bundle.externals.entries()
    if (packages.length === 0) return undefined
    const { architecture, base } = foundation
    const step = this.#step('externals')
    const target = targetOf(foundation)
    const key = await externalsKey(project, bundle, target)
    const known = await this.#cache.read<ExternalsLayer>(key)
    const isCached = known !== undefined && (await this.#cache.layers.hasBlob(known.descriptor.digest))
    if (!isCached) step.start(`${packages.length} package(s) outside the bundle`)
    const { requirements, ...layer } = isCached ? known : await this.#writeExternals({ project, bundle, target, key })
    const platform = `linux/${architecture}`
    checkRequirements(requirements, { libraries: base.libraries, glibc: base.glibc, name: base.name, platform })
    step.end(isCached, `${packages.length} package(s) outside the bundle`)
    return layer
  }

  async #writeExternals({ project, bundle, target, key }: ExternalsParts): Promise<ExternalsLayer> {
    const fetching = { cache: this.#cache, env: this.#env, signal: this.#signal }
    const entries = await traceExternals(project, bundle, target, fetching)
    const layer = await writeLayer(this.#cache.layers, entries, { signal: this.#signal })
    const made = { ...layer, requirements: requirementsOf(entries) }
    await this.#cache.write(key, made)
    return made
  }

  /** Compiled code for the processor of this machine; `undefined` for another. */
  async #compile(
    { project, bundle }: Source,
    foundation: Foundation,
    externals: StoredLayer | undefined,
  ): Promise<CompiledCode | undefined> {
    const { layer: node } = foundation
    if (this.#options.compileCache === false || !node || !isNative(foundation)) return undefined
    const step = this.#step('compile')
    try {
      const compiled = await compileBundle({
        cache: this.#cache,
        format: project.format,
        files: bundle.files,
        vendor: bundle.vendor,
        node,
        externals,
        uid: USER_ID,
        env: this.#env,
        signal: this.#signal,
      })
      step.end(false, `${compiled.vendor.size + compiled.application.size} file(s) compiled ahead`)
      return compiled
    } catch (error) {
      this.#signal.throwIfAborted()
      const { message } = error as Error
      const missing = /ERR_MODULE_NOT_FOUND[^]*|Cannot find (?:package|module) '[^']+'|SyntaxError: .*/.exec(
        message,
      )?.[0]
      if (missing !== undefined) throw bundleIncomplete(project.dir, missing.split('\n')[0] ?? '', error)
      this.#emit({ step: 'warning', state: 'note', message: `not compiled ahead: ${message.split('\n')[0]}` })
      return undefined
    }
  }

  /** Written once for the same packages: it is the larger part of what is compressed. */
  async #vendor(bundle: Bundle, compiled: CompiledCode | undefined): Promise<StoredLayer | undefined> {
    if (bundle.vendor.size === 0) return undefined
    const entries = vendorEntries(bundle, compiled?.vendor ?? new Map())
    return this.#writeOnce(this.#cache.layers, 'vendor', entries)
  }

  /** Compressing is the slowest part of a warm build: what was written before is found by its content. */
  async #writeOnce(
    layout: Layout,
    title: string,
    entries: readonly TarEntry[],
    mtimeSeconds?: number,
  ): Promise<StoredLayer> {
    const contents = entries.map(({ content, ...entry }) =>
      JSON.stringify([entry, content instanceof Uint8Array ? digestOf(content) : content?.sizeBytes]),
    )
    const key = `${title}-${hashKey('1', String(mtimeSeconds), ...contents)}`
    const known = await this.#cache.read<StoredLayer>(key)
    if (known && (await layout.hasBlob(known.descriptor.digest))) return known
    if (title === 'vendor') await this.#refuseSecrets(entries)
    const layer = await writeLayer(layout, entries, { mtimeSeconds, signal: this.#signal })
    await this.#cache.write(key, layer)
    return layer
  }

  #refuseSecrets(entries: readonly TarEntry[]): Promise<void> {
    const { dir, allowSecrets: allowed } = this.#options
    return checkFiles({ dir: resolve(dir) }, entries, { cache: this.#cache, allowed })
  }

  async #application(
    { project, bundle, created, schema: schemaPending }: Source,
    compiled: CompiledCode | undefined,
  ): Promise<{ application: StoredLayer; hasConfigSchema: boolean }> {
    const code = [...(compiled?.application ?? [])].map(
      ([name, content]) => [`${COMPILE_CACHE_DIR.slice(APP_DIR.length + 1)}/${name}`, content] as const,
    )
    const schema = await schemaPending
    const launcher = this.#options.launcher === true ? await bundleLauncher(project) : undefined
    const files = new Map([
      ...code,
      ...(launcher ? [[LAUNCHER, launcher] as const] : []),
      ...(schema ? [['config.schema.json', schema] as const] : []),
    ])
    const entries = await applicationEntries(project, bundle, { created, files })
    await this.#refuseSecrets(entries)
    const mtimeSeconds = Math.floor(created.getTime() / 1000)
    const application = await this.#writeOnce(this.#options.layout, 'application', entries, mtimeSeconds)
    return { application, hasConfigSchema: schema !== undefined }
  }

  async #configSchema(bundle: Bundle): Promise<Buffer | undefined> {
    const { describeConfig } = this.#options
    if (!describeConfig) return undefined
    const key = `config-${hashKey('1', ...[...bundle.files].flatMap(([name, content]) => [name, digestOf(content)]))}`
    const known = await this.#cache.read<{ schema?: unknown }>(key)
    const schema = known ? known.schema : await describeConfig(this.#signal)
    if (!known) await this.#cache.write(key, schema === undefined ? {} : { schema })
    return schema === undefined ? undefined : Buffer.from(renderCanonicalJson(schema))
  }

  async #smokeTest({ project }: Source, foundation: Foundation, layers: readonly Layer[]): Promise<void> {
    if (!foundation.layer) return
    const own = layers.filter(({ title }) => title === 'externals' || title === 'vendor' || title === 'application')
    await runAlone({
      cache: this.#cache,
      node: foundation.layer,
      layers: own.map((layer) => ({
        layer,
        layout: layer.title === 'application' ? this.#options.layout : this.#cache.layers,
      })),
      args: [...project.nodeFlags, 'main.js'],
      dir: project.dir,
      env: this.#env,
      signal: this.#signal,
    })
  }

  async #writePlatform(source: Source, parts: Parts): Promise<Built> {
    const { layout, name, annotations } = this.#options
    const { base, layers, architecture, layer: node, nodeVersion } = parts
    const { project, created, version, revision } = source
    for (const layer of layers) if (layer.title !== 'application') await copyLayer(this.#cache.layers, layout, layer)
    const common = {
      project,
      name,
      created,
      version,
      revision,
      base: { name: base.name, digest: base.digest, config: base.config },
    }
    const text = renderImageConfig({
      ...common,
      architecture,
      nodeVersion,
      node: node ? NODE_PATH : (base.node ?? NODE_PATH),
      healthcheck: this.#options.healthcheck,
      hasSourceMaps: this.#options.sourceMaps === 'image',
      hasCompileCache: parts.hasCompileCache,
      hasConfigSchema: parts.hasConfigSchema,
      hasLauncher: this.#options.launcher === true,
      labels: this.#options.labels,
      layers,
    })
    await checkConfig(project, JSON.parse(text) as ImageConfig, { allowed: this.#options.allowSecrets })
    const bytes = Buffer.from(text)
    await layout.writeBlob(bytes, digestOf(bytes))
    const manifest: ImageManifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: { mediaType: mediaTypes.config, digest: digestOf(bytes), size: bytes.byteLength },
      layers: layers.map((layer) => layer.descriptor),
      annotations: renderAnnotations({ ...common, annotations }),
    }
    const written = await layout.writeJson(mediaTypes.manifest, manifest)
    const descriptor = { ...written, platform: { os: 'linux', architecture } }
    const built = layers.map(({ title, descriptor: blob, diffId }) => ({ ...blob, title, diffId }))
    return {
      descriptor,
      platform: `linux/${architecture}`,
      digest: descriptor.digest,
      sizeBytes: built.reduce((sum, layer) => sum + layer.size, 0),
      layers: built,
      base: { kind: base.kind, detail: base.detail },
      report: await this.#report(source, parts, built),
    }
  }

  async #finish(source: Source, built: readonly Built[]): Promise<Omit<BuildResult, 'durationMs'>> {
    const { layout, name } = this.#options
    const { project, bundle, created, version, revision } = source
    const [first] = built
    if (!first) throw platformUnsupported('')
    const annotations = renderAnnotations({
      project,
      name,
      created,
      version,
      revision,
      annotations: this.#options.annotations,
    })
    const index: ImageIndex = {
      schemaVersion: 2,
      mediaType: mediaTypes.index,
      manifests: built.map(({ descriptor }) => descriptor),
      annotations,
    }
    const target = built.length === 1 ? first.descriptor : await layout.writeJson(mediaTypes.index, index)
    const { digest } = target
    const reference = `localhost/${name}:${digest.slice('sha256:'.length, 'sha256:'.length + 12)}`
    const changed = await this.#tag(target, [reference, `localhost/${name}:latest`])
    this.#emit({ step: 'write', state: changed ? 'done' : 'cached', message: reference })
    return {
      reference,
      digest,
      platforms: built.map(({ descriptor: _descriptor, ...platform }) => platform),
      sizeBytes: first.sizeBytes,
      layers: first.layers,
      base: first.base,
      nodeVersion: first.report.node.version,
      externals: bundle.externals.entries().map(([path, reason]) => ({ name: nameOf(path), reason })),
      report: first.report,
      changed,
    }
  }

  /** Answers whether the last of the references meant something else before, or nothing. */
  async #tag(descriptor: Descriptor, references: readonly string[]): Promise<boolean> {
    const { layout } = this.#options
    const known = await layout.list()
    const before = new Map(known.map((entry) => [entry.reference, entry.descriptor.digest]))
    const isMissing = references.some((reference) => before.get(reference) !== descriptor.digest)
    if (isMissing) await layout.tagAll(references.map((reference) => ({ reference, descriptor })))
    return before.get(references.at(-1) ?? '') !== descriptor.digest
  }

  async #report(source: Source, parts: Parts, layers: readonly BuiltLayer[]): Promise<BuildReport> {
    const { base, layer: node, architecture, nodeVersion } = parts
    const { project, bundle, revision, created, version } = source
    const { name, license } = project.packageJson
    return {
      platform: `linux/${architecture}`,
      source: {
        name,
        version,
        license,
        commit: revision?.commit,
        created: created.toISOString(),
        entry: pathBelow(project.lock.root, project.entry) ?? project.entry,
      },
      lockfile: { manager: project.lock.manager, name: project.lock.name, digest: project.lock.digest },
      ...(await reportContents(project, bundle, targetOf(parts))),
      base: {
        kind: base.kind,
        name: base.name,
        digest: base.digest,
        distribution: base.distribution,
        packages: base.packages,
      },
      node: {
        version: nodeVersion,
        source: node?.source ?? 'base',
        integrity: node?.integrity ?? '',
        stripped: node !== undefined && this.#options.debugSymbols !== true,
      },
      layers,
    }
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

/** What lies below the program, for one processor. */
interface Foundation {
  architecture: Architecture
  base: Base
  nodeVersion: string
  /** Node.js of the npm registry; absent when the base has its own. */
  layer: NodeLayer | undefined
}

interface Source {
  project: Project
  bundle: Bundle
  revision: Revision | undefined
  created: Date
  version: string | undefined
  /** JSON Schema of its configuration, being asked for. */
  schema: Promise<Buffer | undefined>
}

interface Parts extends Foundation {
  layers: readonly Layer[]
  hasConfigSchema: boolean
  hasCompileCache: boolean
}

interface Built extends BuiltPlatform {
  descriptor: Descriptor
}

interface ExternalsLayer extends StoredLayer {
  requirements: readonly NativeRequirement[]
}

interface ExternalsParts {
  project: Project
  bundle: Bundle
  target: NativeTarget
  key: string
}

function architecturesOf(platforms: string | undefined): Architecture[] {
  const names = platforms?.split(',').map((name) => name.trim()) ?? [renderPlatform(hostPlatform())]
  return [...new Set(names.map(architectureOf))]
}

function architectureOf(platform: string): Architecture {
  const { os, architecture } = parsePlatform(platform)
  if (os === 'linux' && (architecture === 'amd64' || architecture === 'arm64')) return architecture
  throw platformUnsupported(platform)
}

function targetOf({ architecture, base }: Foundation): NativeTarget {
  return { architecture, libc: base.libc === 'musl' ? 'musl' : 'glibc' }
}

/** Whether this machine can run the Node.js of the image. */
function isNative({ architecture }: Foundation): boolean {
  const host = hostPlatform()
  return process.platform === 'linux' && host.architecture === architecture
}

/** Writes the source maps of a bundle into a folder, and answers the bundle without them. */
async function moveMaps(bundle: Bundle, dir: string): Promise<Bundle> {
  const isMap = (name: string): boolean => name.endsWith('.js.map')
  await mkdir(dir, { recursive: true })
  for (const [name, content] of bundle.files) if (isMap(name)) await writeFile(join(dir, name), content)
  return { ...bundle, files: new Map([...bundle.files].filter(([name]) => !isMap(name))) }
}

/** Everything but the imports of the source itself that decides which packages stay outside the bundle. */
function planKey(project: Project): string {
  const packages = dependencyClosure(project.lock).map((path) => {
    const entry = project.lock.packages.get(path)
    return `${path}@${entry?.version ?? ''} ${entry?.integrity ?? ''}`
  })
  return hashKey(
    '3',
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
