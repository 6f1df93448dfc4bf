import type { Probe } from '@fairlead/kube/types/core-v1'

import { runProbe } from '../actions.ts'
import type { PodLife } from '../pod-life.ts'
import type { PodSandbox } from '../pod-sandbox.ts'
import { watchProbes } from '../prober.ts'
import type { Slot } from './slot.ts'
import type { ContainerStops } from './stops.ts'
import { targetOf } from './target.ts'

/** Asks running containers how they are, for as long as they run. */
export class ContainerProbes {
  readonly #life: PodLife
  readonly #sandbox: PodSandbox
  readonly #stops: ContainerStops

  constructor(life: PodLife, sandbox: PodSandbox, stops: ContainerStops) {
    this.#life = life
    this.#sandbox = sandbox
    this.#stops = stops
  }

  /** Begins with a container that runs; `adopted` was started by an earlier process, and was as ready as it says. */
  watch(slot: Slot, adopted?: { readonly ready: boolean }): void {
    const { id } = slot
    if (!id || slot.phase.phase !== 'running') return
    const probing = new AbortController()
    slot.probing = probing
    const { container, role } = slot.def
    const target = targetOf(slot, id, this.#life, this.#sandbox)
    const work = watchProbes(role === 'init' ? { name: container.name } : container, {
      clock: this.#life.context.probeClock,
      signal: probing.signal,
      adopted,
      run: (probe, timeoutMs) => runProbe(probe, target, timeoutMs),
      onStarted: () => this.#change(slot, id, { started: true }),
      onReady: (ready) => this.#change(slot, id, { ready }),
      onWarning: (kind, message) =>
        this.#life.event('Warning', 'ProbeWarning', `${titleOf(kind)} probe warning: ${message}`, container),
      onFailure: (kind, message, isFatal, probe) => {
        this.#life.event('Warning', 'Unhealthy', `${titleOf(kind)} probe failed: ${message}`, container)
        if (isFatal) this.#end(slot, id, kind, probe)
      },
    })
    work.catch(this.#life.context.onError)
  }

  #change(slot: Slot, id: string, change: { started?: boolean; ready?: boolean }): void {
    if (slot.id !== id || slot.phase.phase !== 'running') return
    slot.phase = { ...slot.phase, ...change }
    this.#life.tick()
  }

  #end(slot: Slot, id: string, kind: string, { terminationGracePeriodSeconds: own }: Probe): void {
    if (slot.id !== id || slot.phase.phase !== 'running') return
    const deadline = own === undefined ? undefined : this.#life.context.clock.now() + own * 1000
    this.#stops.stop(slot, `it failed its ${kind} probe and will be restarted`, deadline)
    this.#life.tick()
  }
}

function titleOf(kind: string): string {
  return `${kind.charAt(0).toUpperCase()}${kind.slice(1)}`
}
