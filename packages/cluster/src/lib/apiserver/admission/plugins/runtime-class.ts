import type { KubeObject } from '@fairlead/kube/types'
import type { Pod, PodSpec } from '@fairlead/kube/types/core-v1'
import type { RuntimeClass } from '@fairlead/kube/types/node-v1'

import type { Store } from '../../../storage/store.ts'
import { isEqual } from '../../metadata.ts'
import { knownResource } from '../../resource.ts'
import { forbiddenObject } from '../../status.ts'
import { KeptObjects } from '../kept-objects.ts'

const pods = knownResource('', 'v1', 'pods')

/** RuntimeClass admission: the overhead and the places that come with a pod's class. */
export class RuntimeClasses {
  readonly #classes: KeptObjects<KubeObject & RuntimeClass>

  constructor(store: Store) {
    this.#classes = new KeptObjects(store, knownResource('node.k8s.io', 'v1', 'runtimeclasses'))
  }

  complete({ spec, metadata }: KubeObject & Pod): void {
    if (spec === undefined) return
    const { runtimeClassName: name = '' } = spec
    const refuse = (why: string): never => {
      throw forbiddenObject(pods.info, metadata.name ?? '', why)
    }
    if (name === '') {
      if (hasAny(spec.overhead)) refuse(unfounded)
      return
    }
    const found = this.#classes.get('', name)
    if (found === undefined) return refuse(`pod rejected: RuntimeClass ${JSON.stringify(name)} not found`)
    const obstacle = setOverhead(spec, found) ?? setScheduling(spec, found)
    if (obstacle !== undefined) refuse(obstacle)
  }
}

const unfounded = 'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead'

function setOverhead(spec: PodSpec, { overhead }: RuntimeClass): string | undefined {
  const fixed = overhead?.podFixed
  if (fixed === undefined) return hasAny(spec.overhead) ? unfounded : undefined
  if (spec.overhead !== undefined && !isEqual(spec.overhead, fixed)) {
    return "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
  }
  spec.overhead = { ...fixed }
  return undefined
}

function setScheduling(spec: PodSpec, { scheduling }: RuntimeClass): string | undefined {
  if (scheduling === undefined) return undefined
  const { nodeSelector = {}, tolerations = [] } = scheduling
  for (const [key, value] of Object.entries(nodeSelector)) {
    const own = spec.nodeSelector?.[key]
    if (own !== undefined && own !== value) {
      return `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${own}`
    }
  }
  if (Object.keys(nodeSelector).length > 0) spec.nodeSelector = { ...spec.nodeSelector, ...nodeSelector }
  const added = tolerations.filter((each) => !(spec.tolerations ?? []).some((own) => isEqual(own, each)))
  if (added.length > 0) spec.tolerations = [...(spec.tolerations ?? []), ...added]
  return undefined
}

function hasAny(record: Record<string, unknown> | undefined): boolean {
  return record !== undefined && Object.keys(record).length > 0
}
