import { renderCanonicalJson } from '@fairlead/oci'
import type { ImageConfig, ImageRunConfig } from '@fairlead/oci'

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
  base: { name: string; digest: string | undefined; config: ImageRunConfig | undefined }
  layers: readonly (StoredLayer & { title: string })[]
}

/** Port a service listens on unless it is told otherwise. */
const PORT = 8080
/** The account "nonroot" of distroless images. */
const USER = '65532:65532'

/** The configuration (image-spec, config.md): not root, no shell, Node.js as the first process. */
export function renderImageConfig(parts: ImageConfigParts): string {
  const created = parts.created.toISOString()
  const config: ImageConfig = {
    os: 'linux',
    architecture: parts.architecture,
    created,
    config: {
      ...parts.base.config,
      User: USER,
      Env: environment(parts.base.config?.Env ?? []),
      WorkingDir: '/app',
      Entrypoint: ['/nodejs/bin/node', ...parts.project.nodeFlags, 'main.js'],
      Cmd: undefined,
      ExposedPorts: { [`${PORT}/tcp`]: {} },
      StopSignal: 'SIGTERM',
      Labels: labels(parts, created),
    },
    rootfs: { type: 'layers', diff_ids: parts.layers.map((layer) => layer.diffId) },
    history: parts.layers.map((layer) => ({ created, created_by: `fairlead build (${layer.title})` })),
  }
  return renderCanonicalJson(config)
}

function environment(base: readonly string[]): string[] {
  const own = {
    PATH: '/nodejs/bin:/usr/bin:/bin',
    SSL_CERT_FILE: '/etc/ssl/certs/ca-certificates.crt',
    HOME: '/home/nonroot',
    NODE_ENV: 'production',
    PORT: String(PORT),
  }
  const kept = base.filter((entry) => !Object.hasOwn(own, entry.slice(0, entry.indexOf('='))))
  return [...kept, ...Object.entries(own).map(([name, value]) => `${name}=${value}`)]
}

function labels(parts: ImageConfigParts, created: string): Record<string, string> {
  const { description, license } = parts.project.packageJson
  const prefix = 'org.opencontainers.image.'
  const all = {
    title: parts.name,
    description,
    licenses: license,
    version: parts.version,
    revision: parts.revision?.commit,
    created,
    'base.name': parts.base.name,
    'base.digest': parts.base.digest,
  }
  const known = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return Object.fromEntries(known.map(([name, value]) => [prefix + name, value]))
}
