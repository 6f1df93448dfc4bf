import { resolve } from 'node:path'

import { digestOf } from '@fairlead/oci'
import type { TarEntry } from '@fairlead/oci/archive'
import type { Layout } from '@fairlead/oci/layout'

import { APP_DIR, LAUNCHER } from '../bundle/locations.ts'
import { bundleIncomplete, packagesIncomplete } from '../errors.ts'
import { isLaunched, USER_ID } from '../image-config.ts'
import { applicationEntries, vendorEntries } from '../layers/application.ts'
import { hashKey } from '../layers/cache.ts'
import type { StoredLayer } from '../layers/cache.ts'
import { COMPILE_CACHE_DIR, openCompiler } from '../layers/compile-cache.ts'
import type { CompiledFiles, Compiler } from '../layers/compile-cache.ts'
import { writeLayer } from '../layers/layer.ts'
import { runAlone } from '../layers/smoke-test.ts'
import { checkRequirements, requirementsOf } from '../native/requirements.ts'
import type { NativeRequirement } from '../native/requirements.ts'
import type { BuiltLayer } from '../options.ts'
import { checkFiles } from '../secrets/check.ts'
import { externalsKey, traceExternals } from '../trace/externals.ts'
import { markInstalled } from '../trace/installed.ts'
import type { BuildContext } from './context.ts'
import { isNative, targetOf } from './foundation.ts'
import type { Foundation } from './foundation.ts'
import type { Source } from './source.ts'

export type Layer = StoredLayer & { title: BuiltLayer['title'] }

/** Everything an image of one processor consists of. */
export interface PlatformParts extends Foundation {
  layers: readonly Layer[]
  hasConfigSchema: boolean
  hasCompileCache: boolean
}

/** Makes the layers of one processor. */
export function layerPlatform(context: BuildContext, source: Source, foundation: Foundation): Promise<PlatformParts> {
  return new PlatformBuild(context, source, foundation).run()
}

class PlatformBuild {
  readonly #context: BuildContext
  readonly #source: Source
  readonly #foundation: Foundation

  constructor(context: BuildContext, source: Source, foundation: Foundation) {
    this.#context = context
    this.#source = source
    this.#foundation = foundation
  }

