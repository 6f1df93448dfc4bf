import type { Digest } from './digest.ts'
import type { Platform } from './platform.ts'

/** Points at content by digest (image-spec, descriptor.md). */
export interface Descriptor {
  mediaType: string
  digest: Digest
  /** Bytes of the content as stored, so compressed for a compressed layer. */
  size: number
  annotations?: Readonly<Record<string, string>> | undefined
  platform?: Platform | undefined
  artifactType?: string | undefined
  urls?: readonly string[] | undefined
  data?: string | undefined
}

/** One image for one platform (image-spec, manifest.md). */
export interface ImageManifest {
  schemaVersion: 2
  mediaType?: string | undefined
  artifactType?: string | undefined
  config: Descriptor
  layers: readonly Descriptor[]
  subject?: Descriptor | undefined
  annotations?: Readonly<Record<string, string>> | undefined
}

/** A list of manifests, mostly one per platform (image-spec, image-index.md). */
export interface ImageIndex {
  schemaVersion: 2
  mediaType?: string | undefined
  artifactType?: string | undefined
  manifests: readonly Descriptor[]
  subject?: Descriptor | undefined
  annotations?: Readonly<Record<string, string>> | undefined
}

/** What a container of the image starts with when nothing else is said (image-spec, config.md, "config"). */
export interface ImageRunConfig {
  User?: string | undefined
  ExposedPorts?: Readonly<Record<string, Record<string, never>>> | undefined
  Env?: readonly string[] | undefined
  Entrypoint?: readonly string[] | undefined
  Cmd?: readonly string[] | undefined
  Volumes?: Readonly<Record<string, Record<string, never>>> | undefined
  WorkingDir?: string | undefined
  Labels?: Readonly<Record<string, string>> | undefined
  StopSignal?: string | undefined
  /** Docker's health check, reserved by the specification; durations in nanoseconds. */
  Healthcheck?: ImageHealthcheck | undefined
}

/** A command a container engine runs to learn whether the program is well; `Test` is `['CMD', …]` or `['NONE']`. */
export interface ImageHealthcheck {
  Test: readonly string[]
  Interval?: number | undefined
  Timeout?: number | undefined
  StartPeriod?: number | undefined
  Retries?: number | undefined
}

/** Image configuration (image-spec, config.md). */
export interface ImageConfig extends Platform {
  created?: string | undefined
  author?: string | undefined
  config?: ImageRunConfig | undefined
  /** `diff_ids` are the digests of the uncompressed layers, lowest first. */
  rootfs: { type: 'layers'; diff_ids: readonly Digest[] }
  history?: readonly ImageHistory[] | undefined
}

/** How one layer came to be; `empty_layer` marks a step that changed only the configuration. */
export interface ImageHistory {
  created?: string | undefined
  created_by?: string | undefined
  author?: string | undefined
  comment?: string | undefined
  empty_layer?: boolean | undefined
}
