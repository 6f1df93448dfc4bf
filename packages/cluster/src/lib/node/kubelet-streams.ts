import type { Duplex } from 'node:stream'
import type { Container, Pod } from '@fairlead/kube/types/core-v1'
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
      const worker = find(target)
      const id = worker.runningId(target.container)
      if (id === undefined) throw new Error(`container not found ("${target.container}")`)
      return {
        exec: (options) => runtime.openExec(id, options),
        attach: async (options) => letGo(await runtime.attach(id, options), containerOf(worker.pod, target.container)),
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

function containerOf({ spec }: Pod, name: string): Pick<Container, 'stdinOnce' | 'tty'> | undefined {
  const { containers = [], initContainers = [], ephemeralContainers = [] } = spec ?? {}
  return [...containers, ...initContainers, ...ephemeralContainers].find((container) => container.name === name)
}

/** As with containerd: the end of the input is the end of being attached, unless it is the end of the program's input too. */
function letGo(
  session: ContainerSession,
  container: Pick<Container, 'stdinOnce' | 'tty'> | undefined,
): ContainerSession {
  const { stdinOnce = false, tty = false } = container ?? {}
  if (!stdinOnce || tty) session.stdin?.once('finish', () => session.kill())
  return session
}
