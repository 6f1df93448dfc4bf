import type { Descriptor, Digest } from '@fairlead/oci'
import type { Layout } from '@fairlead/oci/layout'

import type { BuildReport } from './report.ts'
import type { AllowedSecret } from './secrets/allow.ts'

/** What to build and where to put it. */
export interface BuildImageOptions {
  /** The folder of the service, holding its package.json. */
  dir: string
  /** Name of the image below `localhost/`, mostly `<app>/<service>`. */
  name: string
  /** The content store that receives the image, and the tags `<first 12 digits of the digest>` and `latest`. */
  layout: Layout
  /** Where bases, Node.js and plans are kept between builds; may be removed at any time between builds. */
  cacheDir: string
  /** `linux/amd64` or `linux/arm64`; default: Linux on the processor of this machine. */
  platform?: string | undefined
  /**
   * What lies below Node.js: `debian` (packages through apt), an image reference, or `auto` (default): the distroless
   * image when its registry answers, Debian packages otherwise. What `auto` chose is kept in the cache.
   */
  base?: string | undefined
  /** Assemble or resolve the base anew instead of using the cached one; default false. */
  refreshBase?: boolean | undefined
  /** Version of Node.js inside the image; default {@link DEFAULT_NODE_VERSION}. */
  nodeVersion?: string | undefined
  /** Version of the service; default: `version` of its package.json. */
  version?: string | undefined
  /** Time of creation written into the image; default: SOURCE_DATE_EPOCH, else the time of the commit, else 1970. */
  created?: Date | undefined
  /** Values that look like credentials and may enter the image, beside those of the folder's `fairlead.secrets.yaml`. */
  allowSecrets?: readonly AllowedSecret[] | undefined
  /** Environment read for SOURCE_DATE_EPOCH and given to npm, apt and git; default `process.env`. */
  env?: NodeJS.ProcessEnv | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((event: BuildEvent) => void) | undefined
}

/** One step of a build. `started` comes only for steps that can take long; every step ends in `done` or `cached`. */
export interface BuildEvent {
  step: 'install' | 'bundle' | 'externals' | 'base' | 'node' | 'write' | 'warning'
  state: 'started' | 'done' | 'cached' | 'note'
  message: string
  durationMs?: number | undefined
}

/** A layer of the image, with what it holds. */
export interface BuiltLayer extends Descriptor {
  title: 'base' | 'node' | 'externals' | 'application'
  /** Digest of the uncompressed layer. */
  diffId: Digest
}

/** What the image stands on. */
export interface BuiltBase {
  kind: 'debian' | 'registry'
  /** Packages with versions, or reference with digest; fit to be printed. */
  detail: string
}

/** A finished image. */
export interface BuildResult {
  /** `localhost/<name>:<first 12 hexadecimal digits of the manifest digest>`. */
  reference: string
  digest: Digest
  /** Compressed bytes of all layers. */
  sizeBytes: number
  layers: readonly BuiltLayer[]
  base: BuiltBase
  nodeVersion: string
  /** Packages left unbundled, each with the reason. */
  externals: readonly { name: string; reason: string }[]
  /** What went into it. */
  report: BuildReport
  /** Whether `latest` meant another image before, or none. */
  changed: boolean
  durationMs: number
}

export const DEFAULT_NODE_VERSION = '24.21.0'
