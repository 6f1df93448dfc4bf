/**
 * A typed client for any Kubernetes API: over HTTPS by kubeconfig, or in one process by a {@link Transport}.
 *
 * ```ts no-run
 * import { connectKube } from '@fairlead/kube'
 *
 * const client = connectKube()
 * const { items } = await client.resource('apps/v1/Deployment').list({ namespace: 'shop' })
 * for await (const event of client.resource('v1/Pod').watch({ namespace: 'shop' })) console.log(event.type)
 * ```
 */
export { createKubeClient } from './lib/client/client.ts'
export type { KubeClient, KubeClientOptions } from './lib/client/client.ts'
export { modifyObject, retryOnConflict } from './lib/client/conflict.ts'
export type { ConflictOptions } from './lib/client/conflict.ts'
export { connectKube, connectTransport, resolveContext } from './lib/client/connect.ts'
export type { ConnectKubeOptions } from './lib/client/connect.ts'
export { discoverResources } from './lib/client/discovery.ts'
export type { ServedResource } from './lib/client/discovery.ts'
export { createHttpsTransport } from './lib/client/https-transport.ts'
export type { Credentials, HttpsTransportOptions } from './lib/client/https-transport.ts'
export { isAlreadyExists, isConflict, isGone, isInvalid, isNotFound, KubeError } from './lib/client/kube-error.ts'
export {
  createKubeconfig,
  loadKubeconfig,
  mergeKubeconfigs,
  parseKubeconfig,
  renderKubeconfig,
} from './lib/client/kubeconfig.ts'
export type {
  CreateKubeconfigOptions,
  Kubeconfig,
  KubeconfigCluster,
  KubeconfigContext,
  KubeconfigExec,
  KubeconfigUser,
  LoadKubeconfigOptions,
} from './lib/client/kubeconfig.ts'
export type {
  Applied,
  ApplyOptions,
  DeleteCollectionOptions,
  DeleteOptions,
  EachOptions,
  KubeResource,
  ListOptions,
  ObjectOptions,
  Patch,
  PatchOptions,
  ResourceClient,
  ResourceList,
  SelectionOptions,
  SubresourceOptions,
  WatchOptions,
  WriteOptions,
} from './lib/client/resource.ts'
export { readPodLog } from './lib/client/pod-logs.ts'
export type { PodLogOptions } from './lib/client/pod-logs.ts'
export { attachToPod, execInPod, openPortForward } from './lib/client/pod-streams.ts'
export type { PodStreamOptions, PortForwarder, TerminalSize } from './lib/client/pod-streams.ts'
export type { ResourceLocation } from './lib/client/resource-client.ts'
export { readBytes, readJson } from './lib/client/transport.ts'
export type { Transport, TransportRequest, TransportResponse } from './lib/client/transport.ts'
export type { WatchEvent } from './lib/client/watch.ts'
