import { chmod, chown, lchown, lstat, mkdir, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseQuantity } from '@fairlead/kube/types'
import type {
  ImageVolumeSource,
  KeyToPath,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  PodSecurityContext,
  Volume,
} from '@fairlead/kube/types/core-v1'
import { unmountAll } from '@fairlead/oci/runtime'

import { configInvalid } from '../errors.ts'
import { writeAtomically } from './atomic-directory.ts'
import type { ProjectedFile } from './atomic-directory.ts'
import { readConfigMap, readField, readResource, readSecret } from './environment.ts'
import type { PodPlace, Sources } from './environment.ts'
import { prepareHostPath } from './host-path.ts'
import { mountTool } from './mount-tool.ts'

/** More than plain objects can answer: claims and tokens. */
export interface VolumeSources extends Sources {
  claim(namespace: string, name: string): Promise<PersistentVolumeClaim | undefined>
  persistentVolume(name: string): Promise<PersistentVolume | undefined>
  /** A token for the pod's service account that is good for a while yet (TokenRequest). */
  token(pod: Pod, audience: string | undefined, seconds: number): Promise<string>
}

/** Where a pod's volumes lie: `path` by name of the volume. */
export type MountedVolumes = ReadonlyMap<string, string>

/** Makes the files of an image readable below `dir`; returns where. */
export type MountImage = (source: ImageVolumeSource, dir: string) => Promise<string>

interface VolumeContext {
  readonly pod: Pod
  readonly namespace: string
  readonly place: PodPlace
  readonly sources: VolumeSources
  /** Directory of the pod's volumes. */
  readonly dir: string
  readonly options: VolumeOptions
}

/** Options of {@link mountVolumes} and those that follow it. */
export interface VolumeOptions {
  /** Directory of those of the pod's volumes that must not come onto a disk. Default: that of the others. */
  readonly memoryDir?: string | undefined
  /** Default: volumes of images cannot be had. */
  readonly mountImage?: MountImage | undefined
}

/** Kinds whose content follows their objects. */
const LIVE_KINDS = ['configMap', 'secret', 'projected', 'downwardAPI'] as const

/** Makes every volume of a pod ready below `dir`. Throws `FAIRLEAD_CLUSTER_POD_CONFIG` for what cannot be had. */
export async function mountVolumes(
  pod: Pod,
  dir: string,
  place: PodPlace,
  sources: VolumeSources,
  options: VolumeOptions = {},
): Promise<MountedVolumes> {
  const namespace = pod.metadata?.namespace ?? 'default'
  const context = { pod, namespace, place, sources, dir, options }
  await mkdir(dir, { recursive: true })
  const entries = (pod.spec?.volumes ?? []).map(async (volume): Promise<[string, string]> => [
    volume.name,
    await mountVolume(volume, context),
  ])
  return new Map(await Promise.all(entries))
}

/** The volumes of a pod below `dir` that take room on the disk of the node (upstream: `IsLocalEphemeralVolume`). */
export function onDisk({ spec }: Pod, dir: string): { readonly name: string; readonly path: string }[] {
  const own = (spec?.volumes ?? []).filter(
    ({ emptyDir, configMap }) => configMap !== undefined || (emptyDir !== undefined && emptyDir.medium !== 'Memory'),
  )
  return own.map(({ name }) => ({ name, path: join(dir, name) }))
}

/** Writes the volumes that follow other objects anew. */
export async function refreshVolumes(
  pod: Pod,
  dir: string,
  place: PodPlace,
  sources: VolumeSources,
  options: VolumeOptions = {},
): Promise<void> {
  const namespace = pod.metadata?.namespace ?? 'default'
  for (const volume of pod.spec?.volumes ?? []) {
    if (LIVE_KINDS.some((kind) => volume[kind] !== undefined)) {
      await mountVolume(volume, { pod, namespace, place, sources, dir, options })
    }
  }
}

