import { mkdir } from 'node:fs/promises'
import type { ImageVolumeSource } from '@fairlead/kube/types/core-v1'
import type { SharedNamespaces } from '@fairlead/oci/runtime'

import { hostPortsOf } from '../network/host-ports.ts'
import type { PodAttachment } from '../network/pod-network.ts'
import type { PodView } from './decide.ts'
import type { PodPlace } from './environment.ts'
import { prepareImage } from './images.ts'
import { containersOf, uidOf } from './pod.ts'
import { writeNameFiles } from './pod-files.ts'
import { failureBackoffMs, messageOf } from './pod-life.ts'
import type { PodLife } from './pod-life.ts'
import type { PodPlaceOnNetwork } from './pod-ports.ts'
import { pullAuths } from './pull-secrets.ts'
import type { PodResources } from './pod-resources.ts'
import { checkRuntimeClass } from './runtime-handlers.ts'
import { mountVolumes, refreshVolumes, unmountVolumes } from './volumes.ts'
import type { MountedVolumes } from './volumes.ts'

const FIRST_RETRY_MS = 1000
const LONGEST_RETRY_MS = 10_000

/** What the containers of a pod share: its place on the network, its control group, namespaces, volumes and names. */
export class PodSandbox {
  readonly #life: PodLife
  readonly #resources: PodResources
  #state: PodView['sandbox'] = 'absent'
  #failures = 0
  #attachment: PodAttachment | undefined
  #volumes: MountedVolumes = new Map()
  #namespaces: SharedNamespaces | undefined
  #refreshing: Promise<void> = Promise.resolve()

  constructor(life: PodLife, resources: PodResources) {
    this.#life = life
    this.#resources = resources
  }

  get state(): PodView['sandbox'] {
    return this.#state
  }

  get attachment(): PodAttachment | undefined {
    return this.#attachment
  }

  get volumes(): MountedVolumes {
    return this.#volumes
  }

  get namespaces(): SharedNamespaces | undefined {
    return this.#namespaces
  }

  /** Where the pod is, as its containers may ask. */
  get place(): PodPlace {
    const { hostIp, nodeName, cpus, memoryBytes } = this.#life.context
    return { podIp: this.#attachment?.ip ?? '', hostIp, nodeName, cpus, memoryBytes }
  }

  /** Where the pod is on the network; undefined while it has no place there. */
  get placeOnNetwork(): PodPlaceOnNetwork | undefined {
    if (this.#attachment === undefined || this.#state !== 'ready') return undefined
    if (this.#life.pod.spec?.hostNetwork === true) return { ip: '127.0.0.1' }
    return { ip: this.#attachment.ip, netnsPath: this.#attachment.netnsPath }
  }

  /** Half of it may be there: it is made again, or cleared away where the pod has ended or is to go. */
  adoptRest(): void {
    this.#state = { retryAt: 0 }
  }

  /** A place that could not be made is not tried again, but cleared away at once. */
  giveUp(now: number): void {
    if (typeof this.#state === 'object') this.#state = { retryAt: now }
  }

  async prepare(): Promise<void> {
    this.#state = 'preparing'
    let reason = 'FailedCreatePodSandBox'
    try {
      const { pod, context } = this.#life
      await checkRuntimeClass(pod, context.runtime, context.sources)
      const ip = await this.#attach()
      await mkdir(this.#life.files.dir, { recursive: true, mode: 0o711 })
      await this.#resources.prepare()
      this.#namespaces = await this.#openNamespaces()
      reason = 'FailedMount'
      await this.#mount()
      reason = 'FailedCreatePodSandBox'
      await writeNameFiles(this.#life.pod, ip, this.#life.files, this.#life.context)
      this.#state = 'ready'
      this.#failures = 0
    } catch (error) {
      this.#life.event('Warning', reason, messageOf(error))
      this.#failed()
    }
  }

  async #attach(): Promise<string> {
    const { pod, context } = this.#life
    const { namespace = '', name = '' } = pod.metadata ?? {}
    const isOfHost = pod.spec?.hostNetwork === true
    const asked = { uid: uidOf(pod), namespace, name, hostPorts: hostPortsOf(pod) }
    const attached = isOfHost ? { ip: context.hostIp } : await context.network.attach(asked)
    this.#attachment = attached
    return attached.ip
  }

  /** Where there is but one container, the namespaces it gets anyway are those of the pod. */
  async #openNamespaces(): Promise<SharedNamespaces | undefined> {
    const { pod, context, files } = this.#life
    const { shareProcessNamespace = false, hostPID, hostIPC } = pod.spec ?? {}
    const pids = shareProcessNamespace && !hostPID
    if (hostIPC && !pids) return undefined
    if (!pids && containersOf(pod).length < 2) return undefined
    return await context.runtime.openNamespaces(files.namespacesDir, { pids })
  }

  async #mount(): Promise<void> {
    const { granted, files, context } = this.#life
    const mountImage = (source: ImageVolumeSource, path: string): Promise<string> => this.#mountImage(source, path)
    const options = { mountImage, memoryDir: files.memoryDir }
    this.#volumes = await mountVolumes(granted, files.volumesDir, this.place, context.sources, options)
  }

  async #mountImage({ reference = '', pullPolicy }: ImageVolumeSource, path: string): Promise<string> {
    const { context, signal } = this.#life
    const asked = { name: '', image: reference, imagePullPolicy: pullPolicy }
    const found = await prepareImage(asked, context, { signal, auths: () => pullAuths(this.#life) })
    if ('reason' in found) throw found.error
    return await context.runtime.mountImage(found.image, path)
  }

  /** An object the volumes may come from has changed. */
  refresh(): void {
    if (this.#state !== 'ready') return
    // One after the other, so that the newest stays.
    this.#refreshing = this.#refreshing
      .then(() => this.#writeVolumes())
      .catch((error: unknown) => {
        // With a pod that goes, what it reads goes, and its node's right to read it: nobody looks at its files any more.
        if (!this.#life.isDeleted) this.#life.context.onError(error)
      })
    this.#life.run(this.#refreshing)
  }

  async #writeVolumes(): Promise<void> {
    const { granted, files, context } = this.#life
    const { volumesDir, memoryDir } = files
    await refreshVolumes(granted, volumesDir, this.place, context.sources, { memoryDir })
  }

  /** Clears it away when `cleared` says that the last container is. */
  async remove(cleared: Promise<unknown>): Promise<void> {
    this.#state = 'removing'
    const { pod, files, context } = this.#life
    try {
      await cleared
      await context.network.detach(uidOf(pod))
      await context.runtime.closeNamespaces(files.namespacesDir)
      await unmountVolumes(files.volumesDir, { memoryDir: files.memoryDir })
      await context.runtime.removeCgroup(this.#resources.cgroupPath)
      this.#attachment = undefined
      this.#state = 'absent'
      context.clearing.progress()
    } catch (error) {
      this.#failed()
      throw error
    }
  }

  #failed(): void {
    this.#failures += 1
    const waitMs = failureBackoffMs(this.#failures, FIRST_RETRY_MS, LONGEST_RETRY_MS)
    this.#state = { retryAt: this.#life.context.clock.now() + waitMs }
  }
}
