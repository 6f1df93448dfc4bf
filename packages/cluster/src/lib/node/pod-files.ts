import { chmod, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { namesOf, renderHostNetworkHosts, renderHosts, renderResolvConf } from './name-files.ts'
import type { NodeContext } from './node-context.ts'
import { uidOf } from './pod.ts'

const nameFiles = ['hosts', 'hostname', 'resolv.conf']

/** Where things of a pod lie on the node. */
export interface PodFiles {
  readonly dir: string
  readonly volumesDir: string
  /** Where its volumes lie that must not come onto a disk; undefined where there is no such place. */
  readonly memoryDir: string | undefined
  readonly namespacesDir: string
  /** The files of names, by their paths in containers. */
  readonly names: ReadonlyMap<string, string>
  logPath(container: string, attempt: number): string
  terminationLog(container: string): string
}

export function podFiles(
  pod: Pod,
  { records, memoryVolumes }: Pick<NodeContext, 'records' | 'memoryVolumes'>,
): PodFiles {
  const { uid = '', namespace = '', name = '' } = pod.metadata ?? {}
  const dir = records.dirOf(uidOf(pod))
  return {
    dir,
    volumesDir: join(dir, 'volumes'),
    memoryDir: memoryVolumes?.dirOf(uidOf(pod)),
    namespacesDir: join(dir, 'namespaces'),
    names: new Map(nameFiles.map((file) => [`/etc/${file}`, join(dir, file)])),
    logPath: (container, attempt) => join(records.logsOf({ uid, namespace, name }), container, `${attempt}.log`),
    terminationLog: (container) => join(dir, `termination-${container}`),
  }
}

/** Writes what a pod's containers know of names: hosts, their own, and where to ask. */
export async function writeNameFiles(pod: Pod, ip: string, files: PodFiles, context: NodeContext): Promise<void> {
  const { nodeName, clusterDns, clusterDomain, hostResolvConf } = context
  const { hostname, kernelName } = namesOf(pod, nodeName, clusterDomain)
  const texts = {
    hosts:
      pod.spec?.hostNetwork === true
        ? renderHostNetworkHosts(pod, await readFile('/etc/hosts', 'utf8').catch(() => ''))
        : renderHosts(pod, ip, hostname, clusterDomain),
    hostname: `${kernelName}\n`,
    'resolv.conf': renderResolvConf(pod, clusterDns, clusterDomain, hostResolvConf),
  }
  await Promise.all(Object.entries(texts).map(([file, text]) => writeOther(join(files.dir, file), text)))
}

/** Containers that run see these very files: what is right is left alone, be the disk full meanwhile. */
async function writeOther(path: string, text: string): Promise<void> {
  if ((await readFile(path, 'utf8').catch(() => undefined)) !== text) await writeFile(path, text)
}

/** Makes room for the log and the last words of a container's run; of earlier runs only the log before stays. */
export async function prepareOutput(files: PodFiles, container: string, attempt: number): Promise<void> {
  const logDir = dirname(files.logPath(container, attempt))
  const terminationLog = files.terminationLog(container)
  await mkdir(logDir, { recursive: true, mode: 0o711 })
  await rm(terminationLog, { force: true })
  // Anybody may write: the container's user is not known outside of it.
  await writeFile(terminationLog, '')
  // Whoever the container runs as has to write it, whatever the umask of this process is.
  await chmod(terminationLog, 0o666)
  await dropOldLogs(logDir, attempt)
}

async function dropOldLogs(dir: string, attempt: number): Promise<void> {
  for (const name of await readdir(dir).catch(() => [])) {
    if (Number.parseInt(name, 10) < attempt - 1) await rm(join(dir, name), { force: true })
  }
}
