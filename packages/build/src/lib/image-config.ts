import { renderCanonicalJson } from '@fairlead/oci'
import type { ImageConfig, ImageHealthcheck, ImageRunConfig } from '@fairlead/oci'

import { LAUNCHER } from './bundle/locations.ts'
import { COMPILE_CACHE_DIR } from './layers/compile-cache.ts'
import type { HealthcheckOptions } from './options.ts'
import type { StoredLayer } from './layers/cache.ts'
import type { Revision } from './source/revision.ts'
import type { Project } from './source/project.ts'

/** What goes into the configuration of an image. */
export interface ImageConfigParts {
  project: Project
  name: string
  architecture: string
  created: Date
  version: string | undefined
  revision: Revision | undefined
  nodeVersion: string
  /** Path of Node.js in the image. */
  node: string
  healthcheck: HealthcheckOptions | false | undefined
  hasSourceMaps: boolean
  hasCompileCache: boolean
  hasConfigSchema: boolean
  hasLauncher: boolean
  labels: Readonly<Record<string, string>> | undefined
  base: { name: string; digest: string | undefined; config: ImageRunConfig | undefined }
  layers: readonly (StoredLayer & { title: string })[]
}

/** Port a service listens on unless it is told otherwise. */
const PORT = 8080
/** Where the layer of Node.js has it. */
export const NODE_PATH = '/nodejs/bin/node'
/** The account "nonroot" of distroless images. */
export const USER_ID = 65_532

/** The configuration (image-spec, config.md): not root, no shell, Node.js as the first process. */
export function renderImageConfig(parts: ImageConfigParts): string {
  const created = parts.created.toISOString()
  const config: ImageConfig = {
    os: 'linux',
    architecture: parts.architecture,
    created,
    config: {
      ...parts.base.config,
      User: `${USER_ID}:${USER_ID}`,
      Env: environment(parts),
      WorkingDir: '/app',
      Entrypoint: [parts.node, ...(parts.hasLauncher ? [LAUNCHER] : []), ...nodeFlags(parts), 'main.js'],
      Cmd: undefined,
      ExposedPorts: { [`${PORT}/tcp`]: {} },
      StopSignal: 'SIGTERM',
      Healthcheck: parts.healthcheck === false ? undefined : healthcheck(parts, parts.healthcheck ?? {}),
      Labels: labels(parts),
    },
    rootfs: { type: 'layers', diff_ids: parts.layers.map((layer) => layer.diffId) },
    history: parts.layers.map((layer) => ({ created, created_by: `fairlead build (${layer.title})` })),
  }
  return renderCanonicalJson(config)
}

function nodeFlags({ project, hasSourceMaps }: ImageConfigParts): string[] {
  const flag = '--enable-source-maps'
  return hasSourceMaps && !project.nodeFlags.includes(flag) ? [flag, ...project.nodeFlags] : [...project.nodeFlags]
}

/** Asked by Node.js itself: there is neither a shell nor curl. */
function healthcheck(parts: ImageConfigParts, options: HealthcheckOptions): ImageHealthcheck {
  const path = options.path ?? (isKitService(parts.project) ? '/healthz' : undefined)
  const nanoseconds = (milliseconds: number): number => milliseconds * 1_000_000
  return {
    Test: ['CMD', ...(options.command ?? [parts.node, '-e', path === undefined ? CONNECT : renderRequest(path)])],
    Interval: nanoseconds(options.intervalMs ?? 30_000),
    Timeout: nanoseconds(options.timeoutMs ?? 5_000),
    StartPeriod: nanoseconds(options.startPeriodMs ?? 10_000),
    Retries: options.retries ?? 3,
  }
}

const CONNECT = `require('net').connect(process.env.PORT,'127.0.0.1').on('connect',()=>process.exit(0)).on('error',()=>process.exit(1))`

function renderRequest(path: string): string {
  return `require('http').get({port:process.env.PORT,path:${JSON.stringify(path)}},r=>process.exit(r.statusCode<400?0:1)).on('error',()=>process.exit(1))`
}

function isKitService({ packageJson }: Project): boolean {
  return packageJson.dependencies?.['@fairlead/service'] !== undefined
}

/** Whether the program is started by the kit's launcher. */
export function isLaunched(project: Project, { launcher }: { launcher?: boolean | undefined }): boolean {
  return launcher ?? isKitService(project)
}

function environment({ base: { config }, version, hasCompileCache, node }: ImageConfigParts): string[] {
  const base = config?.Env ?? []
  const own = {
    PATH: node === NODE_PATH ? '/nodejs/bin:/usr/bin:/bin' : '/usr/local/bin:/usr/bin:/bin',
    SSL_CERT_FILE: '/etc/ssl/certs/ca-certificates.crt',
    HOME: '/home/nonroot',
    NODE_ENV: 'production',
    PORT: String(PORT),
    ...(version === undefined ? {} : { SERVICE_VERSION: version }),
    ...(hasCompileCache ? { NODE_COMPILE_CACHE: `/${COMPILE_CACHE_DIR}` } : {}),
  }
  const kept = base.filter((entry) => !Object.hasOwn(own, entry.slice(0, entry.indexOf('='))))
  return [...kept, ...Object.entries(own).map(([name, value]) => `${name}=${value}`)]
}

/** Annotations of a manifest or index: what registries show without reading the configuration. */
export function renderAnnotations(parts: AnnotationParts): Record<string, string> {
  return { ...parts.annotations, ...standardNotes(parts) }
}

/** What annotations are made of. */
export interface AnnotationParts {
  project: Project
  name: string
  created: Date
  version: string | undefined
  revision: Revision | undefined
  annotations: Readonly<Record<string, string>> | undefined
  base?: { name: string; digest: string | undefined } | undefined
}

function standardNotes(parts: Omit<AnnotationParts, 'annotations'>): Record<string, string> {
  const { description, license } = parts.project.packageJson
  const prefix = 'org.opencontainers.image.'
  const all = {
    title: parts.name,
    description,
    licenses: license,
    version: parts.version,
    revision: parts.revision?.commit,
    created: parts.created.toISOString(),
    'base.name': parts.base?.name,
    'base.digest': parts.base?.digest,
  }
  const known = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return Object.fromEntries(known.map(([name, value]) => [prefix + name, value]))
}

function labels(parts: ImageConfigParts): Record<string, string> {
  const schema = parts.hasConfigSchema ? { 'dev.fairlead.config-schema': '/app/config.schema.json' } : {}
  return { ...parts.labels, ...standardNotes(parts), ...schema }
}
