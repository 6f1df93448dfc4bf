import { digestOf, mediaTypes } from '@fairlead/oci'
import type { Descriptor, ImageConfig, ImageIndex, ImageManifest } from '@fairlead/oci'
import type { Layout } from '@fairlead/oci/layout'

import { platformUnsupported } from '../errors.ts'
import { isLaunched, NODE_PATH, renderAnnotations, renderImageConfig } from '../image-config.ts'
import type { ImageConfigParts } from '../image-config.ts'
import { copyLayer } from '../layers/layer.ts'
import type { BuildResult, BuiltLayer, BuiltPlatform } from '../options.ts'
import { reportContents } from '../report.ts'
import type { BuildReport } from '../report.ts'
import { checkConfig } from '../secrets/check.ts'
import { pathBelow } from '../source/project-path.ts'
import type { BuildContext } from './context.ts'
import { targetOf } from './foundation.ts'
import type { PlatformParts } from './platform.ts'
import type { Source } from './source.ts'

/** An image of one processor, written and not yet named. */
export interface WrittenPlatform extends BuiltPlatform {
  descriptor: Descriptor
}

/** Writes configuration and manifest of one processor. */
export async function writePlatform(
  context: BuildContext,
  source: Source,
  parts: PlatformParts,
): Promise<WrittenPlatform> {
  const { options, cache } = context
  const { layout, annotations } = options
  const { base, layers, architecture } = parts
  for (const layer of layers) if (layer.title !== 'application') await copyLayer(cache.layers, layout, layer)
  const origin = { ...originOf(context, source), base: { name: base.name, digest: base.digest, config: base.config } }
  const text = renderConfig(context, origin, parts)
  await checkConfig(source.project, JSON.parse(text) as ImageConfig, { allowed: options.allowSecrets })
  const bytes = Buffer.from(text)
  await layout.writeBlob(bytes, digestOf(bytes))
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: digestOf(bytes), size: bytes.byteLength },
    layers: layers.map((layer) => layer.descriptor),
    annotations: renderAnnotations({ ...origin, annotations }),
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
    report: await reportPlatform(context, source, parts, built),
  }
}

/** Names the image, which is an index when there are several processors. */
export async function publishImage(
  context: BuildContext,
  source: Source,
  built: readonly WrittenPlatform[],
): Promise<Omit<BuildResult, 'durationMs'>> {
  const { layout, name, annotations } = context.options
  const [first] = built
  if (!first) throw platformUnsupported('')
  const index: ImageIndex = {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: built.map(({ descriptor }) => descriptor),
    annotations: renderAnnotations({ ...originOf(context, source), annotations }),
  }
  const target = built.length === 1 ? first.descriptor : await layout.writeJson(mediaTypes.index, index)
  const { digest } = target
  const reference = `localhost/${name}:${digest.slice('sha256:'.length, 'sha256:'.length + 12)}`
  const step = context.step('write')
  const changed = await tag(layout, target, [reference, `localhost/${name}:latest`])
  step.end(!changed, reference)
  return {
    reference,
    digest,
    platforms: built.map(({ descriptor: _descriptor, ...platform }) => platform),
    sizeBytes: first.sizeBytes,
    layers: first.layers,
    base: first.base,
    nodeVersion: first.report.node.version,
    externals: source.bundle.externals.entries().map(([path, reason]) => ({ name: nameOf(path), reason })),
    report: first.report,
    changed,
  }
}

type Origin = Pick<Source, 'project' | 'revision' | 'created' | 'version'> & { name: string }

function originOf({ options }: BuildContext, { project, revision, created, version }: Source): Origin {
  return { project, name: options.name, created, version, revision }
}

function renderConfig(
  { options }: BuildContext,
  origin: Origin & Pick<ImageConfigParts, 'base'>,
  parts: PlatformParts,
): string {
  const { base, layers, architecture, layer: node, nodeVersion, hasCompileCache, hasConfigSchema } = parts
  return renderImageConfig({
    ...origin,
    architecture,
    nodeVersion,
    node: node ? NODE_PATH : (base.node ?? NODE_PATH),
    healthcheck: options.healthcheck,
    hasSourceMaps: options.sourceMaps === 'image',
    hasCompileCache,
    hasConfigSchema,
    hasLauncher: isLaunched(origin.project, options),
    labels: options.labels,
    layers,
  })
}

/** Answers whether the last of the references meant something else before, or nothing. */
async function tag(layout: Layout, descriptor: Descriptor, references: readonly string[]): Promise<boolean> {
  const known = await layout.list()
  const before = new Map(known.map((entry) => [entry.reference, entry.descriptor.digest]))
  const isMissing = references.some((reference) => before.get(reference) !== descriptor.digest)
  if (isMissing) await layout.tagAll(references.map((reference) => ({ reference, descriptor })))
  return before.get(references.at(-1) ?? '') !== descriptor.digest
}

async function reportPlatform(
  { options }: BuildContext,
  source: Source,
  parts: PlatformParts,
  layers: readonly BuiltLayer[],
): Promise<BuildReport> {
  const { base, layer: node, architecture, nodeVersion } = parts
  const { project, bundle } = source
  const { manager, name, digest } = project.lock
  return {
    platform: `linux/${architecture}`,
    source: reportSource(source),
    lockfile: { manager, name, digest },
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
      stripped: node !== undefined && options.debugSymbols !== true,
    },
    layers,
  }
}

function reportSource({ project, revision, created, version }: Source): BuildReport['source'] {
  const { name, license } = project.packageJson
  return {
    name,
    version,
    license,
    commit: revision?.commit,
    created: created.toISOString(),
    entry: pathBelow(project.lock.root, project.entry) ?? project.entry,
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
}
