import type { Layout, ResolvedImage } from '../layout/layout.ts'
import { listFiles } from './files.ts'
import type { ImageFile } from './files.ts'

/** A path at which two images differ. */
export interface FileDifference {
  readonly path: string
  readonly kind: 'added' | 'removed' | 'changed'
  /** For `changed`: what is different. */
  readonly what: readonly ('content' | 'type' | 'mode' | 'owner' | 'link')[]
  readonly sizeBefore: number
  readonly sizeAfter: number
}

/** What two images have in common and where they differ. */
export interface ImageDifference {
  readonly files: readonly FileDifference[]
  /** Bytes of layers that both have, and need not be pushed twice. */
  readonly sharedBytes: number
  readonly newBytes: number
}

/** Compares what containers of two images would see, by content; times are left out. Sorted by path. */
export async function diffImages(
  layout: Layout,
  before: ResolvedImage,
  after: ResolvedImage,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ImageDifference> {
  const [old, young] = await Promise.all(
    [before, after].map(async (image) => await listFiles(layout, image, { digests: true, ...options })),
  )
  const had = new Set(before.manifest.layers.map(({ digest }) => digest))
  let [sharedBytes, newBytes] = [0, 0]
  for (const { digest, size } of after.manifest.layers) {
    if (had.has(digest)) sharedBytes += size
    else newBytes += size
  }
  return { files: compare(old ?? [], young ?? []), sharedBytes, newBytes }
}

function compare(before: readonly ImageFile[], after: readonly ImageFile[]): FileDifference[] {
  const old = new Map(before.map((file) => [file.path, file]))
  const differences = after.flatMap((file): FileDifference[] => {
    const other = old.get(file.path)
    old.delete(file.path)
    if (other === undefined) return [oneSided(file, 'added')]
    const what = differencesOf(other, file)
    const { path, sizeBytes: sizeAfter } = file
    return what.length === 0 ? [] : [{ path, kind: 'changed', what, sizeBefore: other.sizeBytes, sizeAfter }]
  })
  for (const file of old.values()) differences.push(oneSided(file, 'removed'))
  return differences.toSorted((a, b) => (a.path < b.path ? -1 : 1))
}

function oneSided({ path, sizeBytes }: ImageFile, kind: 'added' | 'removed'): FileDifference {
  const isAdded = kind === 'added'
  return { path, kind, what: [], sizeBefore: isAdded ? 0 : sizeBytes, sizeAfter: isAdded ? sizeBytes : 0 }
}

function differencesOf(a: ImageFile, b: ImageFile): FileDifference['what'] {
  if (a.type !== b.type) return ['type']
  const what: ('content' | 'mode' | 'owner' | 'link')[] = []
  if (a.digest !== b.digest) what.push('content')
  if (a.mode !== b.mode) what.push('mode')
  if (a.uid !== b.uid || a.gid !== b.gid) what.push('owner')
  if (a.linkPath !== b.linkPath) what.push('link')
  return what
}
