import type { NodeFeatures, NodeRuntimeHandler, Pod } from '@fairlead/kube/types/core-v1'
import type { ContainerRuntime } from '@fairlead/oci/runtime'

import { configInvalid } from '../errors.ts'
import type { NodeSources } from './sources.ts'

/** Names a RuntimeClass may give as its handler: none, or that of the runtime of this node, such as `runc`. */
function handlersOf(runtimeVersion: string): readonly string[] {
  return ['', runtimeVersion.split(':')[0] ?? '']
}

/** Throws `FAIRLEAD_CLUSTER_POD_CONFIG` for a pod whose RuntimeClass wants a runtime this node has not. */
export async function checkRuntimeClass(
  { spec }: Pod,
  { version }: Pick<ContainerRuntime, 'version'>,
  sources: Pick<NodeSources, 'runtimeClass'>,
): Promise<void> {
  const name = spec?.runtimeClassName
  if (name === undefined || name === '') return
  const found = await sources.runtimeClass(name)
  if (found === undefined) throw configInvalid(`RuntimeClass "${name}"`, `runtimeclass.node.k8s.io "${name}" not found`)
  if (handlersOf(version).includes(found.handler)) return
  throw configInvalid(`RuntimeClass "${name}"`, `no runtime for "${found.handler}" is configured`)
}

/** What a node says of its runtime (`status.runtimeHandlers`, `status.features`). Plain processes have nothing of it. */
export function describeHandlers(
  kind: ContainerRuntime['kind'],
  runtimeVersion: string,
): { readonly runtimeHandlers?: NodeRuntimeHandler[]; readonly features?: NodeFeatures } {
  if (kind === 'processes') return {}
  const features = { recursiveReadOnlyMounts: true, userNamespaces: false }
  const runtimeHandlers = handlersOf(runtimeVersion).map((name) => ({ name, features }))
  return { runtimeHandlers, features: { supplementalGroupsPolicy: true } }
}
