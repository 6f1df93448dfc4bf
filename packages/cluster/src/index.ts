/**
 * A Kubernetes cluster in this process: API server, controllers, scheduler, and this machine as its node.
 *
 * ```ts no-run
 * import { startCluster } from '@fairlead/cluster'
 *
 * await using cluster = await startCluster({ dir: '/tmp/my-cluster', imagesDir: '/tmp/my-images' })
 * console.log(cluster.url, cluster.runtime.kind)
 * ```
 */
export { startCluster } from './lib/cluster.ts'
export type { Cluster, ClusterOptions, ClusterRuntime, RuntimeChoice } from './lib/cluster.ts'
export { readBackup, restoreCluster } from './lib/cluster-backup.ts'
export { rotateSigningKey } from './lib/signing-keys.ts'
export type { SigningKeys } from './lib/signing-keys.ts'
export { verifyBackup } from './lib/storage/restore.ts'
export type { BackupInfo } from './lib/storage/restore.ts'
