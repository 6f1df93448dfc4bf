import { stat, statfs } from 'node:fs/promises'
import { totalmem } from 'node:os'

import { availableMemory } from './available-memory.ts'
import type { Observation, Observations, Signal } from './thresholds.ts'

/** What a disk has left. */
export interface DiskLeft {
  readonly diskBytes: number
  readonly diskTotalBytes: number
  /** Zero in total: the file system does not count them. */
  readonly inodes?: number | undefined
  readonly inodesTotal?: number | undefined
}

/** What a node has left. */
export interface Left extends DiskLeft {
  readonly memoryBytes: number
  /** The disk images lie on, where it is another one. */
  readonly images?: DiskLeft | undefined
}

/** Looks at the folder of a node and at that of its images. */
export type ReadLeft = (dir: string, images: string) => Promise<Left>

export const readLeft: ReadLeft = async (dir, images) => {
  const [memoryBytes, own, isShared] = await Promise.all([availableMemory(), readDisk(dir), isOnOneDisk(dir, images)])
  return { memoryBytes, ...own, ...(isShared ? {} : { images: await readDisk(images) }) }
}

export async function readDisk(dir: string): Promise<DiskLeft> {
  const { bavail, blocks, bsize, ffree, files } = await statfs(dir)
  return { diskBytes: bavail * bsize, diskTotalBytes: blocks * bsize, inodes: ffree, inodesTotal: files }
}

async function isOnOneDisk(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([one, other].map((path) => stat(path).catch(() => undefined)))
  return a === undefined || b === undefined || a.dev === b.dev
}

/** As signals of a kubelet. Where images lie on the disk of the node, what is said of them is said of both. */
export function observe({ memoryBytes, images, ...own }: Left): Observations {
  const ofImages = images ?? own
  return new Map([
    ['memory.available', { available: memoryBytes, capacity: totalmem() }],
    ...observeDisk('nodefs', own),
    ...observeDisk('imagefs', ofImages),
  ])
}

function observeDisk(name: 'nodefs' | 'imagefs', left: DiskLeft): [Signal, Observation][] {
  const { diskBytes, diskTotalBytes, inodes = 0, inodesTotal = 0 } = left
  const counted: [Signal, Observation][] =
    inodesTotal === 0 ? [] : [[`${name}.inodesFree`, { available: inodes, capacity: inodesTotal }]]
  return [[`${name}.available`, { available: diskBytes, capacity: diskTotalBytes }], ...counted]
}
