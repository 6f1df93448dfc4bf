import type { DiskLeft } from '../eviction/left.ts'

/** That removing images did not free enough, in the words of kubelets. */
export function describeShortfall(before: DiskLeft, left: DiskLeft): string {
  const usedPercent = 100 - Math.floor((before.diskBytes * 100) / before.diskTotalBytes)
  const freedBytes = Math.max(0, left.diskBytes - before.diskBytes)
  return (
    `Insufficient free disk space on the node's image filesystem (${usedPercent}% of ${renderSize(before.diskTotalBytes)} used). ` +
    `Failed to free sufficient space by deleting unused images (freed ${freedBytes} bytes). ` +
    'Investigate disk usage, as it could be used by active images, logs, volumes, or other data.'
  )
}

function renderSize(bytes: number): string {
  let [value, unit] = [bytes, 0]
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
