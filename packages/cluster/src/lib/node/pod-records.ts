import { mkdir, readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ResourceRequirements } from '@fairlead/kube/types/core-v1'
import type { ContainerUser } from '@fairlead/oci/runtime'

import type { Ending } from './decide.ts'
import { replaceFile } from './replace-file.ts'
import type { Allocation } from './resize.ts'

/** What is kept on disk about a container, to take it over after this process was killed. */
export interface KeptContainer {
  /** Of the container there is, or was last. */
  readonly id?: string | undefined
  readonly restarts: number
  readonly crashes: number
  readonly image: string
  readonly imageId?: string | undefined
  readonly fingerprint: string
  /** The resources it runs with. */
  readonly applied?: ResourceRequirements | undefined
  /** Whom the container `id` runs as. */
  readonly user?: ContainerUser | undefined
  /** How the container `id` ended, when it has. */
  readonly ending?: Ending | undefined
  readonly last?: Ending | undefined
}

/** What is kept on disk about a pod. */
export interface KeptPod {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  readonly startTime: number
  /** What the pod was granted. */
  readonly allocation?: Allocation | undefined
  readonly finished?: 'Succeeded' | 'Failed' | undefined
  readonly reason?: string | undefined
  readonly message?: string | undefined
  readonly containers: Readonly<Record<string, KeptContainer>>
}

/** The pods of a node on disk: a folder each. */
export interface PodRecords {
  dirOf(uid: string): string
  logsOf(pod: { readonly uid: string; readonly namespace: string; readonly name: string }): string
  readAll(): Promise<readonly KeptPod[]>
  write(pod: KeptPod): Promise<void>
  /** Removes the pod's folder and its logs. */
  remove(pod: { readonly uid: string; readonly namespace: string; readonly name: string }): Promise<void>
  /** Removes folders of logs that `isOwned` does not know: of pods whose own folder was lost. */
  sweepLogs(isOwned: (dir: string) => boolean): Promise<void>
}

export async function openPodRecords(dir: string): Promise<PodRecords> {
  const podsDir = join(dir, 'pods')
  const logsDir = join(dir, 'logs')
  await Promise.all([podsDir, logsDir].map((path) => mkdir(path, { recursive: true, mode: 0o711 })))
  const dirOf = (uid: string): string => join(podsDir, safeName(uid))
  const logsOf: PodRecords['logsOf'] = ({ uid, namespace, name }) =>
    join(logsDir, [namespace, name, uid].map(safeName).join('_'))
  return {
    dirOf,
    logsOf,
    async readAll() {
      const found = await Promise.all((await readdir(podsDir)).map((name) => readOne(join(podsDir, name))))
      return found.filter((pod) => pod !== undefined)
    },
    async write(pod) {
      const folder = dirOf(pod.uid)
      await mkdir(folder, { recursive: true, mode: 0o711 })
      await replaceFile(join(folder, 'record.json'), JSON.stringify(pod))
    },
    async remove(pod) {
      await rm(dirOf(pod.uid), { recursive: true, force: true })
      await rm(logsOf(pod), { recursive: true, force: true })
    },
    async sweepLogs(isOwned) {
      for (const name of await readdir(logsDir)) {
        const folder = join(logsDir, name)
        if (!isOwned(folder)) await rm(folder, { recursive: true, force: true })
      }
    },
  }
}

async function readOne(folder: string): Promise<KeptPod | undefined> {
  try {
    return JSON.parse(await readFile(join(folder, 'record.json'), 'utf8')) as KeptPod
  } catch {
    // Made, but killed before the first record: there is nothing in it that runs.
    await rm(folder, { recursive: true, force: true })
    return undefined
  }
}

/** Uids come from the API, which takes them from clients in places: never let one name another folder. */
function safeName(text: string): string {
  return encodeURIComponent(text).replaceAll('.', '%2E')
}