  async run(): Promise<PlatformParts> {
    const externals = await this.#externals()
    const compiler = this.#compiler(externals)
    const step = this.#context.step('compile')
    const vendorCode = await this.#compile(compiler, (known) => known.vendor())
    // What was compiled of the packages is packed while the program itself is compiled.
    const [vendor, [{ application, hasConfigSchema }, code]] = await this.#context.together([
      this.#vendor(vendorCode),
      this.#compile(vendorCode && compiler, (known) => known.application()).then(
        async (made) => [await this.#application(made), made] as const,
      ),
    ])
    if (vendorCode && code) step.end(false, `${vendorCode.size + code.size} file(s) compiled ahead`)
    const layers = this.#stack({ externals, vendor, application })
    if (this.#context.options.smokeTest === true && isNative(this.#foundation)) await this.#smokeTest(layers)
    return { ...this.#foundation, layers, hasConfigSchema, hasCompileCache: Boolean(code ?? vendorCode?.size) }
  }

  #stack({ externals, vendor, application }: OwnLayers): Layer[] {
    const { base, layer: node } = this.#foundation
    return [
      ...base.layers.map((layer) => ({ ...layer, title: 'base' as const })),
      ...(node ? [{ descriptor: node.descriptor, diffId: node.diffId, title: 'node' as const }] : []),
      ...(externals ? [{ ...externals, title: 'externals' as const }] : []),
      ...(vendor ? [{ ...vendor, title: 'vendor' as const }] : []),
      { ...application, title: 'application' },
    ]
  }

  async #externals(): Promise<StoredLayer | undefined> {
    const { cache } = this.#context
    const { project, bundle } = this.#source
    const { architecture, base } = this.#foundation
    const count = bundle.externals.entries().length
    if (count === 0) return undefined
    const step = this.#context.step('externals')
    const mark = await markInstalled(project, bundle.externals)
    const key = await externalsKey(project, bundle, targetOf(this.#foundation))
    const known = await cache.read<ExternalsLayer>(key)
    const isCached = known !== undefined && (await cache.layers.hasBlob(known.descriptor.digest))
    if (!isCached) step.start(`${count} package(s) outside the bundle`)
    const made = isCached ? known : await this.#writeExternals(key, mark)
    if (!made) return undefined
    const { requirements, ...layer } = made
    const platform = `linux/${architecture}`
    checkRequirements(requirements, { libraries: base.libraries, glibc: base.glibc, name: base.name, platform })
    step.end(isCached, `${count} package(s) outside the bundle`)
    return layer
  }

  /** Kept only when it was read of one whole installation; `undefined` when the program reaches no file of these packages. */
  async #writeExternals(key: string, mark: string): Promise<ExternalsLayer | undefined> {
    const { cache, env, signal } = this.#context
    const { project, bundle } = this.#source
    const entries = await traceExternals(project, bundle, targetOf(this.#foundation), { cache, env, signal })
    if (entries.length === 0) return undefined
    const layer = await writeLayer(cache.layers, entries, { signal })
    if ((await markInstalled(project, bundle.externals)) !== mark) {
      throw packagesIncomplete(project.lock.root, 'its packages were installed anew while they were read')
    }
    const made = { ...layer, requirements: requirementsOf(entries) }
    await cache.write(key, made)
    return made
  }

  /** For the processor of this machine; `undefined` for another. */
  #compiler(externals: StoredLayer | undefined): Compiler | undefined {
    const { cache, env, signal, options } = this.#context
    const { project, bundle } = this.#source
    const { layer: node } = this.#foundation
    if (options.compileCache === false || !node || !isNative(this.#foundation)) return undefined
    const { files, vendor } = bundle
    return openCompiler({ cache, format: project.format, files, vendor, node, externals, uid: USER_ID, env, signal })
  }

  async #compile(
    compiler: Compiler | undefined,
    run: (compiler: Compiler) => Promise<CompiledFiles>,
  ): Promise<CompiledFiles | undefined> {
    if (!compiler) return undefined
    try {
      return await run(compiler)
    } catch (error) {
      this.#context.signal.throwIfAborted()
      const { message } = error as Error
      const pattern = /ERR_MODULE_NOT_FOUND[^]*|Cannot find (?:package|module) '[^']+'|SyntaxError: .*/
      const missing = pattern.exec(message)?.[0]
      if (missing !== undefined) throw bundleIncomplete(this.#source.project.dir, missing.split('\n')[0] ?? '', error)
      this.#context.warn(`not compiled ahead: ${message.split('\n')[0]}`)
      return undefined
    }
  }

  /** Written once for the same packages: it is the larger part of what is compressed. */
  async #vendor(compiled: CompiledFiles | undefined): Promise<StoredLayer | undefined> {
    const { bundle } = this.#source
    if (bundle.vendor.size === 0) return undefined
    return this.#writeOnce(this.#context.cache.layers, 'vendor', vendorEntries(bundle, compiled ?? new Map()))
  }

  async #application(
    compiled: CompiledFiles | undefined,
  ): Promise<{ application: StoredLayer; hasConfigSchema: boolean }> {
    const { project, bundle, created, schema: schemaPending } = this.#source
    const { layout } = this.#context.options
    const folder = COMPILE_CACHE_DIR.slice(APP_DIR.length + 1)
    const code = [...(compiled ?? [])].map(([name, content]) => [`${folder}/${name}`, content] as const)
    const schema = await schemaPending
    const launcher = isLaunched(project, this.#context.options) ? await makeLauncher(this.#source) : undefined
    const files = new Map([
      ...code,
      ...(launcher ? [[LAUNCHER, launcher] as const] : []),
      ...(schema ? [['config.schema.json', schema] as const] : []),
    ])
    const entries = await applicationEntries(project, bundle, { created, files })
    await this.#refuseSecrets(entries)
    const mtimeSeconds = Math.floor(created.getTime() / 1000)
    const application = await this.#writeOnce(layout, 'application', entries, mtimeSeconds)
    return { application, hasConfigSchema: schema !== undefined }
  }

  /** Compressing is the slowest part of a warm build: what was written before is found by its content. */
  async #writeOnce(
    layout: Layout,
    title: string,
    entries: readonly TarEntry[],
    mtimeSeconds?: number,
  ): Promise<StoredLayer> {
    const { cache, signal } = this.#context
    const contents = entries.map(({ content, ...entry }) =>
      JSON.stringify([entry, content instanceof Uint8Array ? digestOf(content) : content?.sizeBytes]),
    )
    const key = `${title}-${hashKey('1', String(mtimeSeconds), ...contents)}`
    const known = await cache.read<StoredLayer>(key)
    if (known && (await layout.hasBlob(known.descriptor.digest))) return known
    if (title === 'vendor') await this.#refuseSecrets(entries)
    const layer = await writeLayer(layout, entries, { mtimeSeconds, signal })
    await cache.write(key, layer)
    return layer
  }

  #refuseSecrets(entries: readonly TarEntry[]): Promise<void> {
    const { cache, options } = this.#context
    return checkFiles({ dir: resolve(options.dir) }, entries, { cache, allowed: options.allowSecrets })
  }

  async #smokeTest(layers: readonly Layer[]): Promise<void> {
    const { cache, env, signal, options } = this.#context
    const { project } = this.#source
    if (!this.#foundation.layer) return
    const own = layers.filter(({ title }) => title === 'externals' || title === 'vendor' || title === 'application')
    const placed = own.map((layer) => ({
      layer,
      layout: layer.title === 'application' ? options.layout : cache.layers,
    }))
    const args = [...project.nodeFlags, 'main.js']
    await runAlone({ cache, node: this.#foundation.layer, layers: placed, args, dir: project.dir, env, signal })
  }
}

interface OwnLayers {
  externals: StoredLayer | undefined
  vendor: StoredLayer | undefined
  application: StoredLayer
}

interface ExternalsLayer extends StoredLayer {
  requirements: readonly NativeRequirement[]
}

async function makeLauncher({ project }: Source): Promise<Buffer> {
  const { bundleLauncher } = await import('../bundle/launcher.ts')
  return bundleLauncher(project)
}
