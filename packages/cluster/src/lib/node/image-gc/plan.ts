import { amountIn } from '../eviction/thresholds.ts'
import type { DiskLeft } from '../eviction/left.ts'
import type { PulledImage } from './pulled-images.ts'
import type { ImageGcSettings } from './settings.ts'

/** Images that may go, the one nobody needed for longest first (kubelet, `imagesInEvictionOrder`). Pure. */
export function planRemoval(
  images: readonly PulledImage[],
  isInUse: (image: PulledImage) => boolean,
  { minAgeMs, now }: { readonly minAgeMs: number; readonly now: number },
): readonly PulledImage[] {
  return images
    .filter((image) => !isInUse(image) && now - image.pulledAt >= minAgeMs)
    .toSorted((a, b) => a.usedAt - b.usedAt || a.pulledAt - b.pulledAt)
}

/** Those nobody has needed for too long. */
export function findOutlived(
  images: readonly PulledImage[],
  { maxAgeMs }: Pick<ImageGcSettings, 'maxAgeMs'>,
  now: number,
): readonly PulledImage[] {
  return maxAgeMs === 0 ? [] : images.filter(({ usedAt }) => now - usedAt > maxAgeMs)
}

/** Whether so little is free that images have to go. */
export function isShort({ least }: ImageGcSettings, { diskBytes, diskTotalBytes }: DiskLeft): boolean {
  return diskBytes <= amountIn(least, diskTotalBytes)
}

/** Whether enough of them have gone. */
export function isEnough({ wanted }: ImageGcSettings, { diskBytes, diskTotalBytes }: DiskLeft): boolean {
  return diskBytes >= amountIn(wanted, diskTotalBytes)
}
