import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { BuildEvent, BuildImageOptions, BuildResult } from '@fairlead/build'
import type { ProgramResult } from '@fairlead/build/programs'
import type { App, AppService } from '@fairlead/delivery/app'
import { parseReference } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'
import type { SigningKey } from '@fairlead/oci/sign'
import type { Homes } from '../homes.ts'
import type { Steps } from '../terminal/steps.ts'
import { renderSize } from '../terminal/text.ts'

export interface BuildServicesOptions {
  readonly homes: Homes
  readonly steps: Steps
  readonly platform?: string | undefined
  readonly base?: string | undefined
  /** Signs the images. */
  readonly signKey?: SigningKey | undefined
  /** Assemble or resolve the base anew. */
  readonly refreshBase?: boolean | undefined
  /** Version of Node.js in the images. */
  readonly nodeVersion?: string | undefined
  /** Debian packages to add to the base. */
  readonly packages?: readonly string[] | undefined
  /** Source maps beside the code. */
  readonly sourceMaps?: boolean | undefined
  readonly debugSymbols?: boolean | undefined
  readonly compileCache?: boolean | undefined
  readonly smokeTest?: boolean | undefined
  /** Start by way of the kit's launcher. Default: where the service depends on the kit. */
  readonly launcher?: boolean | undefined
  readonly env: NodeJS.ProcessEnv
  readonly signal: AbortSignal
}

/** One built service. */
export interface BuiltService {
  readonly service: string
  readonly image: BuildResult | ProgramResult
  /** What the builder wants the person to know. */
  readonly warnings: readonly string[]
}

/**
 * Builds the image of every service, as many at a time as there are processors. The first failure ends the others; it
 * is thrown when all have ended.
 */
export async function buildServices(app: App, options: BuildServicesOptions): Promise<BuiltService[]> {
  // Loaded here and not above: the builder brings a bundler, which a call for the help does not need.
  const { buildImage } = await import('@fairlead/build')
  const { detectKind } = await import('@fairlead/build/project')
  const { attachDocuments } = await import('@fairlead/build/sbom')
  const layout = await openLayout(options.homes.images)
  const controller = new AbortController()
  const signal = AbortSignal.any([options.signal, controller.signal])
  const waiting = app.services.entries()
  const built: BuiltService[] = []
  const work = async (): Promise<void> => {
    for (const [index, service] of waiting) {
      signal.throwIfAborted()
      built[index] = await buildService(service)
    }
  }
  const workers = Array.from({ length: Math.min(availableParallelism(), app.services.length) }, work)
  const results = await Promise.allSettled(workers.map((worker) => worker.catch(stopOthers)))
  const failed = results.find((result) => result.status === 'rejected')
  if (failed) throw controller.signal.aborted ? controller.signal.reason : failed.reason
  return built

  function stopOthers(error: unknown): never {
    controller.abort(error)
    throw error
  }

  /** The schema goes into the image of a service of the kit; one that cannot be loaded here goes without. */
  async function describeConfig(dir: string, describing: AbortSignal): Promise<unknown> {
    const text = await readFile(join(dir, 'package.json'), 'utf8')
    if (!text.includes('"@fairlead/service"')) return undefined
    const { inspectConfig } = await import('../config/inspect.ts')
    const found = await inspectConfig(dir, {}, { env: options.env, signal: describing }).catch(() => undefined)
    describing.throwIfAborted()
    return found?.schema
  }

  async function buildService(service: AppService): Promise<BuiltService> {
    const step = options.steps.start(`${service.name}: image`)
    const warnings: string[] = []
    try {
      const common = {
        dir: service.dir,
        name: `${app.name}/${service.name}`,
        layout,
        cacheDir: options.homes.cache,
        platform: options.platform,
        packages: options.packages,
        allowSecrets: service.allowSecrets,
        env: options.env,
        signal,
        onProgress(event: BuildEvent) {
          if (event.step === 'warning') warnings.push(`${service.name}: ${event.message}`)
          else if (event.state === 'started') step.update(event.message)
        },
      }
      const isNode = (await detectKind(service.dir)) === 'node'
      const image = isNode ? await buildNode(service, common) : await buildOther(common)
      if ('platforms' in image) await attachAll(image)
      if (options.signKey) await sign(image.reference, options.signKey)
      step.done(`${image.reference}, ${renderSize(image.sizeBytes)}, ${image.changed ? 'new' : 'unchanged'}`)
      return { service: service.name, image, warnings }
    } catch (error) {
      step.fail(signal.aborted ? 'interrupted' : 'failed')
      throw error
    }
  }

  async function buildOther(common: BuildImageOptions): Promise<ProgramResult> {
    const { buildProgram } = await import('@fairlead/build/programs')
    return buildProgram(common)
  }

  async function sign(reference: string, key: SigningKey): Promise<void> {
    const { openLayoutHome, signImage } = await import('@fairlead/oci/sign')
    await signImage(await openLayoutHome(layout, reference), { key })
  }

  function buildNode(service: AppService, common: BuildImageOptions): Promise<BuildResult> {
    return buildImage({
      ...common,
      base: options.base,
      refreshBase: options.refreshBase,
      nodeVersion: options.nodeVersion,
      sourceMaps: options.sourceMaps === true ? 'image' : undefined,
      debugSymbols: options.debugSymbols,
      compileCache: options.compileCache,
      smokeTest: options.smokeTest,
      launcher: options.launcher,
      version: service.version,
      describeConfig: (describing) => describeConfig(service.dir, describing),
    })
  }

  async function attachAll(image: BuildResult): Promise<void> {
    for (const platform of image.platforms) {
      await attachDocuments(
        layout,
        { ...platform, reference: image.reference },
        { cacheDir: options.homes.cache, builder: options.env['FAIRLEAD_BUILDER'], signal },
      )
    }
  }
}

/** Whether `--base` can be understood, before anything is started. Throws FAIRLEAD_OCI_REFERENCE. */
export function checkBase(base: string | undefined): void {
  if (base !== undefined && !['auto', 'debian', 'scratch'].includes(base)) parseReference(base)
}

/** A line per base, for services mostly share one: `base: Debian GNU/Linux 12 (bookworm), assembled ...`. */
export function describeBases(built: readonly BuiltService[]): string[] {
  const origins = {
    debian: 'assembled from Debian packages',
    scratch: 'libraries of Debian packages',
    registry: 'from its registry',
  }
  const bases = built.map(({ image }) => {
    const { base } = image
    const [name = base.detail] = base.detail.split(': ')
    const program = 'nodeVersion' in image ? `Node.js ${image.nodeVersion}` : image.kind
    return `base: ${name}, ${origins[base.kind]}; ${program}`
  })
  return [...new Set(bases)]
}
