import type { ResourceClient } from '@fairlead/kube'
import type { Clock, EventRecorder } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'
import type { ContainerRuntime } from '@fairlead/oci/runtime'

import type { PodNetwork } from '../network/pod-network.ts'
import type { Clearing } from './clearing.ts'
import type { Grants } from './grants.ts'
import type { ImageSources } from './images.ts'
import type { MemoryVolumes } from './memory-volumes.ts'
import type { PodRecords } from './pod-records.ts'
import type { NodeSources } from './sources.ts'
import type { Turns } from './turns.ts'

/** What all pods of a node share. */
export interface NodeContext extends ImageSources {
  readonly nodeName: string
  readonly clock: Clock
  /** For what happens again and again in many containers. */
  readonly probeClock: Clock
  readonly runtime: ContainerRuntime
  readonly network: PodNetwork
  readonly pods: ResourceClient<Pod>
  readonly records: PodRecords
  /** Where secrets of pods lie; undefined: with their other volumes. */
  readonly memoryVolumes: MemoryVolumes | undefined
  readonly events: EventRecorder
  /** Making and removing containers keeps a core busy: more at once than there are cores for makes all of them slower. */
  readonly turns: Turns
  /** What is cleared away of pods that go. */
  readonly clearing: Clearing
  readonly sources: NodeSources
  readonly hostIp: string
  readonly cpus: number
  readonly memoryBytes: number
  readonly clusterDns: string
  readonly clusterDomain: string
  readonly hostResolvConf: string
  /** Where seccomp profiles of this node lie. */
  readonly seccompDir: string
  /** Cgroup all pods of this node are below. */
  readonly cgroupParent: string
  /** What the pods of this node may use. */
  readonly grants: Grants
  /** Where Services are, the API among them, as variables for the containers of a pod. */
  serviceEnvironment(pod: Pod): Promise<Record<string, string>>
  readonly onError: (error: unknown) => void
}