/** Takes the pod's volumes away; what they hold of the host's own stays. */
export async function unmountVolumes(dir: string, { memoryDir }: VolumeOptions = {}): Promise<void> {
  // Elsewhere nothing is mounted.
  if (process.platform === 'linux') await unmountAll(dir)
  await rm(dir, { recursive: true, force: true })
  if (memoryDir !== undefined) await rm(memoryDir, { recursive: true, force: true })
}

async function mountVolume(volume: Volume, context: VolumeContext): Promise<string> {
  const path = join(context.dir, volume.name)
  const { emptyDir, hostPath, persistentVolumeClaim, ephemeral, configMap, secret, projected, downwardAPI } = volume
  if (hostPath) return prepareHostPath(hostPath.path, hostPath.type ?? '')
  if (persistentVolumeClaim) return claimedDirectory(persistentVolumeClaim.claimName, context)
  if (ephemeral) return claimedDirectory(`${context.pod.metadata?.name ?? ''}-${volume.name}`, context)
  const { mountImage } = context.options
  if (volume.image && mountImage) return mountImage(volume.image, path)
  const gid = context.pod.spec?.securityContext?.fsGroup
  if (emptyDir) {
    await mountEmptyDir(path, emptyDir.medium, emptyDir.sizeLimit, gid)
    return path
  }
  const parts = configMap || secret || downwardAPI ? [volume] : (projected?.sources ?? undefined)
  if (!parts) {
    const kind = Object.keys(volume).find((key) => key !== 'name') ?? 'nothing'
    throw configInvalid(`volume "${volume.name}"`, `volumes of the kind "${kind}" are not supported here`)
  }
  const mode = (configMap ?? secret ?? downwardAPI ?? projected)?.defaultMode ?? 0o644
  const files = new Map<string, ProjectedFile>()
  for (const part of parts) for (const [name, file] of await project(part, mode, context)) files.set(name, file)
  const place = configMap ? path : await keptFromDisk(volume.name, context)
  await writeAtomically(place, files, { gid })
  return place
}

/** What is secret lies in memory; a pod that has it on disk, since before that was so, keeps it there. */
async function keptFromDisk(name: string, { dir, options: { memoryDir } }: VolumeContext): Promise<string> {
  const onDiskPath = join(dir, name)
  if (memoryDir === undefined || (await stat(onDiskPath).catch(() => undefined))) return onDiskPath
  return join(memoryDir, name)
}

type Part = Pick<Volume, 'configMap' | 'downwardAPI'> & {
  secret?:
    | {
        name?: string | undefined
        secretName?: string | undefined
        items?: KeyToPath[] | undefined
        optional?: boolean | undefined
      }
    | undefined
  serviceAccountToken?:
    | { audience?: string | undefined; expirationSeconds?: number | undefined; path: string }
    | undefined
}

async function project(part: Part, mode: number, context: VolumeContext): Promise<Map<string, ProjectedFile>> {
  const { namespace, sources, pod, place } = context
  const { configMap, secret, downwardAPI, serviceAccountToken } = part
  if (configMap) {
    const data = await readConfigMap(sources, namespace, configMap.name ?? '', configMap.optional)
    return select(data ?? {}, configMap.items, mode, `ConfigMap "${configMap.name}"`, configMap.optional)
  }
  if (secret) {
    const name = secret.secretName ?? secret.name ?? ''
    const data = await readSecret(sources, namespace, name, secret.optional)
    return select(data ?? {}, secret.items, mode, `Secret "${name}"`, secret.optional)
  }
  if (serviceAccountToken) {
    const { audience, expirationSeconds = 3600, path } = serviceAccountToken
    const content = Buffer.from(await sources.token(pod, audience, expirationSeconds))
    // With a group or a user of its own a token is nobody else's (KEP-1205).
    const uid = commonUser(pod)
    const isOwned = uid !== undefined || pod.spec?.securityContext?.fsGroup !== undefined
    return new Map([[path, { content, mode: isOwned ? 0o600 : mode, uid }]])
  }
  const items = (downwardAPI?.items ?? []).map(({ path, fieldRef, resourceFieldRef, mode: own }) => {
    const text = fieldRef
      ? readField(pod, fieldRef.fieldPath, place)
      : readResource(pod, resourceFieldRef ?? { resource: '' }, '', place)
    return [path, { content: Buffer.from(text), mode: own ?? mode }] as const
  })
  return new Map(items)
}

