import { join } from 'node:path'

import { restoreStore } from './storage/restore.ts'
import type { BackupInfo } from './storage/restore.ts'
import { openStore } from './storage/store.ts'

/** Where the cluster that is kept in `dir` has its objects. */
export function storageDir(dir: string): string {
  return join(dir, 'storage')
}

/**
 * The bytes of a backup of the stopped cluster in `dir`; a running one is asked for them: `GET /fairlead/v1/backup`.
 * Throws `FAIRLEAD_CLUSTER_STORAGE_LOCKED` when it runs.
 */
export async function* readBackup(dir: string): AsyncGenerator<Uint8Array> {
  await using store = await openStore({ dir: storageDir(dir) })
  yield* store.backup().chunks
}

/**
 * Gives the stopped cluster in `dir`, or a new one, the objects of a backup: all of them or, with an error, none.
 * Clients that watched it are told to list again. Throws `FAIRLEAD_CLUSTER_STORAGE_CORRUPT` when the file is not as it was
 * written, `FAIRLEAD_CLUSTER_STORAGE_LOCKED` when the cluster runs.
 */
export async function restoreCluster(file: string, dir: string): Promise<BackupInfo> {
  return await restoreStore(file, storageDir(dir))
}
