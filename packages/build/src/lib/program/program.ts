import { resolve } from 'node:path'

import { digestOf, hostPlatform, mediaTypes, parsePlatform, renderCanonicalJson } from '@fairlead/oci'
import type { Descriptor, Digest, ImageConfig } from '@fairlead/oci'
import type { TarEntry } from '@fairlead/oci/archive'

import { assembleDebianBase } from '../base/debian.ts'
import type { DebianBase } from '../base/debian.ts'
import { platformUnsupported, sourceInvalid } from '../errors.ts'
import { USER_ID } from '../image-config.ts'
import { openCache } from '../layers/cache.ts'
import type { BuildCache, StoredLayer } from '../layers/cache.ts'
import { copyLayer, writeLayer } from '../layers/layer.ts'
import type { BuildImageOptions, BuiltBase, BuiltLayer } from '../options.ts'
import { planPython } from '../python/python.ts'
import { checkConfig, checkFiles } from '../secrets/check.ts'
import { creationTime, loadRevision } from '../source/revision.ts'
import { planStatic } from '../static/static.ts'
import { detectKind } from './detect.ts'
import type { ProgramKind } from './detect.ts'

/** What is asked of a build whose source is no Node.js service. */
export type BuildProgramOptions = Pick<
  BuildImageOptions,
  | 'dir'
  | 'name'
  | 'layout'
  | 'cacheDir'
  | 'platform'
  | 'packages'
  | 'version'
  | 'created'
  | 'allowSecrets'
  | 'labels'
  | 'env'
  | 'signal'
  | 'onProgress'
>

/** A finished image of a program. */
export interface ProgramResult {
  kind: Exclude<ProgramKind, 'node'>
  /** `localhost/<name>:<first 12 hexadecimal digits of the manifest digest>`. */
  reference: string
  digest: Digest
  /** Compressed bytes of all layers, of the first platform. */
  sizeBytes: number
  layers: readonly BuiltLayer[]
  base: BuiltBase
  /** Whether `latest` meant another image before, or none. */
  changed: boolean
  durationMs: number
}

/** What a kind of program has to say about its image, for one processor. */
export interface ProgramPlan {
  base: Pick<Parameters<typeof assembleDebianBase>[0], 'isStatic' | 'programs' | 'packages'>
  /** Layers above the base, lowest first. */
  layers: (base: DebianBase) => Promise<readonly PlannedLayer[]>
  entrypoint: readonly string[]
  env: Readonly<Record<string, string>>
  healthcheck: readonly string[] | undefined
}

/** A layer to write, or one that lies in the cache. */
type PlannedLayer = { title: BuiltLayer['title'] } & ({ entries: readonly TarEntry[] } | { stored: StoredLayer })

/** What a plan is made from. */
export interface PlanContext {
  dir: string
  name: string
  architecture: 'amd64' | 'arm64'
  cache: BuildCache
  created: Date
  env: NodeJS.ProcessEnv
  signal: AbortSignal | undefined
  onStart: (step: 'install' | 'bundle', message: string) => void
}

const PORT = 8080

/**
 * Builds an OCI image of a folder that holds a static program or a Python application, without a container engine and without
 * root. The same files and the same cached base give the same image to the bit. Throws `FAIRLEAD_BUILD_…`.
 */
export async function buildProgram(options: BuildProgramOptions): Promise<ProgramResult> {
  const startedAt = performance.now()
  const dir = resolve(options.dir)
  const env = options.env ?? process.env
  const kind = await detectKind(dir)
  if (kind === 'node') throw sourceInvalid(dir, 'it is the folder of a Node.js service', 'Build it with buildImage')
  const cache = await openCache(options.cacheDir)
  const revision = await loadRevision(dir, env, options.signal)
  const created = options.created ?? creationTime(env, revision)
  const built: Built[] = []
  for (const architecture of architecturesOf(options.platform)) {
    const onStart: PlanContext['onStart'] = (step, message) => options.onProgress?.({ step, state: 'started', message })
    const context: PlanContext = {
      dir,
      name: options.name.slice(options.name.lastIndexOf('/') + 1),
      architecture,
      cache,
      created,
      env,
      signal: options.signal,
      onStart,
    }
    const plan = await (kind === 'python' ? planPython(context) : planStatic(context))
    built.push(await buildOne(plan, context, { ...options, revision: revision?.commit }))
  }
  const [first] = built
  if (!first) throw platformUnsupported('')
  const target = await describe(built, options)
  const { reference, changed } = await tag(target, options)
  const durationMs = Math.round(performance.now() - startedAt)
  const { sizeBytes, layers, base } = first
  return { kind, reference, digest: target.digest, sizeBytes, layers, base, changed, durationMs }
}

interface Built {
  descriptor: Descriptor
  sizeBytes: number
  layers: readonly BuiltLayer[]
  base: BuiltBase
}

