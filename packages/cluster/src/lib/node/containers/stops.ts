import type { Container } from '@fairlead/kube/types/core-v1'

import { hookFailed } from '../../errors.ts'
import { runHook } from '../actions.ts'
import type { PodLife } from '../pod-life.ts'
import type { PodSandbox } from '../pod-sandbox.ts'
import type { ContainerEnds } from './ends.ts'
import type { Slot } from './slot.ts'
import { targetOf } from './target.ts'

const DEFAULT_GRACE_SECONDS = 30
const KILL_AGAIN_MS = 200
/** After so many kills a container counts as ended, whatever the runtime says. */
const LONGEST_KILLS = 25

/** Ends containers of a pod: the hook, the signal that asks, the wait, the kill. */
export class ContainerStops {
  readonly #life: PodLife
  readonly #sandbox: PodSandbox
  readonly #ends: ContainerEnds

  constructor(life: PodLife, sandbox: PodSandbox, ends: ContainerEnds) {
    this.#life = life
    this.#sandbox = sandbox
    this.#ends = ends
  }

  /** Ends a container, by `deadline` where that is sooner than its pod's grace; one that is ending already ends sooner. */
  stop(slot: Slot, why: string, deadline?: number): void {
    const { phase } = slot
    if (phase.phase === 'running') this.#life.run(this.#stop(slot, phase, why, deadline))
    if (phase.phase !== 'stopping') return
    if (deadline !== undefined) slot.phase = { ...phase, deadline: Math.min(deadline, phase.deadline) }
    slot.hurry?.()
  }

  async #stop(
    slot: Slot,
    running: Extract<Slot['phase'], { phase: 'running' }>,
    why: string,
    wanted: number | undefined,
  ): Promise<void> {
    const { clock, runtime } = this.#life.context
    const { id, startedAt, started, ready } = running
    const graceMs = (this.#life.pod.spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000
    const deadline = wanted ?? clock.now() + graceMs
    slot.isReplaced = running.outdated !== undefined
    slot.phase = { phase: 'stopping', id, startedAt, deadline, started, ready }
    slot.probing?.abort()
    const { container } = slot.def
    const isPlain = this.#life.isDeleted || this.#life.isLeaving
    const text = `Stopping container ${container.name}${isPlain ? '' : ` (${why})`}`
    this.#life.event('Normal', 'Killing', text, container)
    if (container.lifecycle?.preStop && deadline > clock.now()) {
      const ended = slot.ended.promise
      await Promise.race([this.#preStop(slot, id, deadline), ended, this.#until(slot, () => deadlineOf(slot))])
    }
    if (isStopping(slot, id)) await runtime.kill(id, stopSignalOf(container, await this.#imageStopSignal(slot)))
    // Hooks and signals that came late still get the two seconds Kubernetes grants them.
    if (isStopping(slot, id)) await this.#until(slot, () => deadlineOf(slot))
    await this.#kill(slot, id)
  }

  async #kill(slot: Slot, id: string): Promise<void> {
    const { clock, runtime } = this.#life.context
    for (let tries = 0; isStopping(slot, id); tries += 1) {
      await runtime.kill(id, 'SIGKILL')
      await this.#until(slot, () => clock.now() + KILL_AGAIN_MS)
      // Its end may have been missed; after long enough it is made to end.
      if (isStopping(slot, id)) await this.#ends.look(slot, id)
      if (tries >= LONGEST_KILLS && isStopping(slot, id)) await this.#ends.conclude(slot, id, undefined)
    }
  }

  /** Waits until the container has ended or the time has come, which may move closer meanwhile. */
  async #until(slot: Slot, time: () => number): Promise<void> {
    const { clock } = this.#life.context
    const ended = slot.ended.promise.then(() => true)
    for (const end = time(); ;) {
      const at = Math.min(end, time())
      if (at <= clock.now()) return
      const { promise, resolve } = Promise.withResolvers<boolean>()
      const cancel = clock.schedule(at - clock.now(), () => resolve(true))
      slot.hurry = () => resolve(false)
      // That the time has passed is the timer's to say: the clock may have been set back meanwhile.
      const isOver = await Promise.race([promise, ended])
      cancel()
      slot.hurry = undefined
      if (isOver) return
    }
  }

  async #preStop(slot: Slot, id: string, deadline: number): Promise<void> {
    const { clock } = this.#life.context
    const { container } = slot.def
    const hook = container.lifecycle?.preStop ?? {}
    const left = Math.max(1, deadline - clock.now())
    if (hook.sleep) {
      const until = clock.now() + Math.min(hook.sleep.seconds * 1000, left)
      await this.#until(slot, () => until)
      return
    }
    const result = await runHook(hook, targetOf(slot, id, this.#life, this.#sandbox), left)
    if (result.ok) return
    const { message } = hookFailed('preStop', container.name, result.message)
    this.#life.event('Warning', 'FailedPreStopHook', message, container)
  }

  async #imageStopSignal(slot: Slot): Promise<string | undefined> {
    const image = await this.#life.context.layout.resolve(slot.image).catch(() => undefined)
    return image?.config.config?.StopSignal
  }
}

function isStopping(slot: Slot, id: string): boolean {
  return slot.id === id && slot.phase.phase === 'stopping'
}

function deadlineOf({ phase }: Slot): number {
  return phase.phase === 'stopping' ? phase.deadline : 0
}

/** The signal that asks a container to end: the pod's word, else the image's, else SIGTERM. */
function stopSignalOf(container: Container, image: string | undefined): NodeJS.Signals | number {
  const text = container.lifecycle?.stopSignal ?? image ?? 'SIGTERM'
  if (/^\d+$/.test(text)) return Number(text)
  return (text.startsWith('SIG') ? text : `SIG${text}`) as NodeJS.Signals
}