/** The user that all containers of a pod are told to run as; undefined when there is none, or more than one. */
function commonUser({ spec }: Pod): number | undefined {
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])]
  const users = containers.map(({ securityContext }) => securityContext?.runAsUser ?? spec?.securityContext?.runAsUser)
  return users.every((user) => user === users[0]) ? users[0] : undefined
}

function select(
  data: Readonly<Record<string, Buffer>>,
  items: readonly KeyToPath[] | undefined,
  mode: number,
  subject: string,
  optional: boolean | undefined,
): Map<string, ProjectedFile> {
  if (!items) return new Map(Object.entries(data).map(([name, content]) => [name, { content, mode }]))
  const files = new Map<string, ProjectedFile>()
  for (const { key, path, mode: own } of items) {
    const content = Object.hasOwn(data, key) ? data[key] : undefined
    if (content) files.set(path, { content, mode: own ?? mode })
    else if (!optional) throw configInvalid(subject, `references non-existent config key: ${key}`)
  }
  return files
}

async function mountEmptyDir(
  path: string,
  medium: string | undefined,
  sizeLimit: string | undefined,
  gid: number | undefined,
): Promise<void> {
  const isNew = await mkdir(path, { recursive: true })
  const isMemory = medium === 'Memory' && process.platform === 'linux' && process.getuid?.() === 0
  if (isNew !== undefined && isMemory) {
    const size = sizeLimit ? `,size=${Math.ceil(parseQuantity(sizeLimit) ?? 0)}` : ''
    await mountTool('mount', ['-i', '-t', 'tmpfs', '-o', `nosuid,nodev,mode=0777${size}`, 'tmpfs', path])
  }
  // Sticky would be kinder to neighbours, but Kubernetes promises 0777.
  await chmod(path, 0o777)
  if (gid !== undefined && process.getuid?.() === 0) {
    await chown(path, 0, gid)
    await chmod(path, 0o2777)
  }
}

async function claimedDirectory(name: string, { namespace, sources, pod }: VolumeContext): Promise<string> {
  const claim = await sources.claim(namespace, name)
  if (!claim) throw configInvalid(`claim "${name}"`, `persistentvolumeclaim "${name}" not found`)
  const volumeName = claim.spec?.volumeName
  const volume = volumeName ? await sources.persistentVolume(volumeName) : undefined
  if (!volume) throw configInvalid(`claim "${name}"`, 'it is not bound to a volume yet')
  const path = volume.spec?.hostPath?.path ?? volume.spec?.local?.path
  if (!path)
    throw configInvalid(`volume "${volumeName}"`, 'only volumes of the kinds hostPath and local are supported here')
  const found = await prepareHostPath(path, 'DirectoryOrCreate')
  // What is on the host stays as it is; a volume of this node is the pod's to use (Kubernetes, "fsGroup").
  if (volume.spec?.local !== undefined) await giveToGroup(found, pod.spec?.securityContext ?? {})
  return found
}

/** Makes a volume its group's, deep down unless its root is that already and the policy is content with that. */
async function giveToGroup(dir: string, { fsGroup, fsGroupChangePolicy }: PodSecurityContext): Promise<void> {
  if (fsGroup === undefined || process.getuid?.() !== 0) return
  const root = await stat(dir)
  const isGiven = root.gid === fsGroup && (root.mode & 0o2070) === 0o2070
  if (isGiven && fsGroupChangePolicy === 'OnRootMismatch') return
  // The root comes last: a change that was cut short is taken up again.
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  for (const entry of entries) await giveOne(join(entry.parentPath, entry.name), fsGroup)
  await giveOne(dir, fsGroup)
}

async function giveOne(path: string, gid: number): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  await lchown(path, found.uid, gid)
  if (found.isDirectory()) await chmod(path, (found.mode & 0o7777) | 0o2770)
  else if (found.isFile()) await chmod(path, (found.mode & 0o7777) | 0o660)
}
