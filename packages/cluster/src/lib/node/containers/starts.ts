import { randomBytes } from 'node:crypto'
import type { EphemeralContainer } from '@fairlead/kube/types/core-v1'

import { hookFailed } from '../../errors.ts'
import { runHook } from '../actions.ts'
import { createContainerSpec } from '../container-spec.ts'
import { accountEnvironment, createEnvironment } from '../environment.ts'
import { prepareImage } from '../images.ts'
import type { FoundImage, ImageTrouble } from '../images.ts'
import { namesOf } from '../name-files.ts'
import { containersOf, fingerprintOf } from '../pod.ts'
import { prepareOutput } from '../pod-files.ts'
import { failureBackoffMs, messageOf } from '../pod-life.ts'
import type { PodLife } from '../pod-life.ts'
import type { PodSandbox } from '../pod-sandbox.ts'
import { pullAuths } from '../pull-secrets.ts'
import type { ContainerEnds } from './ends.ts'
import type { ContainerProbes } from './probes.ts'
import { endedPhase, redefine } from './slot.ts'
import type { Slot } from './slot.ts'
import type { ContainerStops } from './stops.ts'
import { targetOf } from './target.ts'

type ContainerSpec = Awaited<ReturnType<typeof createContainerSpec>>

const FIRST_RETRY_MS = 1000
const LONGEST_RETRY_MS = 300_000
/** A registry is left in peace for longer than the local store, looking into which costs nothing. */
const FIRST_PULL_RETRY_MS = 10_000
const LONGEST_LOOK_RETRY_MS = 15_000
const POST_START_TIMEOUT_MS = 60_000

/** Others who act for the pod, that a start goes on to. */
export interface StartFollowers {
  readonly ends: ContainerEnds
  readonly stops: ContainerStops
  readonly probes: ContainerProbes
  /** Gives running containers what the pod was granted meanwhile. */
  readonly onRunning: () => void
}

/** Starts containers of a pod: image, specification, container, process, postStart hook. */
export class ContainerStarts {
  readonly #life: PodLife
  readonly #sandbox: PodSandbox
  readonly #followers: StartFollowers

  constructor(life: PodLife, sandbox: PodSandbox, followers: StartFollowers) {
    this.#life = life
    this.#sandbox = sandbox
    this.#followers = followers
  }

  async start(slot: Slot): Promise<void> {
    const before = slot.phase
    slot.phase = { phase: 'starting', after: endedPhase(slot) }
    if (before.phase === 'exited') slot.isAgain = true
    this.#life.publish()
    const found = await this.#findImage(slot)
    const kind = slot.crashes > 0 ? 'again' : 'first'
    const id = found && (await this.#life.context.turns.run(kind, () => this.#createUnlessGone(slot, found, before)))
    if (id === undefined) return
    this.#noteRunning(slot, id)
    // A short program may have ended before anybody knew its name.
    await this.#followers.ends.look(slot, id)
    await this.#goOn(slot, id)
  }

  async #goOn(slot: Slot, id: string): Promise<void> {
    if (slot.phase.phase !== 'running') return
    await this.#postStart(slot, id)
    this.#followers.probes.watch(slot)
  }

  async #findImage(slot: Slot): Promise<FoundImage | undefined> {
    const { container } = slot.def
    const { context, signal, event } = this.#life
    const found = await prepareImage(container, context, { signal, auths: () => pullAuths(this.#life) })
    if ('reason' in found) {
      this.#failImage(slot, found)
      return undefined
    }
    const pulled = found.wasPresent
      ? `Container image "${container.image}" already present on machine`
      : `Successfully pulled image "${container.image}"`
    event('Normal', 'Pulled', pulled, container)
    return found
  }

  #failImage(slot: Slot, { error, reason, wasAsked }: ImageTrouble): void {
    const { container } = slot.def
    const message = messageOf(error)
    this.#life.event('Warning', 'Failed', `Failed to pull image "${container.image}": ${message}`, container)
    const shown = reason === 'ErrImagePull' && slot.failures > 0 ? 'ImagePullBackOff' : reason
    const [firstMs, longestMs] = wasAsked
      ? [FIRST_PULL_RETRY_MS, LONGEST_RETRY_MS]
      : [FIRST_RETRY_MS, LONGEST_LOOK_RETRY_MS]
    this.#fail(slot, { reason: shown, message, firstMs, longestMs })
  }

  /** When many are to be made at once it takes a while until it is this one's turn. */
  async #createUnlessGone(slot: Slot, found: FoundImage, before: Slot['phase']): Promise<string | undefined> {
    const { isDeleted, isLeaving, isDetached } = this.#life
    if (!isDeleted && !isLeaving && !isDetached) return await this.#create(slot, found)
    slot.phase = before
    return undefined
  }

