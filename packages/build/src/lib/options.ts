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
  /**
   * `linux/amd64`, `linux/arm64`, or both with a comma between: then the tags mean an index of two images. Default: Linux on the
   * processor of this machine.
   */
  platform?: string | undefined
  /**
   * What lies below Node.js: `debian` (packages through apt), `scratch` (their C and C++ libraries, accounts and nothing else),
   * an image reference, or `auto` (default): the distroless image when its registry answers, Debian packages otherwise. What `auto` chose is kept in the cache.
   */
  base?: string | undefined
  /** Debian packages to add to the base, with all they depend on, such as `libvips42`; with `debian` and `scratch` only. */
  packages?: readonly string[] | undefined
  /** Assemble or resolve the base anew instead of using the cached one; default false. */
  refreshBase?: boolean | undefined
  /**
   * Version of Node.js inside the image: an exact one, or a line such as `26`, of which the newest that is there for all platforms
   * is taken, and kept to until `refreshBase`. Default {@link DEFAULT_NODE_VERSION}. */
  nodeVersion?: string | undefined
  /** Keep the symbol tables of Node.js, for native debuggers and profilers: 18 MB more on the disk. Default false. */
  debugSymbols?: boolean | undefined
  /** Version of the service; default: `version` of its package.json. */
  version?: string | undefined
  /** Time of creation written into the image; default: SOURCE_DATE_EPOCH, else the time of the commit, else 1970. */
  created?: Date | undefined
  /** Values that look like credentials and may enter the image, beside those of the folder's `fairlead.secrets.yaml`. */
  allowSecrets?: readonly AllowedSecret[] | undefined
  /**
   * Source maps: `image` puts them beside the code and starts Node.js with `--enable-source-maps`, so that stack traces name lines
   * of the source; a folder receives them in place of the image. Default: none.
   */
  sourceMaps?: 'image' | { dir: string } | undefined
  /**
   * Compile the bundle ahead, so that the program starts faster. Done for the processor of this machine on Linux, with the Node.js of the
   * image; without it the image is the same whatever machine builds it. Default true.
   */
  compileCache?: boolean | undefined
  /**
   * Start by way of the kit's launcher (`@fairlead/service/launch`), which fits heap and threads to the limits of the container, for
   * about 30 ms of each start. Default: where the service depends on the kit.
   */
  launcher?: boolean | undefined
  /** Start the program once, alone in an empty folder, and fail when it ends with an error within 3 s. Default false. */
  smokeTest?: boolean | undefined
  /** How container engines ask whether the program is well; default: a request or connection to its port. `false`: not at all. */
  healthcheck?: HealthcheckOptions | false | undefined
  /** More labels of the image's configuration; they come before those made here. */
  labels?: Readonly<Record<string, string>> | undefined
  /** More annotations of the manifest, likewise. */
  annotations?: Readonly<Record<string, string>> | undefined
  /**
   * JSON Schema of the service's configuration, put into the image as `/app/config.schema.json`; `undefined` when it has none. Asked
   * for when the bundle changed since it was asked last.
   */
  describeConfig?: ((signal: AbortSignal) => Promise<unknown>) | undefined
  /** Environment read for SOURCE_DATE_EPOCH and given to npm, apt and git; default `process.env`. */
  env?: NodeJS.ProcessEnv | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((event: BuildEvent) => void) | undefined
}

/** A health check of the image. */
export interface HealthcheckOptions {
  /** Asked by HTTP on the service's port; default `/healthz` for a service of the kit, otherwise a connection is enough. */
  path?: string | undefined
  /** A program with its arguments, in place of that request; there is no shell. */
  command?: readonly string[] | undefined
  /** Default 30 s. */
  intervalMs?: number | undefined
  /** Default 5 s. */
  timeoutMs?: number | undefined
  /** Failures in this time do not count; default 10 s. */
  startPeriodMs?: number | undefined
  /** Default 3. */
  retries?: number | undefined
}

/** One step of a build. `started` comes only for steps that can take long; every step ends in `done` or `cached`. */
export interface BuildEvent {
  step: 'install' | 'bundle' | 'compile' | 'externals' | 'base' | 'node' | 'write' | 'warning'
  state: 'started' | 'done' | 'cached' | 'note'
  message: string
  durationMs?: number | undefined
}

/** A layer of the image, with what it holds. */
export interface BuiltLayer extends Descriptor {
  title: 'base' | 'node' | 'externals' | 'vendor' | 'application'
  /** Digest of the uncompressed layer. */
  diffId: Digest
}

/** What the image stands on. */
export interface BuiltBase {
  kind: 'debian' | 'registry' | 'scratch'
  /** Packages with versions, or reference with digest; fit to be printed. */
  detail: string
}

/** The image for one platform. */
export interface BuiltPlatform {
  /** `linux/amd64` or `linux/arm64`. */
  platform: string
  /** Digest of its manifest. */
  digest: Digest
  sizeBytes: number
  layers: readonly BuiltLayer[]
  base: BuiltBase
  report: BuildReport
}

/** A finished image. */
export interface BuildResult {
  /** `localhost/<name>:<first 12 hexadecimal digits of the manifest digest>`. */
  reference: string
  /** Digest of the manifest, or of the index when there are several platforms. */
  digest: Digest
  /** One for each platform, in the order asked for; what follows is of the first. */
  platforms: readonly BuiltPlatform[]
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
