import { join, resolve } from 'node:path'
import type { BuildResult } from '@fairlead/build'
import type { ProgramResult } from '@fairlead/build/programs'
import { parseReference } from '@fairlead/oci'
import { usage } from '../errors.ts'
import type { Homes } from '../homes.ts'
import type { Steps } from '../terminal/steps.ts'
import { renderSize } from '../terminal/text.ts'

/** What `fairlead build` makes beside the images in the store. */
export type Output =
  | { readonly kind: 'oci' | 'archive' | 'sea'; readonly path: string }
  | { readonly kind: 'registry'; readonly to: string }

const FORMS = 'Write oci:DIR, archive:FILE, sea:FILE or registry:HOST[/PATH]'

/** `--output`, with what `--push` adds; each only once. Throws FAIRLEAD_CLI_USAGE, and FAIRLEAD_OCI_REFERENCE for the registry. */
export function parseOutputs(texts: readonly string[] | undefined, push: string | undefined): Output[] {
  const outputs = (texts ?? []).flatMap((text) => parseOutput(text, push))
  if (push !== undefined) outputs.push({ kind: 'registry', to: push })
  for (const output of outputs) if (output.kind === 'registry') parseReference(`${output.to}/x`)
  const kinds = outputs.map(({ kind }) => kind)
  const twice = kinds.find((kind, index) => kinds.indexOf(kind) !== index)
  if (twice !== undefined) throw usage(`Cannot write output "${twice}" twice`, 'Name one place for each')
  return outputs
}

function parseOutput(text: string, push: string | undefined): Output[] {
  if (text === 'registry' && push !== undefined) return []
  const [, kind, place] = /^(oci|archive|sea|registry):(.+)$/.exec(text) ?? []
  if (kind === 'registry' && place !== undefined) return [{ kind, to: place }]
  if ((kind === 'oci' || kind === 'archive' || kind === 'sea') && place !== undefined) return [{ kind, path: place }]
  const hint = text === 'registry' ? 'Name it: registry:HOST[/PATH], or --push HOST[/PATH]' : FORMS
  throw usage(`Cannot understand --output "${text}"`, hint)
}

/** A service with its image. */
export interface OutputImage {
  readonly service: string
  readonly image: BuildResult | ProgramResult
}

export interface WriteOutputOptions {
  readonly app: string
  readonly homes: Homes
  readonly cwd: string
  readonly steps: Steps
  readonly env: NodeJS.ProcessEnv
  readonly signal: AbortSignal
}

/** A file or folder that was written. */
export interface WrittenOutput {
  readonly kind: 'oci' | 'archive' | 'sea'
  readonly path: string
  readonly sizeBytes: number
  /** Of an executable. */
  readonly digest?: string
  readonly platform?: string
}

/** Writes images where they were asked for; several executables go into a folder, by the name of their service. */
export async function writeOutput(
  output: Extract<Output, { path: string }>,
  built: readonly OutputImage[],
  options: WriteOutputOptions,
): Promise<WrittenOutput[]> {
  const path = resolve(options.cwd, output.path)
  const step = options.steps.start(`write ${output.path}`)
  try {
    const written = output.kind === 'sea' ? await writeAll(path, built, options) : [await writeImages(output.kind)]
    step.done(renderSize(written.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)))
    return written
  } catch (error) {
    step.fail(options.signal.aborted ? 'interrupted' : 'failed')
    throw error
  }

  async function writeImages(kind: 'oci' | 'archive'): Promise<WrittenOutput> {
    const { exportImages, openLayout } = await import('@fairlead/oci/layout')
    const layout = await openLayout(options.homes.images)
    const references = built.map(({ image }) => image.reference)
    const target = kind === 'oci' ? { dir: path } : { archive: path }
    const { sizeBytes } = await exportImages(layout, references, target, { signal: options.signal })
    return { kind, path, sizeBytes }
  }
}

async function writeAll(
  path: string,
  built: readonly OutputImage[],
  options: WriteOutputOptions,
): Promise<WrittenOutput[]> {
  const { buildExecutable } = await import('@fairlead/build/sea')
  const { openLayout } = await import('@fairlead/oci/layout')
  const layout = await openLayout(options.homes.images)
  const { env, signal } = options
  const written: WrittenOutput[] = []
  for (const { service, image } of built) {
    if (!('platforms' in image)) throw notNode(service)
    const [platform, other] = image.platforms
    if (platform === undefined || other !== undefined)
      throw usage('Cannot write one executable for several platforms', 'Name one with --platform, and run it again')
    const file = built.length === 1 ? path : join(path, service)
    const name = `${options.app}/${service}`
    const made = await buildExecutable(platform, { layout, file, name, cacheDir: options.homes.cache, env, signal })
    const { sizeBytes, digest } = made
    written.push({ kind: 'sea', path: made.file, sizeBytes, digest, platform: made.platform })
  }
  return written
}

function notNode(service: string): Error {
  return usage(
    `Cannot write an executable of "${service}": it is no Node.js service`,
    'Use --output oci:DIR or archive:FILE',
  )
}