  /** Makes the container and its process; resolves to its id, or to nothing when that failed. */
  async #create(slot: Slot, found: FoundImage): Promise<string | undefined> {
    const { context, event, save, saved } = this.#life
    const { container } = slot.def
    const id = randomBytes(32).toString('hex')
    let step = 'CreateContainerConfigError'
    try {
      const restarts = slot.restarts + (slot.isAgain ? 1 : 0)
      const spec = await this.#specOf(slot, id, restarts, found)
      step = 'CreateContainerError'
      noteLast(slot)
      Object.assign(slot, {
        id,
        user: undefined,
        restarts,
        isAgain: false,
        imageId: found.imageId,
        image: container.image,
      })
      slot.fingerprint = fingerprintOf(container)
      slot.applied = container.resources ?? {}
      slot.ended = Promise.withResolvers()
      save()
      await context.runtime.create(spec)
      slot.user = (await context.runtime.state(id))?.user
      event('Normal', 'Created', `Created container: ${container.name}`, container)
      step = 'RunContainerError'
      await saved()
      await context.runtime.start(id)
      return id
    } catch (error) {
      await context.runtime.delete(id).catch(context.onError)
      event('Warning', 'Failed', `Error: ${messageOf(error)}`, container)
      this.#fail(slot, { reason: step, message: messageOf(error) })
      return undefined
    }
  }

  #noteRunning(slot: Slot, id: string): void {
    const { context, granted, event } = this.#life
    const { container } = slot.def
    slot.failures = 0
    slot.phase = { phase: 'running', id, startedAt: context.clock.now(), started: false, ready: false }
    // It may have been granted other resources meanwhile.
    const wanted = containersOf(granted).find((one) => one.container.name === container.name)
    if (wanted) redefine(slot, wanted, context.clock.now())
    this.#followers.onRunning()
    event('Normal', 'Started', `Started container ${container.name}`, container)
  }

  #fail(
    slot: Slot,
    failure: {
      readonly reason: string
      readonly message: string
      readonly firstMs?: number | undefined
      readonly longestMs?: number | undefined
    },
  ): void {
    const { reason, message, firstMs = FIRST_RETRY_MS, longestMs = LONGEST_RETRY_MS } = failure
    slot.failures += 1
    noteLast(slot)
    slot.id = slot.last?.id
    const retryAt = this.#life.context.clock.now() + failureBackoffMs(slot.failures, firstMs, longestMs)
    slot.phase = { phase: 'failed', reason, message, retryAt }
    this.#life.save()
  }

  async #postStart(slot: Slot, id: string): Promise<void> {
    const { container } = slot.def
    const hook = container.lifecycle?.postStart
    if (!hook) return
    const result = await runHook(hook, targetOf(slot, id, this.#life, this.#sandbox), POST_START_TIMEOUT_MS)
    if (result.ok || slot.phase.phase !== 'running') return
    const { message } = hookFailed('postStart', container.name, result.message)
    this.#life.event('Warning', 'FailedPostStartHook', message, container)
    this.#followers.stops.stop(slot, 'its postStart hook failed')
  }

  async #specOf(slot: Slot, id: string, attempt: number, { image }: FoundImage): Promise<ContainerSpec> {
    const { container } = slot.def
    const { granted, files, context } = this.#life
    const { attachment, volumes, namespaces, place } = this.#sandbox
    const { kernelName } = namesOf(this.#life.pod, context.nodeName, context.clusterDomain)
    const env = mergeEnvironment(await this.#environmentOf(slot, kernelName), attachment?.env)
    await prepareOutput(files, container.name, attempt)
    return createContainerSpec({
      id,
      pod: granted,
      container,
      image,
      hostname: kernelName,
      logPath: files.logPath(container.name, attempt),
      terminationLog: files.terminationLog(container.name),
      env,
      place,
      volumes,
      files: files.names,
      networkNamespace: attachment?.netnsPath,
      cgroupPath: `${this.#life.cgroupPath}/${id}`,
      pidNamespace: await this.#pidNamespaceOf(container),
      ipcNamespace: await this.#ipcNamespaceOf(slot),
      namespaces,
      seccompDir: context.seccompDir,
    })
  }

  async #environmentOf(slot: Slot, hostname: string): Promise<Record<string, string>> {
    const { container } = slot.def
    const { pod, granted, context } = this.#life
    const initial = {
      ...(await context.serviceEnvironment(pod)),
      ...accountEnvironment(container, context.runtime.kind),
      HOSTNAME: hostname,
    }
    return await createEnvironment(granted, container, this.#sandbox.place, context.sources, initial)
  }

  /** An ephemeral container may share the processes of the one it was added to look into. */
  async #pidNamespaceOf({ targetContainerName = '' }: EphemeralContainer): Promise<string | undefined> {
    const target = this.#life.slots.get(targetContainerName)
    return target && (await this.#namespaceOf(target, 'pid'))
  }

  /** A pod of one container has no namespaces beside it: one that is added later joins those. */
  async #ipcNamespaceOf(slot: Slot): Promise<string | undefined> {
    if (slot.def.role !== 'ephemeral' || this.#sandbox.namespaces !== undefined) return undefined
    const main = [...this.#life.slots.values()].find(({ def }) => def.role === 'main')
    return main && (await this.#namespaceOf(main, 'ipc'))
  }

  async #namespaceOf({ phase }: Slot, kind: 'pid' | 'ipc'): Promise<string | undefined> {
    if (phase.phase !== 'running' && phase.phase !== 'stopping') return undefined
    const pid = (await this.#life.context.runtime.state(phase.id))?.pid
    return pid === undefined || this.#life.context.runtime.kind === 'processes' ? undefined : `/proc/${pid}/ns/${kind}`
  }
}

/** From here on the run before is not the present one any more. */
function noteLast(slot: Slot): void {
  if (slot.phase.phase !== 'starting') return
  if (slot.phase.after?.phase === 'exited') slot.last = slot.phase.after.ending
  slot.phase = { phase: 'starting' }
}

/** A list of options like NODE_OPTIONS is needed by both sides: the network's come first. */
function mergeEnvironment(
  own: Record<string, string>,
  network: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  if (!network) return own
  const options = [network['NODE_OPTIONS'], own['NODE_OPTIONS']].filter(Boolean).join(' ')
  return { ...own, ...network, ...(options === '' ? {} : { NODE_OPTIONS: options }) }
}
