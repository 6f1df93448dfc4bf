/**
 * Running images: unpacked layers, runtime-spec configuration, and two runtimes of one interface: containers (runc or
 * crun under conmon) and plain processes.
 *
 * @example
 * ```ts
 * import { openLayout } from '@fairlead/oci/layout'
 * import { openRuntime } from '@fairlead/oci/runtime'
 *
 * const layout = await openLayout('/tmp/fairlead-runtime-example/images')
 * const dirs = { dir: '/tmp/fairlead-runtime-example/run', layersDir: '/tmp/fairlead-runtime-example/layers' }
 * const { runtime } = await openRuntime('processes', { ...dirs, layout })
 * await runtime.close()
 * ```
 */
export { commandLine, createRuntimeConfig, environment } from './lib/runtime/config.ts'
export type {
  ContainerMount,
  ContainerResources,
  ContainerSecurity,
  RuntimeConfig,
  RuntimeConfigOptions,
} from './lib/runtime/config.ts'
export type {
  ContainerRuntime,
  ContainerSpec,
  ContainerState,
  ContainerUser,
  ExecOptions,
  ExecResult,
  SessionOptions,
  SharedNamespaces,
} from './lib/runtime/driver.ts'
export { explainContainer } from './lib/runtime/explain/explain.ts'
export type { ExplainedContainer, ExplainedStep, ExplainOptions } from './lib/runtime/explain/explain.ts'
export { chainIdOf, openLayerCache, shareLayerCaches } from './lib/runtime/layer-cache.ts'
export type { LayerCache, LayerCacheOptions } from './lib/runtime/layer-cache.ts'
export { openOciRuntime, requireOciRuntime } from './lib/runtime/oci-runtime.ts'
export type { RuntimeOptions } from './lib/runtime/oci-runtime.ts'
export { openRuntime } from './lib/runtime/open-runtime.ts'
export type { OpenedRuntime } from './lib/runtime/open-runtime.ts'
export { unmountAll } from './lib/runtime/overlay.ts'
export { openProcessRuntime } from './lib/runtime/process-runtime.ts'
export { runImage } from './lib/runtime/run-image.ts'
export type { RunImageOptions } from './lib/runtime/run-image.ts'
export { createSeccompProfile } from './lib/runtime/seccomp.ts'
export type { SeccompProfile, SeccompRule } from './lib/runtime/seccomp.ts'
export { unpackLayer } from './lib/runtime/unpack.ts'
export type { UnpackOptions, UnpackedLayer } from './lib/runtime/unpack.ts'
export { resolveUser } from './lib/runtime/users.ts'
export type { UserFiles, UserIds } from './lib/runtime/users.ts'
export type { ContainerSession } from './lib/runtime/session.ts'
