import { join } from 'node:path'
import type { KubeClient } from '@fairlead/kube'
import type { Clock } from '@fairlead/kube/controller'
import type { Layout } from '@fairlead/oci/layout'
import type { openLayerCache, RuntimeOptions } from '@fairlead/oci/runtime'
import type { ImagePolicy } from '@fairlead/oci/sign'

import type { PodNetwork } from '../network/pod-network.ts'
import type { ReadLeft } from './eviction/left.ts'
import type { EvictionSettings } from './eviction/settings.ts'
import type { ImageKeeper } from './image-gc/image-keeper.ts'
import type { ImageGcSettings } from './image-gc/settings.ts'
import type { PullImage } from './images.ts'
import type { RotationOptions } from './log-rotation.ts'
import type { OpenRegistryClient } from './registry-clients.ts'
import type { Turns } from './turns.ts'

/** Unpacked images of several nodes. */
export interface SharedLayers {
  /** Has a directory for each kind of runtime in it. */
  readonly dir: string
  readonly open: typeof openLayerCache
}

/** Options of {@link runNode}. */
export interface NodeOptions {
  readonly client: KubeClient
  readonly nodeName: string
  /** Own directory: pods, logs, containers, unpacked layers. */
  readonly dir: string
  /** Directory of the OCI layout images are run from. */
  readonly images: string
  /** Default `auto`: containers where the network has namespaces and the machine allows, else processes. */
  readonly runtime?: 'auto' | 'runc' | 'process' | undefined
  readonly network: PodNetwork
  /** Address of the cluster's name server; empty: pods get the machine's. */
  readonly clusterDns: string
  /** Default `cluster.local`. */
  readonly clusterDomain?: string | undefined
  /** Brings images that are not in the layout. Default: from their registry. */
  readonly pull?: PullImage | undefined
  /** Talks to registries, also with credentials of a pod. Default: as the user of this process. */
  readonly openRegistryClient?: OpenRegistryClient | undefined
  /** Which images may run; default: all. */
  readonly imagePolicy?: ImagePolicy | undefined
  /** Hosts, with port, of registries that serve `images`. Default: none. */
  readonly ownRegistries?: (() => readonly string[]) | undefined
  /** Stops the agent, as {@link NodeAgent.stop} with `stopPods` as given here does. */
  readonly signal?: AbortSignal | undefined
  /** What becomes of the pods when `signal` aborts. Default false: they go on and are adopted by the next agent. */
  readonly stopPods?: boolean | undefined
  readonly maxPods?: number | undefined
  /** In whose turn containers are made and removed. Default: its own, of four for each core. */
  readonly turns?: Turns | undefined
  /** Value of the label `topology.kubernetes.io/zone`. Default: the node has none. */
  readonly zone?: string | undefined
  /** How many nodes share this machine: pods of each get an equal part of it. Default 1. */
  readonly nodesOfMachine?: number | undefined
  readonly logRotation?: RotationOptions | undefined
  /** When pods are evicted. Default: as with kubelets, with less of a large disk. */
  readonly eviction?: EvictionSettings | undefined
  /** When images go that were pulled for pods. Default: as with kubelets, with less of a large disk. */
  readonly imageGc?: ImageGcSettings | undefined
  /** Where images are unpacked, and who opens that: nodes of one machine share it. Default: in `dir`, by this node for itself. */
  readonly layers?: SharedLayers | undefined
  /** Who keeps the images, where nodes share them. Default: this node for itself. */
  readonly imageKeeper?: ImageKeeper | undefined
  /** What the machine has left. Default: as the kernel says. */
  readonly readLeft?: ReadLeft | undefined
  /** Told of failures that are retried. */
  readonly onError?: ((error: unknown) => void) | undefined
  readonly clock?: Clock | undefined
}

/** Containers need a network of namespaces, plain processes the network made for them. */
export function runtimeMode({ runtime = 'auto', network }: NodeOptions): 'auto' | 'containers' | 'processes' {
  if (runtime === 'runc') return 'containers'
  if (runtime === 'process' || network.plan.mode === 'processes') return 'processes'
  return 'auto'
}

export function runtimeDirs({ dir, network, runtime, layers }: NodeOptions, layout: Layout): RuntimeOptions {
  const isProcess = runtime === 'process' || network.plan.mode === 'processes'
  const layersDir = join(layers?.dir ?? dir, isProcess ? 'layers-process' : 'layers')
  return { dir: join(dir, 'runtime'), layersDir, layout, openLayers: layers?.open }
}
