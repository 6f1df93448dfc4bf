import { mkdir, realpath, stat } from 'node:fs/promises'
import { join, normalize } from 'node:path'
import type { Container, Pod, VolumeMount } from '@fairlead/kube/types/core-v1'
import type { ContainerMount, SharedNamespaces } from '@fairlead/oci/runtime'

import { configInvalid } from '../errors.ts'
import { expand } from './environment.ts'
import type { MountedVolumes } from './volumes.ts'

/** What of a container's surroundings is mounted into it. */
export interface MountParts {
  readonly pod: Pod
  readonly container: Container
  readonly env: Readonly<Record<string, string>>
  readonly volumes: MountedVolumes
  /** Files every container of the pod sees: `/etc/hosts` and the like, by path in the container. */
  readonly files: ReadonlyMap<string, string>
  readonly terminationLog: string
  /** Namespaces the containers of the pod share. */
  readonly namespaces?: SharedNamespaces | undefined
}

/** The mounts of a container: its volumes, the files of its pod and the memory it shares. */
export async function mountsOf(parts: MountParts): Promise<ContainerMount[]> {
  const { container, files } = parts
  const mounts: ContainerMount[] = []
  for (const mount of container.volumeMounts ?? []) mounts.push(await mountVolume(mount, parts))
  const taken = new Set(mounts.map(({ destination }) => destination))
  for (const [destination, source] of files) if (!taken.has(destination)) mounts.push({ destination, source })
  const message = container.terminationMessagePath ?? '/dev/termination-log'
  if (!taken.has(message)) mounts.push({ destination: message, source: parts.terminationLog })
  const memory = parts.pod.spec?.hostIPC ? '/dev/shm' : parts.namespaces?.shmDir
  if (memory !== undefined && !taken.has('/dev/shm')) mounts.push({ destination: '/dev/shm', source: memory })
  // Outer paths first, or they would hide what is mounted below them.
  return mounts.toSorted((a, b) => a.destination.split('/').length - b.destination.split('/').length)
}

async function mountVolume(mount: VolumeMount, { pod, container, env, volumes }: MountParts): Promise<ContainerMount> {
  const { name, mountPath, subPath = '', subPathExpr } = mount
  const base = volumes.get(name)
  if (base === undefined)
    throw configInvalid(`container "${container.name}"`, `it mounts volume "${name}", which the pod has not`)
  const below = subPathExpr === undefined ? subPath : expand(subPathExpr, env)
  const volume = pod.spec?.volumes?.find((one) => one.name === name)
  const isFixed = Boolean(
    volume?.configMap ?? volume?.secret ?? volume?.downwardAPI ?? volume?.projected ?? volume?.image,
  )
  const readOnly = (mount.readOnly ?? false) || isFixed
  return {
    destination: mountPath.startsWith('/') ? mountPath : `/${mountPath}`,
    source: await resolveSubPath(base, below, volume?.image !== undefined),
    readOnly,
    ...(readOnly && isRecursive(mount) ? { recursiveReadOnly: true } : {}),
    ...propagationOf(mount),
    ...(volume?.image === undefined ? {} : { options: ['noexec'] }),
  }
}

function isRecursive({ recursiveReadOnly = 'Disabled' }: VolumeMount): boolean {
  return recursiveReadOnly === 'Enabled' || recursiveReadOnly === 'IfPossible'
}

function propagationOf({ mountPropagation = 'None' }: VolumeMount): Pick<ContainerMount, 'propagation'> {
  if (mountPropagation === 'HostToContainer') return { propagation: 'rslave' }
  return mountPropagation === 'Bidirectional' ? { propagation: 'rshared' } : {}
}

/** A path inside of a volume, which a container may have filled with links to elsewhere. */
async function resolveSubPath(base: string, subPath: string, mustExist: boolean): Promise<string> {
  if (subPath === '') return base
  const clean = normalize(subPath)
  if (clean.startsWith('/') || clean.split('/').includes('..')) {
    throw configInvalid(`subPath "${subPath}"`, 'it must stay inside of the volume')
  }
  const wanted = join(base, clean)
  if (!(await stat(wanted).catch(() => undefined))) {
    if (mustExist) throw configInvalid(`subPath "${subPath}"`, 'the image has no such path')
    await mkdir(wanted, { recursive: true, mode: 0o777 })
  }
  const [real, realBase] = [await realpath(wanted), await realpath(base)]
  if (real !== realBase && !real.startsWith(`${realBase}/`)) {
    throw configInvalid(`subPath "${subPath}"`, 'it leads out of the volume')
  }
  return real
}
