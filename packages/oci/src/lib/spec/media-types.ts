/** Media types of image-spec 1.1.1 (media-types.md) and the Docker ones registries still answer with. */
export const mediaTypes = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  empty: 'application/vnd.oci.empty.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const

/** Whether the media type is that of an image manifest, OCI or Docker. */
export function isManifestType(mediaType: string): boolean {
  return mediaType === mediaTypes.manifest || mediaType === mediaTypes.dockerManifest
}

/** Whether the media type is that of an index of manifests, OCI or Docker. */
export function isIndexType(mediaType: string): boolean {
  return mediaType === mediaTypes.index || mediaType === mediaTypes.dockerIndex
}

/** How a layer of this media type is compressed; `undefined` for a type that is no layer. */
export function compressionOf(mediaType: string): 'none' | 'gzip' | 'zstd' | undefined {
  if (mediaType === mediaTypes.layerGzip || mediaType === mediaTypes.dockerLayer) return 'gzip'
  if (mediaType === mediaTypes.layerZstd) return 'zstd'
  return mediaType === mediaTypes.layer ? 'none' : undefined
}
