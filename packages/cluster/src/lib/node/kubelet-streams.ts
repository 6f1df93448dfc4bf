import type { Duplex } from 'node:stream'
import type { ContainerRuntime, ContainerSession } from '@fairlead/oci/runtime'

import { connectToPod } from './pod-ports.ts'
import type { PodWorker } from './pod-worker.ts'

export interface PodTarget {
  readonly namespace: string
  readonly name: string
  /** Empty for whichever has the name. */
  readonly uid: string
}

export interface ContainerTarget extends PodTarget {
  readonly container: string
}

/** The parts of the kubelet's API that stream, as the API server calls them. */
export interface KubeletStreams {
  openContainer(target: ContainerTarget): Promise<RunningContainer>
  openPod(target: PodTarget): Promise<RunningPod>
}

export interface RunningContainer {
  exec(options: { args: readonly string[]; stdin: boolean; tty: boolean }): Promise<ContainerSession>
  attach(options: { stdin: boolean }): Promise<ContainerSession>
}

export interface RunningPod {
  connect(port: number): Promise<Duplex>
}

/** Reaches into running containers and pods of this node. Rejections are worded as the kubelet words them. */
export function createKubeletStreams(
  findPod: (namespace: string, name: string) => PodWorker | undefined,
  runtime: ContainerRuntime,
): KubeletStreams {
  function find({ namespace, name, uid }: PodTarget): PodWorker {
    const worker = findPod(namespace, name)
    if (worker === undefined || (uid !== '' && worker.pod.metadata?.uid !== uid)) throw new Error('pod does not exist')
    return worker
  }

  return {
    // oxlint-disable-next-line require-await -- what it throws shall be a rejection
    async openContainer(target) {
      const id = find(target).runningId(target.container)
      if (id === undefined) throw new Error(`container not found ("${target.container}")`)
      return {
        exec: (options) => runtime.openExec(id, options),
        attach: (options) => runtime.attach(id, options),
      }
    },
    // oxlint-disable-next-line require-await -- as above
    async openPod(target) {
      const place = find(target).place
      if (place === undefined) throw new Error('pod is not running')
      return { connect: (port) => connectToPod(place, port) }
    },
  }
}
