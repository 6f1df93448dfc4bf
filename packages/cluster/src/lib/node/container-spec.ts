import type { ContainerResources, ContainerSpec } from '@fairlead/oci/runtime'
import type { ResolvedImage } from '@fairlead/oci/layout'
import type { Container, Pod } from '@fairlead/kube/types/core-v1'

import { expand } from './environment.ts'
import type { PodPlace } from './environment.ts'
import { mountsOf } from './mounts.ts'
import type { MountParts } from './mounts.ts'
import { qosClassOf } from './pod.ts'
import { amountOf, containerLimits } from './resources.ts'
import { groupsOf, readHeldCapabilities, securityOf, userOf } from './security.ts'
import { sysctlsOf } from './sysctls.ts'

/** Everything a container of a pod is made of, gathered before it is made. */
export interface ContainerParts extends MountParts {
  readonly id: string
  readonly image: ResolvedImage
  readonly hostname: string
  readonly place: PodPlace
  readonly logPath: string
  readonly networkNamespace?: string | undefined
  readonly cgroupPath: string
  /** Process namespace to join: that of the container it was added to look into. */
  readonly pidNamespace?: string | undefined
  /** That of a container it was added to, where the pod has none of its own. */
  readonly ipcNamespace?: string | undefined
  /** Where seccomp profiles of this node lie. */
  readonly seccompDir: string
}

/** Turns a container of a pod into what a runtime makes. Throws `FAIRLEAD_CLUSTER_POD_CONFIG`. */
export async function createContainerSpec(parts: ContainerParts): Promise<ContainerSpec> {
  const { pod, container, env } = parts
  const expandAll = (words: readonly string[] | undefined): string[] | undefined =>
    words?.map((word) => expand(word, env))
  return {
    id: parts.id,
    image: parts.image,
    logPath: parts.logPath,
    command: expandAll(container.command),
    args: expandAll(container.args),
    env,
    cwd: container.workingDir,
    user: userOf(pod, container, parts.image),
    ...groupsOf(pod),
    hostname: parts.hostname,
    mounts: await mountsOf(parts),
    resources: resourcesOf(pod, container, parts.place),
    security: await securityOf(pod, container, parts.seccompDir),
    networkNamespace: pod.spec?.hostNetwork ? 'host' : parts.networkNamespace,
    cgroupPath: parts.cgroupPath,
    pidNamespace: pod.spec?.hostPID ? 'host' : (parts.pidNamespace ?? parts.namespaces?.pidNamespace),
    ipcNamespace: pod.spec?.hostIPC ? 'host' : (parts.ipcNamespace ?? parts.namespaces?.ipcNamespace),
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    sysctls: sysctlsOf(pod),
  }
}

function resourcesOf(pod: Pod, container: Container, place: PodPlace): ContainerResources {
  const { requests, limits } = container.resources ?? {}
  const memory = amountOf(requests, 'memory') ?? amountOf(limits, 'memory') ?? 0
  const oomScoreAdj = oomScoreOf(pod, memory, place.memoryBytes)
  return { ...containerLimits(pod, container), pids: MOST_PIDS, oomScoreAdj }
}

/** Threads and processes of one container: enough for any server, too few to fill the tables of the machine. */
const MOST_PIDS = 4096

/** Kubernetes, "Node out of memory behavior": who asked for more is killed later. */
function oomScoreOf(pod: Pod, requestBytes: number, capacityBytes: number): number {
  const qos = qosClassOf(pod)
  if (qos === 'BestEffort') return 1000
  if (qos === 'Burstable') return Math.min(999, Math.max(3, Math.floor(1000 - (1000 * requestBytes) / capacityBytes)))
  return readHeldCapabilities().includes('SYS_RESOURCE') ? -997 : 0
}