async function buildOne(
  plan: ProgramPlan,
  context: PlanContext,
  options: BuildProgramOptions & { revision: string | undefined },
): Promise<Built> {
  const { layout } = options
  const { cache, architecture, created, signal, dir } = context
  options.onProgress?.({ step: 'base', state: 'started', message: 'assembling the base from Debian packages' })
  const base = await knownBase(plan, options, context)
  await copyLayer(cache.layers, layout, base.layer)
  const stored: (StoredLayer & { title: BuiltLayer['title'] })[] = [{ ...base.layer, title: 'base' }]
  for (const planned of await plan.layers(base)) {
    if ('stored' in planned) {
      await copyLayer(cache.layers, layout, planned.stored)
      stored.push({ ...planned.stored, title: planned.title })
      continue
    }
    await checkFiles({ dir }, planned.entries, { cache, allowed: options.allowSecrets })
    const mtimeSeconds = Math.floor(created.getTime() / 1000)
    stored.push({ ...(await writeLayer(layout, planned.entries, { mtimeSeconds, signal })), title: planned.title })
  }
  const config = renderConfig(plan, context, { ...options, base, layers: stored })
  await checkConfig({ dir }, config, { allowed: options.allowSecrets })
  const bytes = Buffer.from(renderCanonicalJson(config))
  await layout.writeBlob(bytes, digestOf(bytes))
  const manifest = await layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: digestOf(bytes), size: bytes.byteLength },
    layers: stored.map(({ descriptor }) => descriptor),
    annotations: config.config?.Labels ?? {},
  })
  const layers = stored.map(({ title, descriptor, diffId }) => ({ ...descriptor, title, diffId }))
  return {
    descriptor: { ...manifest, platform: { os: 'linux', architecture } },
    sizeBytes: layers.reduce((sum, { size }) => sum + size, 0),
    layers,
    base: { kind: plan.base.isStatic ? 'scratch' : 'debian', detail: base.detail },
  }
}

/** Kept by what is asked for, so that builds stay equal while the archive moves. */
async function knownBase(plan: ProgramPlan, options: BuildProgramOptions, context: PlanContext): Promise<DebianBase> {
  const { cache, architecture, env, signal } = context
  const packages = [...plan.base.packages, ...(options.packages ?? [])]
  const key = `program-base-${plan.base.isStatic ? 'static' : 'debian'}-${architecture}-${digestOf(Buffer.from(packages.join(' '))).slice(7, 23)}`
  const known = await cache.read<DebianBase>(key)
  if (known && (await cache.layers.hasBlob(known.layer.descriptor.digest))) return known
  const base = await assembleDebianBase({ ...plan.base, packages, profile: 'debian', cache, architecture, env, signal })
  await cache.write(key, base)
  return base
}

function renderConfig(
  plan: ProgramPlan,
  context: PlanContext,
  parts: BuildProgramOptions & {
    revision: string | undefined
    base: DebianBase
    layers: readonly (StoredLayer & { title: string })[]
  },
): ImageConfig {
  const created = context.created.toISOString()
  const notes = {
    title: parts.name,
    version: parts.version,
    revision: parts.revision,
    created,
    'base.name': plan.base.isStatic ? 'scratch' : parts.base.name,
  }
  const known = Object.entries(notes).filter((entry): entry is [string, string] => entry[1] !== undefined)
  const variables = {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    SSL_CERT_FILE: '/etc/ssl/certs/ca-certificates.crt',
    HOME: '/home/nonroot',
    PORT: String(PORT),
    ...(parts.version === undefined ? {} : { SERVICE_VERSION: parts.version }),
    ...plan.env,
  }
  return {
    os: 'linux',
    architecture: context.architecture,
    created,
    config: {
      User: `${USER_ID}:${USER_ID}`,
      Env: Object.entries(variables).map(([name, value]) => `${name}=${value}`),
      WorkingDir: '/app',
      Entrypoint: [...plan.entrypoint],
      ExposedPorts: { [`${PORT}/tcp`]: {} },
      StopSignal: 'SIGTERM',
      ...(plan.healthcheck === undefined
        ? {}
        : {
            Healthcheck: {
              Test: ['CMD', ...plan.healthcheck],
              Interval: 30_000_000_000,
              Timeout: 5_000_000_000,
              StartPeriod: 10_000_000_000,
              Retries: 3,
            },
          }),
      Labels: {
        ...parts.labels,
        ...Object.fromEntries(known.map(([name, value]) => [`org.opencontainers.image.${name}`, value])),
      },
    },
    rootfs: { type: 'layers', diff_ids: parts.layers.map(({ diffId }) => diffId) },
    history: parts.layers.map(({ title }) => ({ created, created_by: `fairlead build (${title})` })),
  }
}

async function describe(built: readonly Built[], { layout }: BuildProgramOptions): Promise<Descriptor> {
  const [first] = built
  if (built.length === 1 && first) return first.descriptor
  return layout.writeJson(mediaTypes.index, {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: built.map(({ descriptor }) => descriptor),
  })
}

async function tag(
  descriptor: Descriptor,
  { layout, name }: BuildProgramOptions,
): Promise<{ reference: string; changed: boolean }> {
  const reference = `localhost/${name}:${descriptor.digest.slice('sha256:'.length, 'sha256:'.length + 12)}`
  const latest = `localhost/${name}:latest`
  const before = (await layout.list()).find((entry) => entry.reference === latest)?.descriptor.digest
  await layout.tagAll([reference, latest].map((target) => ({ reference: target, descriptor })))
  return { reference, changed: before !== descriptor.digest }
}

function architecturesOf(platform: string | undefined): ('amd64' | 'arm64')[] {
  const wanted =
    platform === undefined ? [hostPlatform()] : platform.split(',').map((text) => parsePlatform(text.trim()))
  return wanted.map(({ os, architecture }) => {
    if (platform === undefined && (architecture === 'amd64' || architecture === 'arm64')) return architecture
    if (os === 'linux' && (architecture === 'amd64' || architecture === 'arm64')) return architecture
    throw platformUnsupported(`${os}/${architecture}`)
  })
}
