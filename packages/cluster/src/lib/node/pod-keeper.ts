import type { KeptPod, PodRecords } from './pod-records.ts'

/** Keeps the record of one pod on disk: one write at a time, always of the newest, none when nothing changed. */
export interface PodKeeper {
  keep(pod: KeptPod): void
  /** Resolves when what was to be kept is on disk. */
  kept(): Promise<void>
}

export function createPodKeeper(records: PodRecords, onError: (error: unknown) => void): PodKeeper {
  let wanted: { readonly pod: KeptPod; readonly text: string } | undefined
  let written: string | undefined
  let writing: Promise<void> | undefined

  /** It is not known what is on disk then. */
  function failed(error: unknown): undefined {
    onError(error)
    return undefined
  }

  async function write(): Promise<void> {
    for (let next = wanted; next !== undefined && next.text !== written; next = next === wanted ? undefined : wanted) {
      const { pod, text } = next
      written = await records.write(pod).then(() => text, failed)
    }
    writing = undefined
  }

  return {
    keep(pod) {
      const text = JSON.stringify(pod)
      wanted = { pod, text }
      if (text !== written || writing !== undefined) writing ??= write()
    },
    kept: async () => await writing,
  }
}
