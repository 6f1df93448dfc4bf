import type { Command } from '../command.ts'
import type { CommandEntry } from '../help.ts'

/** A command that is loaded when it is called: `fairlead version` must not wait for the image builder. */
export interface LazyCommand extends CommandEntry {
  readonly hidden?: true
  load(): Promise<Command>
}

/** Every command, in the order of the help. */
export const commands: readonly LazyCommand[] = [
  {
    name: 'init',
    summary: 'write a small service with tests into a folder',
    load: async () => (await import('./init.ts')).init,
  },
  {
    name: 'up',
    summary: 'build an app, deliver it to a cluster, wait and show its URLs',
    load: async () => (await import('./up.ts')).up,
  },
  {
    name: 'down',
    summary: 'stop the embedded cluster',
    load: async () => (await import('./down.ts')).down,
  },
  {
    name: 'build',
    summary: 'build the images of an app',
    load: async () => (await import('./build.ts')).build,
  },
  {
    name: 'image ls',
    summary: 'list the images of this machine',
    load: async () => (await import('./image-ls.ts')).imageLs,
  },
  {
    name: 'image inspect',
    summary: 'show what an image is and how it runs',
    load: async () => (await import('./image-inspect.ts')).imageInspect,
  },
  {
    name: 'image history',
    summary: 'show the layers of an image, with their sizes and what made them',
    load: async () => (await import('./image-history.ts')).imageHistory,
  },
  {
    name: 'image files',
    summary: 'list the files of an image, or tell why one is there',
    load: async () => (await import('./image-files.ts')).imageFiles,
  },
  {
    name: 'image diff',
    summary: 'show how the files of two images differ',
    load: async () => (await import('./image-diff.ts')).imageDiff,
  },
  {
    name: 'image run',
    summary: 'run an image in the foreground',
    load: async () => (await import('./image-run.ts')).imageRun,
  },
  {
    name: 'image push',
    summary: 'push an image of the local store to a registry',
    load: async () => (await import('./image-push.ts')).imagePush,
  },
  {
    name: 'image pull',
    summary: 'pull an image of a registry into the local store',
    load: async () => (await import('./image-pull.ts')).imagePull,
  },
  {
    name: 'image copy',
    summary: 'copy an image from one registry to another',
    load: async () => (await import('./image-copy.ts')).imageCopy,
  },
  {
    name: 'image tags',
    summary: 'list the tags of a repository in a registry',
    load: async () => (await import('./image-tags.ts')).imageTags,
  },
  {
    name: 'image rm',
    summary: 'delete an image from a registry',
    load: async () => (await import('./image-rm.ts')).imageRm,
  },
  {
    name: 'image sbom',
    summary: 'print the bill of materials of an image',
    load: async () => (await import('./image-sbom.ts')).imageSbom,
  },
  {
    name: 'image sign',
    summary: 'sign an image with a key',
    load: async () => (await import('./image-sign.ts')).imageSign,
  },
  {
    name: 'image attest',
    summary: 'sign statements about an image: SBOMs, provenance, scans',
    load: async () => (await import('./image-attest.ts')).imageAttest,
  },
  {
    name: 'image verify',
    summary: 'verify who signed an image, or whether it may run',
    load: async () => (await import('./image-verify.ts')).imageVerify,
  },
  {
    name: 'image keygen',
    summary: 'make a pair of keys to sign images with',
    load: async () => (await import('./image-keygen.ts')).imageKeygen,
  },
  {
    name: 'image scan',
    summary: 'look for known vulnerabilities in an image or a folder',
    load: async () => (await import('./image-scan.ts')).imageScan,
  },
  {
    name: 'image scan db import',
    summary: 'import advisories, for scans without a network',
    load: async () => (await import('./image-scan-db-import.ts')).imageScanDbImport,
  },
  {
    name: 'image scan db status',
    summary: 'tell which advisories there are, and how old they are',
    load: async () => (await import('./image-scan-db-status.ts')).imageScanDbStatus,
  },
  {
    name: 'image prune',
    summary: 'remove old images by a lifecycle policy; shows what would go first',
    load: async () => (await import('./image-prune.ts')).imagePrune,
  },
  {
    name: 'image replicate',
    summary: 'copy new images to other registries by rules; shows what would go first',
    load: async () => (await import('./image-replicate.ts')).imageReplicate,
  },
  {
    name: 'image fsck',
    summary: 'check an image store: every reference and every byte',
    load: async () => (await import('./image-fsck.ts')).imageFsck,
  },
  {
    name: 'outdated',
    summary: 'tell whether base, Node.js or dependencies of an app have newer versions or fixes',
    load: async () => (await import('./outdated.ts')).outdated,
  },
  {
    name: 'registry serve',
    summary: 'serve images as an OCI registry',
    load: async () => (await import('./registry-serve.ts')).registryServe,
  },
  {
    name: 'login',
    summary: 'log in to a registry',
    load: async () => (await import('./login.ts')).login,
  },
  {
    name: 'logout',
    summary: 'forget the log-in at a registry',
    load: async () => (await import('./logout.ts')).logout,
  },
  {
    name: 'eject dockerfile',
    summary: 'write a Dockerfile and .dockerignore for each service',
    load: async () => (await import('./eject-dockerfile.ts')).ejectDockerfile,
  },
  {
    name: 'eject compose',
    summary: 'write a compose file for an app and the databases it needs',
    load: async () => (await import('./eject-compose.ts')).ejectCompose,
  },
  {
    name: 'config check',
    summary: 'check values against the configuration of services, without starting them',
    load: async () => (await import('./config-check.ts')).configCheck,
  },
  {
    name: 'status',
    summary: 'show the services of apps',
    load: async () => (await import('./status.ts')).status,
  },
  {
    name: 'logs',
    summary: 'print the logs of an app or a service',
    load: async () => (await import('./logs.ts')).logs,
  },
  {
    name: 'exec',
    summary: 'run a program in a container of an app or a service',
    load: async () => (await import('./exec.ts')).exec,
  },
  {
    name: 'cluster start',
    summary: 'start the embedded cluster in the background',
    load: async () => (await import('./cluster-start.ts')).clusterStart,
  },
  {
    name: 'cluster stop',
    summary: 'stop the embedded cluster and its pods; its data stays',
    load: async () => (await import('./cluster-stop.ts')).clusterStop,
  },
  {
    name: 'cluster status',
    summary: 'tell whether the embedded cluster runs, and where',
    load: async () => (await import('./cluster-status.ts')).clusterStatus,
  },
  {
    name: 'cluster kubeconfig',
    summary: 'print the kubeconfig of the embedded cluster',
    load: async () => (await import('./cluster-kubeconfig.ts')).clusterKubeconfig,
  },
  {
    name: 'cluster backup',
    summary: 'save the objects of the embedded cluster to a file, also while it runs',
    load: async () => (await import('./cluster-backup.ts')).clusterBackup,
  },
  {
    name: 'cluster restore',
    summary: 'give the embedded cluster the objects of a backup',
    load: async () => (await import('./cluster-restore.ts')).clusterRestore,
  },
  {
    name: 'cluster rotate-key',
    summary: 'sign tokens of service accounts with a new key from the next start on',
    load: async () => (await import('./cluster-rotate-key.ts')).clusterRotateKey,
  },
  {
    name: 'cluster reset',
    summary: 'stop the embedded cluster and remove its data',
    load: async () => (await import('./cluster-reset.ts')).clusterReset,
  },
  {
    name: 'cluster run',
    summary: 'run the embedded cluster in this process',
    hidden: true,
    load: async () => (await import('./cluster-run.ts')).clusterRun,
  },
  {
    name: 'doctor',
    summary: 'check what this machine can do',
    load: async () => (await import('./doctor.ts')).doctor,
  },
  {
    name: 'explain container',
    summary: 'make a container by hand, step by step, and show what the kernel says',
    load: async () => (await import('./explain-container.ts')).explainContainer,
  },
  {
    name: 'explain',
    summary: 'explain the code of an error',
    load: async () => (await import('./explain.ts')).explain,
  },
  {
    name: 'version',
    summary: 'print the version',
    load: async () => (await import('./version.ts')).version,
  },
  {
    name: 'help',
    summary: 'show the commands, or the help of one',
    load: async () => (await import('./help.ts')).help,
  },
]
