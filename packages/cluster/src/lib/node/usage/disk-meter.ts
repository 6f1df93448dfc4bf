import { measureFolders } from './folder-sizes.ts'
import type { MeasureFolders } from './folder-sizes.ts'

/** Where a pod writes on disk: its containers beside their images and into their logs, and its volumes. */
export interface PodDiskPlaces {
  readonly uid: string
  readonly containers: readonly { readonly name: string; readonly rootfs?: string | undefined; readonly logs: string }[]
  readonly volumes: readonly { readonly name: string; readonly path: string }[]
}

/** Bytes a pod has on disk. */
export interface PodDiskUse {
  /** What containers wrote beside their images, and their logs. */
  readonly containers: ReadonlyMap<string, number>
  readonly volumes: ReadonlyMap<string, number>
  readonly totalBytes: number
}

/** Of the time, at most this part is spent measuring. */
const LARGEST_SHARE = 0.1

/** Measures what pods have on disk, and keeps the last figures. There are no quotas of projects to ask: it takes walking through. */
export class DiskMeter {
  readonly #measure: MeasureFolders
  readonly #now: () => number
  readonly #uses = new Map<string, PodDiskUse>()
  #notBefore = 0

  constructor(now: () => number, measure: MeasureFolders = measureFolders) {
    this.#now = now
    this.#measure = measure
  }

  /** Undefined for one that was not measured. */
  useOf(uid: string): PodDiskUse | undefined {
    return this.#uses.get(uid)
  }

  /**
   * Measures pods anew, and forgets the others. Where the last time took long the figures stay for a while, unless they
   * are wanted as of now.
   */
  async measure(
    pods: readonly PodDiskPlaces[],
    { isUrgent = false }: { readonly isUrgent?: boolean } = {},
  ): Promise<void> {
    this.#retain(pods)
    if (pods.length === 0 || (!isUrgent && this.#now() < this.#notBefore)) return
    const startedAt = this.#now()
    const sizes = await this.#measure(pods.flatMap(foldersOf))
    for (const pod of pods) this.#uses.set(pod.uid, sumUp(pod, sizes))
    this.#notBefore = this.#now() + (this.#now() - startedAt) / LARGEST_SHARE
  }

  #retain(pods: readonly PodDiskPlaces[]): void {
    const uids = new Set(pods.map(({ uid }) => uid))
    for (const uid of this.#uses.keys()) if (!uids.has(uid)) this.#uses.delete(uid)
  }
}

function foldersOf({ containers, volumes }: PodDiskPlaces): string[] {
  const own = containers.flatMap(({ rootfs, logs }) => (rootfs === undefined ? [logs] : [rootfs, logs]))
  return [...own, ...volumes.map(({ path }) => path)]
}

function sumUp(pod: PodDiskPlaces, sizes: ReadonlyMap<string, number>): PodDiskUse {
  const of = (path: string | undefined): number => (path === undefined ? 0 : (sizes.get(path) ?? 0))
  const containers = new Map(pod.containers.map(({ name, rootfs, logs }) => [name, of(rootfs) + of(logs)]))
  const volumes = new Map(pod.volumes.map(({ name, path }) => [name, of(path)]))
  const totalBytes = [...containers.values(), ...volumes.values()].reduce((sum, bytes) => sum + bytes, 0)
  return { containers, volumes, totalBytes }
}
